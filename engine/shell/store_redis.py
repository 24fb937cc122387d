"""The Store port in Redis or Valkey: what several replicas share. Needs `penstock[redis]`.

Every name begins with a prefix, so that one server may hold several installations. Whatever writes
is one script, so it happens whole or not at all. The order of writing, which `trim` goes by, is an
index per folder of names: two sorted sets, of turns and of expiries, which last as long as what
they name; counters are in no index.
Names are made up inside the scripts: one server (or a primary with replicas), not a cluster.
Each operation has a time limit, connecting included. Whatever goes wrong is a StoreError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import RedisError

from engine.ports import StoreError

CONNECTIONS = 32
LONGEST = 1e10  # seconds: the server's times are integers of 64 bits

# KEYS: the entry, the folder's order, the folder's expiries. Times are milliseconds.
_COMMON = """
local entry, order, expiry = KEYS[1], KEYS[2], KEYS[3]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function forget(name)
  redis.call('ZREM', order, name)
  redis.call('ZREM', expiry, name)
end
local function purge(most)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, most)) do
    forget(name)
  end
end
local function keep(ttl, fresh)
  local left = redis.call('PTTL', order)
  if ttl == '' or (left < 0 and not fresh) then
    redis.call('PERSIST', order)
    redis.call('PERSIST', expiry)
  else
    left = math.max(fresh and 0 or left, tonumber(ttl))
    redis.call('PEXPIRE', order, left)
    redis.call('PEXPIRE', expiry, left)
  end
end
local function write(name, value, ttl)
  purge(8)
  local last = redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')
  redis.call('ZADD', order, (tonumber(last[2]) or 0) + 1, name)
  if ttl == '' then
    redis.call('SET', entry, value)
    redis.call('ZREM', expiry, name)
  else
    redis.call('SET', entry, value, 'PX', ttl)
    redis.call('ZADD', expiry, now + ttl, name)
  end
  keep(ttl, #last == 0)
end
"""
_PUT = _COMMON + "write(ARGV[1], ARGV[2], ARGV[3])"
_DELETE = _COMMON + "redis.call('DEL', entry) forget(ARGV[1])"
_SWAP = (
    _COMMON
    + """
local found = redis.call('GET', entry)
local wanted = ARGV[4] == '1' and ARGV[5] or false
if found ~= wanted then return 0 end
if ARGV[6] == '1' then write(ARGV[1], ARGV[2], ARGV[3])
else redis.call('DEL', entry) forget(ARGV[1]) end
return 1
"""
)
# ARGV: how many may stay, the names' common prefix.
_TRIM = (
    _COMMON
    + """
purge(-1)
local over = redis.call('ZCARD', order) - ARGV[1]
if over <= 0 then return 0 end
for _, name in ipairs(redis.call('ZRANGE', order, 0, over - 1)) do
  redis.call('DEL', ARGV[2] .. name)
  forget(name)
end
return over
"""
)
_ADD = """
local fresh = redis.call('EXISTS', KEYS[1]) == 0
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if fresh and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
"""


class RedisStore:
    """url as redis-py reads it; timeout in seconds. Nothing is called before the first use.

    Raises TypeError or ValueError for a URL with parts that redis-py does not know.
    """

    def __init__(self, url: str, *, prefix: str = "penstock", timeout: float = 0.25) -> None:
        pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            # A connection that the server closed meanwhile is found out by using it.
            retry=Retry(NoBackoff(), 1, supported_errors=(Lost,)),
            protocol=2,
        )
        pool.make_connection()  # not connected: to hear early of what it does not know
        self._redis = Redis(connection_pool=pool)
        self._timeout = timeout
        self._prefix = f"{prefix}:k:"
        self._indexes = (f"{prefix}:o:", f"{prefix}:e:")
        register = self._redis.register_script
        self._put, self._delete, self._swap = register(_PUT), register(_DELETE), register(_SWAP)
        self._trim, self._add = register(_TRIM), register(_ADD)

    async def get(self, key: str) -> bytes | None:
        found = await self._do(self._redis.get(self._prefix + key))
        return None if found is None else bytes(found)

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._do(self._put(self._places(key), [key, value, _milliseconds(ttl)]))

    async def delete(self, key: str) -> None:
        await self._do(self._delete(self._places(key), [key]))

    async def trim(self, prefix: str, most: int) -> int:
        asked: list[int | str] = [max(0, most), self._prefix]
        return int(await self._do(self._trim(self._places(prefix), asked)))

    async def add(self, key: str, by: int, ttl: float | None = None) -> int:
        return int(await self._do(self._add([self._prefix + key], [by, _milliseconds(ttl)])))

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        wanted = ["0", ""] if old is None else ["1", old]
        asked = [key, new or b"", _milliseconds(ttl), *wanted, "0" if new is None else "1"]
        return bool(await self._do(self._swap(self._places(key), asked)))

    async def keys(self, prefix: str, most: int = 10_000) -> list[str]:
        pattern = self._prefix + "".join(f"\\{c}" if c in "*?[]\\^" else c for c in prefix) + "*"
        found: dict[bytes, None] = {}
        cursor = 0
        while len(found) < most:
            cursor, more = await self._do(self._redis.scan(cursor, pattern, 500))
            found.update(dict.fromkeys(more))
            if not cursor:
                break
        start = len(self._prefix.encode())
        return [name[start:].decode() for name in list(found)[:most]]

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    def _places(self, key: str) -> list[str]:
        folder = key.rpartition("/")[0]
        return [self._prefix + key, *(index + folder for index in self._indexes)]

    async def _do(self, work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except TimeoutError as error:
            raise StoreError(f"redis: no answer within {self._timeout:g} s") from error
        except (RedisError, OSError, UnicodeError) as error:
            raise StoreError(f"redis: {type(error).__name__}: {error}") from error


def _milliseconds(ttl: float | None) -> str:
    return "" if ttl is None else str(max(1, round(min(ttl, LONGEST) * 1000)))
