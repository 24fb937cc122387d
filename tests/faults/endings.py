"""Faults of an answer's end (F1 to F10): cuts, missing and doubled endings, errors in a 200."""

from __future__ import annotations

import asyncio

from .rows import Faults, Peer, Speech, fails, whole
from .speech import chat_whole, sse
from .upstream import healthy

ENDINGS = Faults()
_add = ENDINGS.add
STREAMS = ("sse", "ndjson")
MARKED = ("passed", "translated", "rules")  # routes whose streams have an end marker
CUT = fails(502, begun=True)
PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
ARGUMENTS = '{"city": "Zürich", "days": 3}'


# ---- F1: cut ----


@_add(CUT)
async def cut_by_reset(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening)
    await peer.reset()


@_add(CUT)
async def cut_by_close(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening)
    await peer.close()


@_add(CUT)
async def cut_inside_a_frame(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening, say.tokens[12][:-9])
    await peer.close()


@_add(CUT)
async def shorter_than_its_length(peer: Peer, say: Speech) -> None:
    await peer.head(length=len(say.body) + 10)
    await peer.raw(say.opening)
    await peer.close()


# A reset before any byte on a reused connection is tried once more on a fresh one.
@_add(fails(502, (3, 6)))
async def cut_before_the_answer(peer: Peer, say: Speech) -> None:
    await peer.reset()


@_add(fails(502))
async def cut_inside_the_headers(peer: Peer, say: Speech) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await peer.close()


