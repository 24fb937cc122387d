"""A call of an upstream by websocket: opened like any other call, then a conversation.

The upgrade is one HTTP request on the route's own connections, with its cookies and its proxy; what
refuses it is an answer like others. After it aiohttp reads and writes the frames; what is said, and
what the end means, says the `Talk`.

- nothing is compressed: the extension is not offered, so a sender that uses it breaks the protocol
- pings are answered; they are no sign that the model is at work, so no timer is pushed back
- a client that leaves, and an answer that is over, close the socket: nobody waits for the peer
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketError, WebSocketReader, WebSocketWriter, WSCloseCode, WSMsgType
from aiohttp.http_websocket import WS_KEY
from aiohttp.streams import EofStream

from engine.errors import ExchangeError
from engine.parsers.websocket import encoded
from engine.ports import Line, Sent, Talk, pumped
from engine.wire import HttpRequest, SocketMessage

from .calls import Open, Pools

BUFFER = 65_536  # bytes of messages that wait before the socket is read no further
FAREWELL = 1.0  # seconds in which the close frame must have left
ABNORMAL = 1006
WORDS = {
    WSCloseCode.MESSAGE_TOO_BIG: "a message is larger than {limit} bytes",
    WSCloseCode.INVALID_TEXT: "a text is not UTF-8",
}


def opening(request: HttpRequest, key: str) -> HttpRequest:
    """The request that asks for the upgrade (RFC 6455 §4.1)."""
    headers: dict[str, str] = {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_VERSION: "13",
        hdrs.SEC_WEBSOCKET_KEY: key,
    }
    url = f"http{request.url.removeprefix('ws')}" if request.url.startswith("ws") else request.url
    return dataclasses.replace(request.with_headers(headers), url=url)


def accepted(key: str) -> str:
    """What the server has to answer to a key (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + WS_KEY).digest()).decode()


class Conversation(Open):
    """A websocket as an Answer: its messages, encoded. Refused, it is the answer that refused."""

    __slots__ = ("_key", "_queue", "_reader", "_said_goodbye", "_talk", "_writer")

    def __init__(
        self, upstream: Pools, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> None:
        self._key = base64.b64encode(os.urandom(16)).decode()
        super().__init__(upstream, opening(request, self._key), line, sent)
        self._talk = talk
        self._writer: WebSocketWriter | None = None
        self._said_goodbye = False

    async def __aenter__(self) -> Conversation:
        await super().__aenter__()
        try:
            if self.head.status == 101:
                self._upgraded()
                await self._say(self._talk.begin())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    def _upgraded(self) -> None:
        if self.head.header(hdrs.SEC_WEBSOCKET_ACCEPT) != accepted(self._key):
            raise ExchangeError("retryable", "the upstream opened a websocket nobody asked for")
        assert self._response is not None
        protocol = self._response.protocol()
        transport = protocol.transport
        if transport is None:
            raise self._talk.closed(ABNORMAL, "") or _broken_off()
        self._queue = WebSocketDataQueue(protocol, BUFFER, loop=asyncio.get_running_loop())
        most = self._talk.limit + 1  # of what aiohttp refuses already
        self._reader = WebSocketReader(self._queue, most, False, True)
        protocol.set_parser(self._reader, self._queue)
        self._writer = WebSocketWriter(protocol, transport, use_mask=True)

    async def _say(self, messages: list[SocketMessage]) -> None:
        for message in messages:
            await self._write(message.data, WSMsgType.TEXT if message.text else WSMsgType.BINARY)

    async def _write(self, data: bytes, kind: WSMsgType) -> None:
        """On a socket that is closing nothing is sent; what comes in says why."""
        assert self._writer is not None
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._writer.send_frame(data, kind)

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        return await (super().pump(take) if self._writer is None else pumped(self, take))

    async def __anext__(self) -> bytes:
        if self._writer is None:
            return await super().__anext__()
        while True:
            message = await self._received()
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                text = message.type is WSMsgType.TEXT
                data = message.data.encode() if text else message.data
                heard = SocketMessage(data, text)
                await self._say(self._talk.hear(heard))
                return encoded(heard)
            if message.type is WSMsgType.PING:
                await self._write(message.data, WSMsgType.PONG)
            elif message.type is WSMsgType.CLOSE:
                await self._goodbye(message.data or WSCloseCode.OK)
                self._ended(message.data or 1005, message.extra or "")
                raise StopAsyncIteration

    async def _received(self) -> Any:
        """The next message. Raises what the `Talk` makes of a socket that broke."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._talk.ping):
                        return await self._queue.read()
                except TimeoutError:
                    await self._write(b"", WSMsgType.PING)
        except WebSocketError as error:
            await self._goodbye(error.code)
            words = WORDS.get(WSCloseCode(error.code), "it breaks the websocket protocol")
            told = words.format(limit=self._talk.limit)
            raise ExchangeError("retryable", f"the answer cannot be read: {told}") from None
        except (EofStream, aiohttp.ClientError, OSError):
            self._said_goodbye = True
            self._ended(ABNORMAL, "")
            raise _broken_off() from None

    def _ended(self, code: int, reason: str) -> None:
        error = self._talk.closed(code, reason)
        if error is not None:
            raise error from None

    async def _goodbye(self, code: int) -> None:
        """Say that the conversation is over, once. Nothing of it is waited for."""
        writer, said = self._writer, self._said_goodbye
        self._said_goodbye = True
        if writer is not None and not said:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await writer.close(code)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._goodbye(WSCloseCode.OK if kind is None else WSCloseCode.GOING_AWAY)
        finally:
            await super().__aexit__(kind, error, trace)


def _broken_off() -> ExchangeError:
    return ExchangeError("truncated", "the upstream broke off its answer")
