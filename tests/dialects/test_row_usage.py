"""The rows of known translation bugs about usage, whole answers, bytes, and calls that are text."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest

from engine.chat import Message, Text, Tool
from engine.dialects import DIALECTS, Target
from engine.dialects.tokens import estimate
from engine.events import Event, Finish, Usage, UsageEvent
from engine.shell import endpoints
from engine.wire import dumps, loads
from tests.grammar import check_messages_stream
from tests.kit import Say

from .crossing import (
    RULES,
    Answered,
    answered,
    asks,
    exchanged,
    parsed,
    route_to,
    said,
    sent,
    shown,
    whole,
)
from .pairs import row
from .test_rows import calls
from .wire import (
    COUNTS,
    EMPTY,
    LETTER,
    STOP,
    TOOLS,
    A,
    C,
    G,
    L,
    R,
    added,
    block,
    call,
    called,
    chat,
    chunk,
    ended,
    function,
    gemini,
    message,
    over,
    part,
    piece,
    records,
    responses,
    stop,
    text,
    use,
)

# ---- usage ----


@row("TR-47")
def test_row_47_messages_clients_get_input_early_and_true_in_the_end(
    client: str, upstream: str
) -> None:
    data = said(upstream, [*text(0, "a"), COUNTS, STOP])
    events = check_messages_stream(answered(upstream, data, client).data)
    assert events[0]["message"]["usage"]["input_tokens"] > 0
    assert 10 == events[-2]["usage"]["input_tokens"]


CUMULATIVE = {
    C: chat(*({**chunk(content="a"), "usage": {"prompt_tokens": 10, "completion_tokens": n}}
              for n in (1, 2, 3)), chunk("stop")),
    A: message(*block(0, EMPTY, LETTER), *(over(None, output_tokens=n) for n in (1, 2)),
               *stop(input_tokens=10, output_tokens=3)),
    G: gemini(*(part({"text": "a"}, finish=end, usageMetadata={
        "promptTokenCount": 10, "candidatesTokenCount": n, "totalTokenCount": 10 + n})
        for n, end in ((1, None), (2, None), (3, "STOP")))),
    RULES: records(*({"text": "a", "usage": {"input": 10, "output": n}} for n in (1, 2, 3)),
                   {"end": "stop"}),
}  # fmt: skip


@row("TR-48")
def test_row_48_cumulative_usage_is_not_summed(client: str, upstream: str) -> None:
    usage = answered(upstream, CUMULATIVE[upstream], client).reply.usage
    assert usage is not None
    assert (10, 3) == (usage.input, usage.output)


@row("TR-49")
@pytest.mark.parametrize("stream", [False, True])
def test_row_49_thinking_and_cached_tokens_are_counted_once(
    client: str, upstream: str, stream: bool
) -> None:
    usage = Usage(input=30, output=9, cache_read=20, cache_write=0, reasoning=4)
    events: list[Event] = [*text(0, "a"), UsageEvent(usage), STOP]
    data = said(upstream, events) if stream else whole(upstream, events)
    found = answered(upstream, data, client, stream=stream).reply.usage
    assert found is not None
    assert (30, 9) == (found.input, found.output)
    if L not in (upstream, client):  # Ollama has no words for either
        assert (20, 4) == (found.cache_read, found.reasoning)


@row("TR-49", upstreams=(A,))
@pytest.mark.parametrize("stream", [False, True])
def test_row_49_what_is_written_to_the_cache_is_input(
    client: str, upstream: str, stream: bool
) -> None:
    counts: dict[str, Any] = {
        "input_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3,
    }  # fmt: skip
    data = message(*block(0, EMPTY, LETTER), *stop(**counts))
    if not stream:
        data = dumps({"type": "message", "role": "assistant", "stop_reason": "end_turn",
                      "content": [{"type": "text", "text": "a"}],
                      "usage": counts | {"output_tokens": 5}})  # fmt: skip
    usage = answered(upstream, data, client, stream=stream).reply.usage
    assert usage is not None
    assert (30, 5) == (usage.input, usage.output)


@row("TR-50", upstreams=(C,))
def test_row_50_usage_is_always_asked_for(client: str, upstream: str) -> None:
    body = sent(client, {"stream": True}, upstream)
    assert {"include_usage": True} == body["stream_options"]


@row("TR-50", clients=(C,))
def test_row_50_usage_is_told_to_who_asked(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, "a"), COUNTS, STOP])
    for asked in (False, True):
        frames = answered(upstream, data, client, usage=asked).frames
        assert asked == bool([frame for frame in frames if not frame["choices"]])


@row("TR-50", clients=(A, G, L, R))
def test_row_50_others_always_get_it(client: str, upstream: str) -> None:
    usage = answered(upstream, said(upstream, [*text(0, "a"), COUNTS, STOP]), client).reply.usage
    assert usage is not None
    assert (10, 5) == (usage.input, usage.output)


@row("TR-51")
def test_row_51_usage_beside_the_finish(client: str, upstream: str) -> None:
    last = {**chunk("stop"), "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    usage = answered(upstream, chat(chunk(content="a"), last), client).reply.usage
    assert usage is not None
    assert (10, 5) == (usage.input, usage.output)


# ---- answers ----


@row("TR-52")
def test_row_52_text_and_call_of_a_whole_answer_are_both_there(client: str, upstream: str) -> None:
    events: list[Event] = [*text(0, "so"), *called(1, "a", '{"x":1}'), COUNTS, TOOLS]
    found = answered(upstream, whole(upstream, events), client, stream=False)
    assert ("so", [("look", '{"x":1}')], "tool_calls") == (
        found.reply.text, calls(found), found.reply.finish
    )  # fmt: skip


@row("TR-53")
def test_row_53_what_the_provider_ran_is_no_call(client: str, upstream: str) -> None:
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    data = message(*block(0, used, {"type": "input_json_delta", "partial_json": '{"query":"x"}'}),
                   *block(1, result), *block(2, EMPTY, LETTER), *stop())  # fmt: skip
    reply = answered(upstream, data, client).reply
    assert ("a", [], "stop") == (reply.text, reply.calls, reply.finish)


@row("TR-54")
def test_row_54_tokens_are_counted_by_the_own_upstream_or_by_an_estimate(
    client: str, upstream: str
) -> None:
    """What the estimate learns of each upstream: tests/dialects/test_tokens.py."""
    route = route_to(upstream, "passthrough: { count_tokens: /count }\n")
    asked = asks(client, Message("user", [Text("word " * 1000)]))
    errand = endpoints.counting(route, DIALECTS[client], dumps({**asked, "model": "m"}))
    assert (client == upstream) == (errand is not None)
    assert 1000 <= estimate(parsed(client, asked)) <= 2000


NUMBERS = [0.5, -1.0]
PACKED = b64encode(struct.pack("<2f", *NUMBERS)).decode()


@row("TR-58")
@pytest.mark.parametrize("given", [NUMBERS, PACKED])
def test_row_58_vectors_have_the_form_that_was_asked_for(
    client: str, upstream: str, given: object
) -> None:
    embed, vector = DIALECTS[client].embed, {"object": "embedding", "index": 0, "embedding": given}
    assert embed is not None
    answer = dumps({"object": "list", "model": "m", "data": [vector],
                    "usage": {"prompt_tokens": 1, "total_tokens": 1}})  # fmt: skip
    for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        asked = dumps({"model": "m", "input": "a", **(form if client == upstream else {})})
        found: Any = loads(embed(asked, Target()).read(answer)[0])
        if client == L:
            assert [NUMBERS] == found["embeddings"]
        else:
            due = PACKED if form.get("encoding_format") == "base64" else NUMBERS
            assert due == found["data"][0]["embedding"]


# ---- bytes ----


def forms(upstream: str, data: bytes) -> list[bytes]:
    """The same stream with other line ends and without what a careless writer leaves out."""
    found = [data.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"), data.rstrip(b"\r\n")]
    if upstream != L:
        plain = data.replace(b"\r\n", b"\n")
        found += [plain.replace(b"\n", b"\r"), plain.replace(b"data: ", b"data:"),
                  b"\xef\xbb\xbf" + data, b": hi\n\n" + data]  # fmt: skip
    return found


WORDS = "a\u2028b\u2029c\x85d, 好 😀"  # line ends of Unicode are none


@row("TR-55")
def test_row_55_other_line_ends_are_the_same_stream(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, WORDS), *called(1, "a", '{"x":1}'), COUNTS, TOOLS])
    for form in forms(upstream, data):
        found = answered(upstream, form, client)
        assert (WORDS, [("look", '{"x":1}')]) == (found.reply.text, calls(found))


@row("TR-55")
def test_row_55_it_does_not_matter_where_bytes_are_cut(client: str, upstream: str) -> None:
    """In every character of several bytes, in every line end, and each byte alone.

    tests/dialects/test_passing.py cuts every dialect's own stream at every byte.
    """
    data = said(upstream, [*text(0, "好 😀"), *called(1, "a", '{"x":1}'), COUNTS, TOOLS])
    due = answered(upstream, data, client).data
    places = [at for at in range(1, len(data)) if data[at] & 0x80 or data[at] in b"\r\n"]
    for at in places[::5] if client != upstream else places:
        assert due == answered(upstream, [data[:at], data[at:]], client).data
    assert due == answered(upstream, [data[at : at + 1] for at in range(len(data))], client).data


@row("TR-56")
def test_row_56_every_event_has_its_name(client: str, upstream: str) -> None:
    data = said(upstream, [*text(0, "a"), COUNTS, STOP])
    frames = answered(upstream, data, client).data.split(b"\n\n")[:-1]
    assert len(frames) > 3
    assert all(frame.startswith(b"event: ") for frame in frames)


@row("TR-57")
def test_row_57_clients_that_know_no_comments_get_none(client: str, upstream: str) -> None:
    """Nor a terminator."""
    found = answered(upstream, said(upstream, [*text(0, "a"), COUNTS, STOP]), client)
    start = b"data: {" if client == G else b"{"
    frames = [frame for frame in found.data.replace(b"\r\n", b"\n").split(b"\n") if frame]
    assert all(frame.startswith(start) for frame in frames)
    assert DIALECTS[client].encoder("i", "m", 1, True, parsed(client, {})).ping() is None


@row("TR-59")
def test_row_59_halves_of_a_character_are_joined(client: str, upstream: str) -> None:
    halves = [*text(0, "HALF", "REST"), COUNTS, STOP]
    data = said(upstream, halves).replace(b"HALF", b"\\ud83d").replace(b"REST", b"\\ude00")
    assert "\U0001f600" == answered(upstream, data, client).reply.text
    alone = said(upstream, [*text(0, "HALF", "x"), COUNTS, STOP]).replace(b"HALF", b"\\ud83d")
    assert "\ufffdx" == answered(upstream, alone, client).reply.text


@row("TR-60")
def test_row_60_empty_pieces_say_nothing(client: str, upstream: str) -> None:
    first = chunk("", role="assistant", content="")
    second = chunk("", role="assistant", content="a")
    data = chat(first, second, chunk("", content=""), chunk("stop"))
    found = answered(upstream, data, client)  # the grammar of Chat wants one role
    assert ("a", "stop") == (found.reply.text, found.reply.finish)


# ---- calls as text ----

RESCUE = "transforms: [{ prompted_tools: { rescue: true } }]\n"
SPOKEN = '<tool_call>{"name":"look","arguments":{"x":1}}</tool_call>'
LOOK = Tool("look", schema={"type": "object"})


async def rescued(client: str, upstream: str, *events: Event) -> Answered:
    route, body = route_to(upstream, RESCUE), asks(client, tools=[LOOK])
    data = said(upstream, [*events, COUNTS, STOP])
    sink, _ = await exchanged(upstream, Say(data), client, body=body, route=route)
    return shown(client, sink)


@row("TR-61")
async def test_row_61_a_call_that_is_written_as_text_is_a_call(client: str, upstream: str) -> None:
    pieces = text(0, "I look. ", SPOKEN[:9], SPOKEN[9:30], SPOKEN[30:])
    found = await rescued(client, upstream, *pieces)
    assert ([("look", '{"x":1}')], "tool_calls") == (calls(found), found.reply.finish)
    assert "I look." == found.reply.text.strip()


@row("TR-61")
async def test_row_61_what_only_looks_like_one_stays_text(client: str, upstream: str) -> None:
    other = SPOKEN.replace("look", "hide")
    found = await rescued(client, upstream, *text(0, "Write ", other[:20], other[20:]))
    assert (f"Write {other}", []) == (found.reply.text, found.reply.calls)


@row("TR-62")
async def test_row_62_a_call_that_comes_twice_is_one(client: str, upstream: str) -> None:
    both = [*text(0, SPOKEN), *called(1, "a", '{"x":1}')]
    assert [("look", '{"x":1}')] == calls(await rescued(client, upstream, *both))


# ---- cut off ----

CUT = '{"x": "long'
CUT_OFF = {
    C: chat(chunk(tool_calls=[call(0, "a", "look", CUT)]), chunk("length")),
    R: responses(added(0, function(CUT)), piece(0, function(CUT), CUT),
                 ended(function(CUT, status="incomplete"), status="incomplete",
                       incomplete_details={"reason": "max_output_tokens"})),
    A: message(*use(0, "a", CUT), *stop("max_tokens")),
    RULES: records({"calls": [{"at": 0, "id": "a", "name": "look", "args": CUT}]},
                   {"end": "length"}),
}  # fmt: skip


@row("TR-63")
def test_row_63_a_call_cut_off_for_length_is_not_run(client: str, upstream: str) -> None:
    found = answered(upstream, CUT_OFF[upstream], client)
    assert "length" == found.reply.finish
    if client in (C, A, R):  # as far as it came; the reason says that it is no whole call
        assert [CUT] == [made.args for made in found.reply.calls]
    else:
        assert all(isinstance(json.loads(made.args), dict) for made in found.reply.calls)


@row("TR-63", upstreams=(C,))
def test_row_63_nor_is_it_in_a_whole_answer(client: str, upstream: str) -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [call(0, "a", "look", CUT)]}
    choice = {"index": 0, "finish_reason": "length", "message": turn}
    data = dumps({"id": "x", "choices": [choice]})
    found = answered(upstream, data, client, stream=False)
    assert "length" == found.reply.finish
    if client in (A, G, L):
        assert all(isinstance(json.loads(made.args), dict) for made in found.reply.calls)


GOES_ON = "continuation: { max: 5 }\n"


@row("TR-64")
async def test_row_64_an_answer_that_brings_nothing_new_is_whole(
    client: str, upstream: str
) -> None:
    """The upstream says that it was cut off, and the same again when it is asked to go on."""
    data = said(upstream, [*text(0, "All there is."), COUNTS, Finish("length")])
    route = route_to(upstream, GOES_ON)
    sink, requests = await exchanged(upstream, Say(data), client, route=route)
    assert ("All there is.", 2) == (sink.text, len(requests))
    assert "length" == shown(client, sink).reply.finish
