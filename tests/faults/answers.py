"""Faults of HTTP and keys (F20 to F27): statuses, framing, headers, redirects, secrets."""

from __future__ import annotations

import asyncio

from .rows import Faults, Peer, Speech, fails, whole
from .upstream import UPSTREAM_KEY, healthy

ANSWERS = Faults()
_add = ANSWERS.add
CHATS = ("passed", "translated")


# ---- F20: connections ----


@_add(whole((1, 2)))
async def reset_on_a_reused_connection(peer: Peer, say: Speech) -> None:
    if peer.call.turn > 1:
        peer.connection.reset()
        await peer.hold()
    await healthy(peer, say)


@_add(whole((1, 2)))
async def closed_on_a_reused_connection(peer: Peer, say: Speech) -> None:
    if peer.call.turn > 1:
        await peer.close()
    await healthy(peer, say)


@_add(whole())
async def connection_close(peer: Peer, say: Speech) -> None:
    await peer.head(headers={"Connection": "close"}, length=len(say.body))
    await peer.raw(say.body)
    await peer.close()


@_add(whole())
async def http_1_0(peer: Peer, say: Speech) -> None:
    head = f"HTTP/1.0 200 OK\r\nContent-Type: {say.content_type}\r\n\r\n"
    await peer.raw(head.encode() + say.body)
    await peer.close()


@_add(whole())
async def informational_answers_first(peer: Peer, say: Speech) -> None:
    await peer.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
    await healthy(peer, say)


# ---- F21, F22: statuses ----


def _refuses(
    name: str,
    status: int,
    expect: object,
    *,
    kind: str = "server_error",
    message: str = "so it is",
    headers: dict[str, str] | None = None,
    **more: object,
) -> None:
    """Every attempt is answered with this status and an error of the form."""

    async def script(peer: Peer, say: Speech) -> None:
        body = say.error(kind, message)
        if say.form == "sse":
            body = body.removeprefix(b"data: ")
        await peer.answer(body, status, {"Content-Type": "application/json", **(headers or {})})

    script.__name__ = name
    _add(expect, **more)(script)  # type: ignore[arg-type] # handed on as they came


_TOLD = {"retry-after": "30", "x-should-retry": None}
_AGES = {"retry-after": "7200", "x-should-retry": "false"}
_refuses("status_500", 500, fails(502, says="so it is", headers={"x-should-retry": "false"}))
_refuses("status_503", 503, fails(503))
_refuses("status_529", 529, fails(503))
_refuses("status_404", 404, fails(404, 1), kind="invalid_request_error",
         unless={kind: fails(502, 1) for kind in ("rules", "ndjson", "plain")})  # fmt: skip
_refuses("status_422", 422, fails(422, 1, says="so it is"), kind="invalid_request_error")
_refuses("status_413", 413, fails(413, 1), kind="invalid_request_error")
_refuses("status_400", 400, fails(400, 1, says="so it is"), kind="invalid_request_error")
_refuses("status_403", 403, fails(502, 1), kind="permission_error")
_refuses("status_401", 401, fails(502, 1), kind="invalid_request_error")
_refuses("status_418", 418, fails(400, 1))
_refuses("status_302_without_location", 302, fails(502, 1))
_refuses("status_201", 201, fails(502, (1, 3)), unless={"ndjson": fails(502)})
_refuses("too_long", 400, fails(400, 1, code="context_length_exceeded", says="maximum context"),
         message="This model's maximum context length is 8 tokens.")  # fmt: skip
_refuses("rate_limited_for_long", 429, fails(429, 1, headers=_TOLD, within=1.0),
         kind="rate_limit_error", headers={"Retry-After": "30"})  # fmt: skip
_refuses("rate_limited_for_ages", 429, fails(429, 1, headers=_AGES, within=1.0),
         headers={"Retry-After": "7200"})  # fmt: skip
_refuses("rate_limited_unsaid", 429, fails(429, headers={"x-should-retry": "false"}))


@_add(whole(2))
async def rate_limited_once(peer: Peer, say: Speech) -> None:
    if peer.attempt > 1:
        waited = asyncio.get_running_loop().time()
        first = peer.connection.upstream.calls[say.marker][0]
        return await (healthy(peer, say) if waited - first.begun > 0.9 else peer.reset())
    return await peer.answer(b"{}", 429, {"Retry-After": "1"})


@_add(fails(502))
async def page_with_500(peer: Peer, say: Speech) -> None:
    page = b"<html><body>Internal Server Error at /srv/app.py</body></html>"
    await peer.answer(page, 500, {"Content-Type": "text/html"})


