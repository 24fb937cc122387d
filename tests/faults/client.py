"""A raw HTTP client that forgives nothing, and what it reads in each client dialect.

The client keeps the bytes as they came and knows whether the answer's own framing said that it was
over: a cut connection never passes for an end. A client dialect is one entry of `CLIENTS`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

CLIENT_KEY = "client-key-4d1e8a7b"


@dataclass(slots=True)
class Reply:
    """An answer. whole: its framing was complete. Times are seconds since the request was sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    first: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Wire:
    """An open connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        lines = {"Host": "127.0.0.1", **(headers or {})}
        if body or method == "POST":
            lines.setdefault("Content-Length", str(len(body)))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode() + body)
        await self.writer.drain()

    async def head(self) -> Reply:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        reply = Reply(int(first.split(" ")[1]))
        for text in lines:
            name, _, value = text.partition(":")
            assert name.lower() not in reply.headers, f"header {name} comes twice"
            reply.headers[name.lower()] = value.strip()
        return reply

    async def rest(self, reply: Reply) -> AsyncIterator[bytes]:
        """The body's pieces; sets `whole` when the framing has said that it is over."""
        if "content-length" in reply.headers:
            yield await self.reader.readexactly(int(reply.headers["content-length"]))
        elif reply.headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            raise AssertionError("an answer without length and without chunks")
        reply.whole = True

    async def reply(self) -> Reply:
        begun = time.monotonic()
        reply = await self.head()
        pieces: list[bytes] = []
        try:
            async for piece in self.rest(reply):
                if not pieces:
                    reply.first = time.monotonic() - begun
                pieces.append(piece)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass  # `whole` tells
        reply.body = b"".join(pieces)
        reply.seconds = time.monotonic() - begun
        return reply


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def call(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    limit: float = 20.0,
) -> Reply:
    """One request on a connection of its own. A reply with status 0: none came."""
    async with wire(port) as line:
        try:
            async with asyncio.timeout(limit):
                await line.ask(method, path, headers, body)
                return await line.reply()
        except (asyncio.IncompleteReadError, ConnectionError):
            return Reply()


# ---- dialects ----


@dataclass(slots=True)
class Seen:
    """What a client makes of an answer.

    wrong     everything that is not as the dialect wants it
    said      pieces of the text
    called    arguments of the tool call, joined
    """

    said: list[str] = field(default_factory=list)
    finishes: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    terminated: bool = False
    called: str = ""
    usage: dict[str, Any] | None = None
    wrong: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.said)


@dataclass(frozen=True, slots=True)
class ClientDialect:
    """body: (model, prompt, stream) -> a request. ends: a stream's end has a mark of its own.

    read_error, problems   a failed answer, and what is wrong with its error object
    failures               the error type by status that a client of the dialect must see
    at         (model, stream) -> the path, where it is not always the same
    statuses   another status that may stand for one
    pieces     arguments of calls are streamed
    """

    path: str
    body: Callable[[str, str, bool], dict[str, Any]]
    key: Callable[[str], dict[str, str]]
    read_stream: Callable[[bytes], Seen]
    read_whole: Callable[[bytes], Seen]
    read_error: Callable[[bytes], Seen]
    problems: Callable[[object], list[str]]
    failures: Mapping[int, str]
    stream_type: str
    at: Callable[[str, bool], str] | None = None
    statuses: Mapping[int, int] = field(default_factory=dict)
    pieces: bool = True


