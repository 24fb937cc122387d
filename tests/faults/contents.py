"""Faults of bytes (F12 to F17): line ends, framing, encodings, what is not text and not JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from functools import cache

from .rows import FORMS, Expect, Faults, Peer, Speech, fails, whole
from .speech import TOKENS, text_of
from .stage import FRAME_LIMIT, WHOLE_LIMIT

CONTENTS = Faults()
_add = CONTENTS.add
STREAMS = ("sse", "ndjson")
CHATS = ("passed", "translated")
BROKEN = fails(502, begun=True)
HUGE = 4 * 1024**2


# ---- F12, F13: framing ----


def _framed(name: str, change: Callable[[bytes], bytes], forms: tuple[str, ...] = ("sse",)) -> None:
    """A fault that changes the bytes of a healthy answer in a way that means the same."""

    async def script(peer: Peer, say: Speech) -> None:
        await peer.chunks(change(say.opening), change(say.rest))

    script.__name__ = name
    _add(whole(), forms=forms)(script)


def _each(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change every frame, its blank line left out."""
    return b"".join(change(frame) + b"\n\n" for frame in data.split(b"\n\n")[:-1])


def _several_lines(frame: bytes) -> bytes:
    payload = frame.removeprefix(b"data: ")
    if not payload.startswith(b"{"):
        return frame
    pretty = json.dumps(json.loads(payload), ensure_ascii=False, indent=1).encode()
    return b"\n".join(b"data: " + part for part in pretty.split(b"\n"))


_framed("lines_end_in_crlf", lambda data: data.replace(b"\n", b"\r\n"), STREAMS)
_framed("lines_end_in_cr", lambda data: data.replace(b"\n", b"\r"))
_framed("line_ends_are_mixed", lambda data: data.replace(b"\n\n", b"\r\n\n", 5))
_framed("byte_order_mark",
        lambda data: b"\xef\xbb\xbf" + data if b"mark-" in data else data, FORMS)  # fmt: skip
_framed("comments", lambda data: _each(data, lambda frame: b": hi\n\n:\n\n" + frame + b"\n:"))
_framed("id_lines", lambda data: _each(data, lambda frame: b"id: 7\n" + frame))
_framed("id_frames_between", lambda data: _each(data, lambda frame: b"id: 7\n\n" + frame))
_framed("retry_lines", lambda data: _each(data, lambda frame: b"retry: 10\n\n" + frame + b"\nid"))
_framed("unknown_fields", lambda data: _each(data, lambda frame: frame + b"\nfoo: bar"))
_framed("event_names", lambda data: _each(data, lambda frame: b"event: message\n" + frame))
_framed("several_data_lines", lambda data: _each(data, _several_lines))
_framed("no_space_after_the_colon", lambda data: data.replace(b"data: ", b"data:"))
_framed("blank_lines_between", lambda data: data.replace(b"\n\n", b"\n\n\n\n"))
_framed("empty_frames", lambda data: _each(data, lambda frame: frame + b"\n\ndata:"))
_framed("empty_lines", lambda data: data.replace(b"\n", b"\n\n"), ("ndjson",))
_framed("blanks_in_lines", lambda data: data.replace(b"\n", b" \t\n  "), ("ndjson",))


@_add(whole(), forms=FORMS)
async def one_byte_chunks(peer: Peer, say: Speech) -> None:
    """64 to a write: a write for each would keep the loop from whoever else is on it."""
    body = say.body
    await peer.head()
    for at in range(0, len(body), 64):
        await peer.raw(b"".join(b"1\r\n%c\r\n" % byte for byte in body[at : at + 64]))
    await peer.end()


@_add(whole(), forms=FORMS)
async def cut_in_every_character(peer: Peer, say: Speech) -> None:
    """Each write ends inside a character, if it holds one of several bytes."""
    await peer.head()
    body, begun = say.body, 0
    for at in range(1, len(body)):
        if body[at] & 0xC0 == 0x80:
            await peer.send(body[begun:at])
            begun = at
    await peer.send(body[begun:])
    await peer.end()