@_add(fails(502))
async def cut_after_the_headers(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.close()


@_add(fails(502), forms=STREAMS)
async def cut_before_content(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.hello)
    await peer.reset()


@_add(whole(2))
async def cut_before_content_once(peer: Peer, say: Speech) -> None:
    if peer.attempt > 1:
        return await healthy(peer, say)
    await peer.head()
    await peer.send(say.hello)
    return await peer.reset()


# ---- F2, F3, F4: finish and terminator ----


@_add(CUT)
async def clean_end_without_finish(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening)


@_add(CUT, forms=STREAMS)
async def all_tokens_but_no_finish(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content)


@_add(CUT, forms=STREAMS)
async def the_end_of_input_is_no_finish(peer: Peer, say: Speech) -> None:
    await peer.head(chunked=False)
    await peer.raw(say.content)
    await peer.close()


@_add(whole(), kinds=MARKED, forms=STREAMS)
async def finish_without_terminator(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content, say.finish)


@_add(whole(), kinds=MARKED, forms=STREAMS)
async def finish_without_terminator_then_a_reset(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.content, say.finish)
    await peer.reset()


@_add(whole(within=2.5), kinds=MARKED, forms=STREAMS)
async def finish_then_silence(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.content, say.finish)
    await peer.hold()


@_add(whole(within=2.5), kinds=MARKED, forms=("sse",))
async def finish_then_comments(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.content, say.finish)
    while True:
        await peer.send(b": still here\n\n")
        await asyncio.sleep(0.2)


@_add(CUT, kinds=MARKED, forms=STREAMS)
async def terminator_without_finish(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content, say.done)


# ---- F5: a 200 that is none ----


@_add(fails(502), kinds=MARKED, forms=STREAMS)
async def nothing_but_the_terminator(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.done)


@_add(fails(503, says="is busy"), unless={"rules": fails(502)})
async def error_object_with_200(peer: Peer, say: Speech) -> None:
    body = say.error("overloaded_error", "the model is busy").removeprefix(b"data: ")
    await peer.answer(body, headers={"Content-Type": "application/json"})


@_add(whole(), kinds=("passed", "translated"), forms=STREAMS)
async def document_for_a_stream(peer: Peer, say: Speech) -> None:
    """The upstream takes no notice of `stream: true`."""
    document = chat_whole(say.marker).body
    await peer.answer(document, headers={"Content-Type": "application/json; charset=utf-8"})


@_add(fails(502))
async def page_with_200(peer: Peer, say: Speech) -> None:
    await peer.answer(PAGE, headers={"Content-Type": "text/html"})


@_add(fails(502))
async def no_content_204(peer: Peer, say: Speech) -> None:
    await peer.raw(b"HTTP/1.1 204 No Content\r\n\r\n")


@_add(fails(502))
async def empty_body(peer: Peer, say: Speech) -> None:
    await peer.answer(b"")


@_add(fails(502))
async def empty_chunked_body(peer: Peer, say: Speech) -> None:
    await peer.chunks()


@_add(fails(502), forms=("whole",))
async def document_null(peer: Peer, say: Speech) -> None:
    await peer.answer(b"null")


@_add(fails(502), forms=("whole",), kinds=("passed", "translated"))
async def no_choices(peer: Peer, say: Speech) -> None:
    await peer.answer(b'{"id": "x", "object": "chat.completion", "choices": []}')


# ---- F6, F7: error events ----


@_add(fails(503, says="is busy"))
async def error_first(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.error("overloaded_error", "the model is busy"))


@_add(fails(503, says="is busy"), forms=STREAMS)
async def error_after_the_hello(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.hello, say.error("overloaded_error", "the model is busy"))


@_add(fails(429, says="slow down"))
async def rate_limit_first(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.error("rate_limit_error", "slow down"))


@_add(whole(2))
async def error_first_once(peer: Peer, say: Speech) -> None:
    if peer.attempt > 1:
        return await healthy(peer, say)
    return await peer.chunks(say.error("overloaded_error", "the model is busy"))


@_add(fails(503, begun=True, says="is busy"), forms=STREAMS)
async def error_midway(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.error("overloaded_error", "the model is busy"))


@_add(fails(503, begun=True, says="is busy"), forms=STREAMS)
async def error_midway_and_more(peer: Peer, say: Speech) -> None:
    error = say.error("overloaded_error", "the model is busy")
    await peer.chunks(say.opening, error, say.rest)


@_add(fails(502, begun=True, says="broken"), forms=STREAMS)
async def error_of_type_null(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.error(None, "it is broken"), say.done)


@_add(fails(502, begun=True, says="broken"), forms=STREAMS)
async def error_whose_type_is_a_number(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.error(17, "it is broken"))


@_add(fails(502, begun=True, says="broken"), forms=("sse",), kinds=("passed", "translated"))
async def error_that_is_text(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, sse({"error": "it is broken"}))


@_add(fails(502, begun=True, says="broken"), forms=("sse",), kinds=("passed", "translated"))
async def error_event_without_an_error_key(peer: Peer, say: Speech) -> None:
    event = b"event: error\n" + sse({"type": "server_error", "message": "it is broken"})
    await peer.chunks(say.opening, event)


@_add(fails(502, begun=True), forms=("sse",), kinds=("passed", "translated"))
async def finish_reason_error(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.finish.replace(b'"stop"', b'"error"'), say.done)


@_add(whole(), forms=STREAMS)
async def error_after_the_finish(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content, say.finish, say.error("server_error", "too late"), say.done)


# ---- F8, F16: tools ----


@_add(fails(502, begun=True, called=ARGUMENTS), forms=("sse",))
async def cut_inside_arguments(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.hello, say.call("weather", ""), say.call("", ARGUMENTS[:11]))
    await peer.close()


@_add(fails(502, begun=True, called=ARGUMENTS), forms=("sse",))
async def clean_end_inside_arguments(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.hello, say.call("weather", ARGUMENTS[:11]))


@_add(whole(called=ARGUMENTS))
async def tool_call(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.hello, say.call("weather", ARGUMENTS), say.called, say.done)


@_add(whole(called='{"city": Zürich'))
async def arguments_that_are_not_json(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.hello, say.call("weather", '{"city": Zürich'), say.called, say.done)


# ---- F9, F10: too much of an end ----


@_add(whole(), forms=STREAMS)
async def finish_twice(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content, say.finish, say.finish, say.usage, say.done)


@_add(whole(), forms=STREAMS)
async def content_after_the_finish(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.content, say.finish, say.word("too late"), say.usage, say.done)


@_add(whole(), kinds=MARKED, forms=STREAMS)
async def content_after_the_terminator(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.body, say.word("too late"), say.finish, say.done)


@_add(whole(), kinds=MARKED, forms=STREAMS)
async def content_after_the_terminator_at_once(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.body + say.word("too late") + say.finish + say.done)


@_add(whole(within=1.0), forms=STREAMS)
async def connection_kept_open_after_the_end(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.body)
    await peer.hold()
