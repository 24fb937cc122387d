"""The upstream's side of a recorded conversation over a websocket, played on a real one.

Several recordings may begin alike; what the caller says decides among them. The first of those that
still fit is played.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import WSCloseCode, WSMsgType, web

from engine.replay.fixtures import FrameSpec, Matcher, ReplySpec
from engine.wire import SocketMessage

STALL = 3600.0


class SocketStub:
    """One websocket that is played. complaints: what the caller said and should not have."""

    def __init__(self, replies: list[ReplySpec], matcher: Matcher, *, timed: bool) -> None:
        self._replies = replies
        self._matcher = matcher
        self._timed = timed
        self.complaints: list[str] = []

    async def play(self, request: web.BaseRequest) -> web.WebSocketResponse:
        """Open the websocket and play to the end of a recording."""
        socket = web.WebSocketResponse()
        socket.headers.update(self._replies[0].headers)
        await socket.prepare(request)
        begun, at = asyncio.get_running_loop().time(), 0
        while step := self._step(at):
            if step.expect is not None:
                said = await self._heard(socket)
                self._choose(at, said)
                if said is None or self.complaints:
                    reason = "; ".join(self.complaints)[:100].encode("ascii", "replace")
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)
                    return socket
            else:
                await self._pause(begun, step)
                with contextlib.suppress(ConnectionError):  # whoever has heard enough may leave
                    await self._say(socket, step)
            at += 1
        await self._end(socket, request)
        return socket

    def _step(self, at: int) -> FrameSpec | None:
        frames = self._replies[0].frames or []
        return frames[at] if at < len(frames) else None

    def _choose(self, at: int, said: SocketMessage | None) -> None:
        """Go on with the recordings in which this is said here."""
        left, nearest = list[ReplySpec](), list[str]()
        before = (self._replies[0].frames or [])[:at]
        for reply in self._replies:
            frames = reply.frames or []
            alike = len(frames) > at and frames[:at] == before and frames[at].expect is not None
            nearest = self._matcher.message(frames[at].expect, said) if alike else nearest
            if alike and not nearest:
                left.append(reply)
        self._replies = left or self._replies
        self.complaints += [] if left else nearest

    async def _heard(self, socket: web.WebSocketResponse) -> SocketMessage | None:
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            return SocketMessage(message.data.encode())
        return SocketMessage(message.data, False) if message.type is WSMsgType.BINARY else None

    async def _pause(self, begun: float, step: FrameSpec) -> None:
        wait = begun + step.at / 1000 - asyncio.get_running_loop().time()
        if self._timed and wait > 0:
            await asyncio.sleep(wait)

    async def _say(self, socket: web.WebSocketResponse, step: FrameSpec) -> None:
        message = step.message
        if message is None:
            await socket.close(code=step.close or WSCloseCode.OK, message=step.reason.encode())
        elif not socket.closed and message.text:
            await socket.send_str(message.data.decode())
        elif not socket.closed:
            await socket.send_bytes(message.data)

    async def _end(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        end = self._replies[0].end
        if end == "stall":
            await asyncio.sleep(STALL)
        if end == "reset" and request.transport is not None:
            request.transport.abort()
        elif not socket.closed:
            await socket.close()
