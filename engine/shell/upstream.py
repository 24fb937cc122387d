"""The Upstream port over aiohttp's connector, with the cures for what aiohttp does by default.

- what `engine/shell/http_call.py` tells of connections and framing
- redirects are not followed; cookies are kept only where a route asks for a jar
- a POST that met a dead pooled connection is sent once more, on a fresh one (aiohttp#6138)
- chunks, not lines, are read, so that no line is too long; decompressed bytes are bounded
- each account has a pool of its own, and routes that have but one credential share theirs; cookie
  jars are apart, so that the sessions of one account share connections, and bounded
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from aiohttp import CookieJar

from engine.ports import Line, Sent, Talk
from engine.wire import HttpRequest, HttpResponse

from .calls import Open, Pool
from .http_call import Connector
from .websocket import Conversation

MAX_POOLS = 16_384
MAX_JARS = 32_768  # the least recently used go first


class AiohttpUpstream:
    """Calls upstreams. `close()` it at the end; `line_key` makes pools.

    connections: most that a pool opens to one host at once, 0: any.
    """

    def __init__(self, connections: int = 0) -> None:
        self._connections = connections
        self._pools: dict[Line, Pool] = {}
        self._calls = 0
        self._jars: OrderedDict[str, CookieJar] = OrderedDict()
        self._fresh: dict[Line, Pool] = {}
        self.crowded = False

    async def close(self) -> None:
        for pool in (*self._pools.values(), *self._fresh.values()):
            await pool.connector.close()

    def stream(
        self, request: HttpRequest, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Open]:
        return Open(self, request, line, sent)

    def converse(
        self, request: HttpRequest, talk: Talk, line: Line, sent: Sent = None
    ) -> AbstractAsyncContextManager[Open]:
        return Conversation(self, request, talk, line, sent)

    async def fetch(self, request: HttpRequest, line: Line, limit: int) -> HttpResponse:
        async with Open(self, request, line) as answer:
            body = await answer.read(limit)
            return HttpResponse(answer.head.status, answer.head.headers, body)

    def pool(self, line: Line, *, fresh: bool = False) -> Pool:
        pools = self._fresh if fresh else self._pools
        line = replace(line, jar="") if line.jar else line
        pool = pools.get(line)
        if pool is None:
            pool = pools[line] = self._made(line, reuse=line.reuse and not fresh)
            self.crowded = max(len(self._pools), len(self._fresh)) > MAX_POOLS
        self._calls += 1
        pool.used = self._calls
        return pool

    async def evict(self) -> None:
        """Close a tenth of the pools, those that have been idle longest."""
        self.crowded = False
        for pools in (self._pools, self._fresh):
            idle = [line for line, pool in pools.items() if not pool.busy]
            idle.sort(key=lambda line: pools[line].used)
            excess = MAX_POOLS // 10 if len(pools) > MAX_POOLS else 0
            for pool in [pools.pop(line) for line in idle[:excess]]:
                await pool.connector.close()

    def _made(self, line: Line, *, reuse: bool) -> Pool:
        connector = Connector(
            limit=0,
            limit_per_host=self._connections,
            ttl_dns_cache=60,
            force_close=not reuse,
            ssl=_tls(line.verify, line.ca),
            keepalive_timeout=30 if reuse else None,
        )
        return Pool(connector)

    def jar(self, line: Line) -> CookieJar | None:
        name = line.jar
        if not name:
            return None
        jar = self._jars.get(name)
        if jar is None:
            jar = self._jars[name] = CookieJar(unsafe=True)
            if len(self._jars) > MAX_JARS:
                self._jars.popitem(last=False)
        else:
            self._jars.move_to_end(name)
        return jar


def _tls(verify: bool, ca: str | None) -> bool | ssl.SSLContext:
    if not verify:
        return False
    return ssl.create_default_context(cafile=ca) if ca else True