@_add(fails(503, 3))
async def empty_503(peer: Peer, say: Speech) -> None:
    await peer.answer(b"", 503)


@_add(fails(502))
async def error_body_of_two_mebibytes(peer: Peer, say: Speech) -> None:
    await peer.answer(b"x" * 2 * 1024**2, 500)


# ---- F23: keys ----


def _echoes(name: str, status: int, expect: object) -> None:
    _refuses(name, status, expect, message=f"Incorrect API key provided: {UPSTREAM_KEY}.")


_echoes("status_401_echoes_the_key", 401, fails(502, 1))
_echoes("status_403_echoes_the_key", 403, fails(502, 1))
_echoes("status_400_echoes_the_key", 400, fails(400, 1))
_echoes("status_500_echoes_the_key", 500, fails(502))


@_add(fails(502))
async def plain_text_echoes_the_key(peer: Peer, say: Speech) -> None:
    await peer.answer(f"no: {UPSTREAM_KEY}".encode(), 500, {"Content-Type": "text/plain"})


@_add(fails(502))
async def first_error_echoes_the_key(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.error("server_error", f"bad key {UPSTREAM_KEY}"))


@_add(fails(502, begun=True), forms=("sse", "ndjson"))
async def error_midway_echoes_the_key(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.error("server_error", f"bad key {UPSTREAM_KEY}"))


# ---- F25: framing ----


@_add(whole())
async def unsolicited_response(peer: Peer, say: Speech) -> None:
    """A second answer that nobody asked for: the next call's, if the connection is kept."""
    stolen = say.word("somebody else's answer") + say.ending
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {say.content_type}\r\nContent-Length: "
    answers = (head.encode() + b"%d\r\n\r\n%b" % (len(body), body) for body in (say.body, stolen))
    await peer.raw(b"".join(answers))


@_add(whole())
async def bytes_after_the_last_chunk(peer: Peer, say: Speech) -> None:
    await peer.head()
    stolen = say.word("somebody else's answer") + say.ending
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {say.content_type}\r\nContent-Length: "
    second = head.encode() + b"%d\r\n\r\n%b" % (len(stolen), stolen)
    await peer.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(say.body), say.body) + second)


@_add(fails(502, (1, 3)))
async def length_and_chunks(peer: Peer, say: Speech) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {say.content_type}\r\n".encode()
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(say.body), say.body)
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % (len(body) - 40)
    await peer.raw(head + both + body)


@_add(fails(502))
async def two_lengths(peer: Peer, say: Speech) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {say.content_type}\r\n".encode()
    await peer.raw(head + b"Content-Length: 5\r\nContent-Length: 500\r\n\r\n" + say.body)


@_add(fails(502))
async def garbage(peer: Peer, say: Speech) -> None:
    await peer.raw(b"\x00\x01\x02SSH-2.0-OpenSSH_9.2\r\n\r\n")


@_add(fails(502))
async def garbage_in_a_header(peer: Peer, say: Speech) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nX-Bad\x00Name: 1\r\nContent-Length: 0\r\n\r\n")


@_add(fails(502, begun=True))
async def garbage_instead_of_a_chunk(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening)
    await asyncio.sleep(0.05)
    await peer.raw(b"zz\r\nnot a chunk\r\n")


@_add(whole())
async def header_of_60_kib(peer: Peer, say: Speech) -> None:
    await peer.answer(say.body, headers={"X-Long": "y" * 60 * 1024})


@_add(fails(502))
async def header_of_1_mib(peer: Peer, say: Speech) -> None:
    await peer.answer(say.body, headers={"X-Long": "y" * 1024**2})


@_add(fails(502))
async def a_thousand_headers(peer: Peer, say: Speech) -> None:
    await peer.answer(say.body, headers={f"X-{n}": "y" for n in range(1000)})


@_add(whole())
async def content_type_that_lies(peer: Peer, say: Speech) -> None:
    await peer.answer(say.body, headers={"Content-Type": "text/plain"})


@_add(whole())
async def no_content_type(peer: Peer, say: Speech) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(say.body), say.body))


# ---- F26: redirects ----


def _redirects(status: int) -> None:
    async def script(peer: Peer, say: Speech) -> None:
        target = f"http://127.0.0.1:{peer.connection.upstream.evil}/stolen"
        await peer.answer(b"", status, {"Location": target})

    script.__name__ = f"redirect_{status}"
    _add(fails(502, 1))(script)


for _status in (301, 302, 303, 307, 308):
    _redirects(_status)