def payloads(data: bytes, seen: Seen) -> list[tuple[str, bytes]]:
    """(event, data) of each frame, by the standard; notes what no client should have to bear."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        seen.wrong.append("the stream is not UTF-8")
        text = data.decode("utf-8", "replace")
    if text and not text.endswith(("\n\n", "\r\r", "\r\n\r\n")):
        seen.wrong.append(f"the last frame is not closed: {text[-80:]!r}")
    found: list[tuple[str, bytes]] = []
    event, lines, empty = "", list[str](), True
    for part in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        if part:
            empty = False
            name, _, value = part.partition(":")
            if name == "data":
                lines.append(value.removeprefix(" "))
            elif name == "event":
                event = value.strip()
            elif name:
                seen.wrong.append(f"a line that no client needs: {part[:60]!r}")
            continue
        if empty:
            seen.wrong.append("a bare blank line")
        if lines:
            found.append((event, "\n".join(lines).encode()))
        event, lines, empty = "", [], True
    return found


def _read_chat_stream(data: bytes) -> Seen:
    seen = Seen()
    for _, payload in payloads(data, seen):
        if seen.terminated:
            seen.wrong.append(f"after the terminator: {payload[:80]!r}")
        elif payload == b"[DONE]":
            seen.terminated = True
        else:
            _read_chunk(payload, seen)
    if seen.error is not None and seen.finishes:
        seen.wrong.append("an error and a finish")
    return seen


def _read_chunk(payload: bytes, seen: Seen) -> None:
    try:
        chunk = json.loads(payload)
    except ValueError:
        seen.wrong.append(f"a frame that is not JSON: {payload[:80]!r}")
        return
    if not isinstance(chunk, dict):
        seen.wrong.append(f"a frame that is no object: {payload[:80]!r}")
        return
    if seen.error is not None:
        seen.wrong.append(f"after the error: {payload[:80]!r}")
    if "error" in chunk:
        seen.error = chunk["error"]
        return
    if chunk.get("usage"):
        seen.usage = chunk["usage"]
    for choice in chunk["choices"]:
        if seen.finishes:
            seen.wrong.append(f"a choice after the finish: {payload[:80]!r}")
        delta = choice["delta"]
        seen.said.append(delta.get("content") or "")
        for made in delta.get("tool_calls") or ():
            seen.called += made["function"].get("arguments") or ""
        if choice["finish_reason"] is not None:
            seen.finishes.append(choice["finish_reason"])


def _read_chat_whole(data: bytes) -> Seen:
    seen = Seen(terminated=True)
    try:
        value = json.loads(data)
        (choice,) = value["choices"]
        message = choice["message"]
    except (ValueError, KeyError, TypeError) as error:
        seen.wrong.append(f"not a completion: {error!r} in {data[:100]!r}")
        return seen
    seen.said.append(message.get("content") or "")
    seen.finishes.append(choice["finish_reason"])
    seen.usage = value.get("usage")
    for made in message.get("tool_calls") or ():
        seen.called += made["function"]["arguments"]
    return seen


def _read_chat_error(data: bytes) -> Seen:
    seen = Seen(terminated=True)
    try:
        seen.error = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):
        seen.wrong.append(f"not an error of the dialect: {data[:100]!r}")
    return seen


def _chat_body(model: str, prompt: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}]}


def _chat_problems(error: object) -> list[str]:
    if not isinstance(error, dict):
        return [f"the error is no object: {error!r}"]
    wrong = [
        f"error.{name} is {error.get(name)!r}"
        for name in ("message", "type")
        if not (isinstance(error.get(name), str) and error[name])
    ]
    if {"param", "code"} - set(error):
        wrong.append(f"the error lacks keys: {sorted(error)}")
    return wrong


CLIENTS: dict[str, ClientDialect] = {
    "openai_chat": ClientDialect(
        path="/v1/chat/completions",
        body=_chat_body,
        key=lambda key: {"Authorization": f"Bearer {key}"},
        read_stream=_read_chat_stream,
        read_whole=_read_chat_whole,
        read_error=_read_chat_error,
        problems=_chat_problems,
        failures={
            400: "invalid_request_error",
            401: "authentication_error",
            404: "invalid_request_error",
            413: "invalid_request_error",
            422: "invalid_request_error",
            429: "rate_limit_error",
            502: "server_error",
            503: "server_error",
            504: "timeout",
        },
        stream_type="text/event-stream",
    ),
}
