"""Streams of the stubs: how many are open, and one that has no end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from aiohttp import web


async def counted(stub: Any, stream: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """A stream, counted in the stub's `open_streams` until it ends or its client has left."""
    stub.open_streams += 1
    try:
        return await stream
    finally:
        stub.open_streams -= 1


async def without_end(response: web.StreamResponse, data: bytes) -> None:
    """The same piece again and again."""
    while True:
        await asyncio.sleep(0.02)
        await response.write(data)