@_add(whole(), forms=FORMS)
async def chunk_extensions(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.raw(b"%X;name=value\r\n%b\r\n0\r\nX-Trailer: x\r\n\r\n" % (len(say.body), say.body))


@_add(whole(), forms=STREAMS)
async def no_blank_line_at_the_end(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.body.rstrip(b"\n"))


@_add(whole(text=lambda marker: marker + " " + "数据" * (HUGE // 6), within=8.0), forms=FORMS)
async def line_of_four_mebibytes(peer: Peer, say: Speech) -> None:
    marker = say.marker
    await peer.chunks(say.word(marker + " " + "数据" * (HUGE // 6)) + say.ending)


@_add(fails(502, begun=True, within=12.0), forms=STREAMS)
async def frame_over_the_limit(peer: Peer, say: Speech) -> None:
    await peer.head()
    await peer.send(say.opening, say.word("x" * (FRAME_LIMIT + 1000)), say.rest)
    await peer.end()


@_add(fails(502, within=12.0), forms=("whole",))
async def document_over_the_limit(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.word("x" * (WHOLE_LIMIT + 1000)))


# ---- F14: text ----


def _says(name: str, written: bytes, expected: str, forms: tuple[str, ...] = FORMS) -> None:
    """A token that is written in an odd way and reads well."""
    token = TOKENS[0].encode()

    async def script(peer: Peer, say: Speech) -> None:
        await peer.chunks(say.body.replace(token, written, 1))

    script.__name__ = name
    text = whole(text=lambda marker: text_of(marker).replace(TOKENS[0], expected, 1))
    _add(text, forms=forms)(script)


_says("lone_surrogate", rb"a\ud83db", "a�b")
_says("surrogate_pair", rb"a\ud83d\ude00b", "a😀b")
_says("nul", rb"a\u0000b", "a\0b")
_says("line_separators", "a\u2028b\u2029c\u0085d".encode(), "a\u2028b\u2029c\u0085d")
_says("escaped_unicode", rb"\u4f60\u597d \u000a", "你好 \n")
_says("byte_order_mark_inside", "a\ufeffb".encode(), "a\ufeffb")


@_add(fails(502, begun=True), forms=FORMS)
async def invalid_utf8(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, say.rest.replace("数据".encode(), b"\xff\xfe", 1))


# ---- F15: not JSON ----


def _junk(data: bytes) -> bytes:
    return data + (b"\n\n" if data.startswith(b"data") else b"\n")


@_add(BROKEN, forms=STREAMS)
async def frame_that_is_not_json(peer: Peer, say: Speech) -> None:
    junk = _junk(b"data: {oops" if say.form == "sse" else b"{oops")
    await peer.chunks(say.opening, junk, say.rest)


@_add(fails(502), forms=STREAMS)
async def first_frame_that_is_not_json(peer: Peer, say: Speech) -> None:
    await peer.chunks(_junk(b"data: {oops" if say.form == "sse" else b"{oops"), say.body)


@_add(BROKEN, forms=("sse",), kinds=CHATS)
async def frame_that_is_a_number(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, b"data: 42\n\n", say.rest)


@_add(BROKEN, forms=("sse",), kinds=("passed",))
async def line_that_is_no_field(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.opening, b"Fatal error: out of memory\n\n")


@_add(fails(502), forms=("whole",))
async def document_that_is_not_json(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.body[:-1])


@_add(fails(502), forms=("whole",))
async def document_with_a_tail(peer: Peer, say: Speech) -> None:
    await peer.chunks(say.body, b"{}")


# ---- F17: compression ----


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _packed(
    name: str,
    pack: Callable[[bytes], bytes],
    encoding: str,
    expect: Expect,
    unless: dict[str, Expect] | None = None,
) -> None:
    """A fault whose body is packed, with this Content-Encoding ("": none is declared)."""

    async def script(peer: Peer, say: Speech) -> None:
        packed = pack(say.body)
        await peer.head(headers={"Content-Encoding": encoding} if encoding else {})
        await peer.send(*(packed[at : at + 100] for at in range(0, len(packed), 100)))
        await peer.end()

    script.__name__ = name
    _add(expect, unless=unless)(script)


def _half(data: bytes) -> bytes:
    packed = gzip.compress(data)
    return packed[: len(packed) // 2]


def _two_members(data: bytes) -> bytes:
    return gzip.compress(data[:99]) + gzip.compress(data[99:])


_SNIFFED = {"rules": whole()}
_packed("gzip_declared", gzip.compress, "gzip", whole())
_packed("deflate_declared", zlib.compress, "deflate", whole())
_packed("raw_deflate_declared", _raw_deflate, "deflate", whole())
_packed("gzip_undeclared", gzip.compress, "", fails(502), _SNIFFED)
_packed("deflate_undeclared", zlib.compress, "", fails(502), _SNIFFED)
_packed("content_encoding_that_lies", bytes, "gzip", fails(502))
_packed("content_encoding_identity", bytes, "identity", whole())
_packed("content_encoding_unknown", bytes, "zebra", whole())
_packed("gzip_in_two_members", _two_members, "gzip", whole())
_packed("gzip_undeclared_in_two_members", _two_members, "", fails(502), _SNIFFED)


@_add(fails(502, begun=True))
async def gzip_cut_in_the_middle(peer: Peer, say: Speech) -> None:
    packer = zlib.compressobj(wbits=31)
    await peer.head(headers={"Content-Encoding": "gzip"})
    await peer.send(packer.compress(say.opening) + packer.flush(zlib.Z_SYNC_FLUSH))
    await asyncio.sleep(0.05)
    await peer.close()


@cache
def _bomb(begin: bytes) -> bytes:
    """Three times what an answer may hold, in a hundredth of that."""
    return gzip.compress(begin + b"0" * 3 * WHOLE_LIMIT, 1)


@_add(fails(502, within=15.0), kinds=("passed", "translated", "rules"))
async def gzip_bomb(peer: Peer, say: Speech) -> None:
    bomb = _bomb(say.word("x")[:-30])
    declared = {} if peer.call.path == "/rules" else {"Content-Encoding": "gzip"}
    await peer.answer(bomb, headers=declared)
