"""The store in Redis, on a real server: the suite of all stores, and what a server may do to us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.ports import StoreError
from engine.shell.store_redis import RedisStore
from tests.shell.redis_server import RedisServer, need_redis
from tests.shell.store_suite import StoreSuite, Tick


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"), password="pass-word-of-24-signs-xx")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    need_redis()
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


class TestRedisStore(StoreSuite):
    @pytest.fixture
    async def store(self, shared: RedisServer) -> AsyncIterator[RedisStore]:
        with redis.Redis.from_url(shared.url) as direct:
            direct.flushall()
        store = RedisStore(shared.url, prefix="te*st", timeout=5)
        yield store
        await store.close()

    @pytest.fixture
    def tick(self, shared: RedisServer) -> Tick:
        """The server's clock cannot be moved: what it knows of times is."""

        def tick(seconds: float) -> None:
            with redis.Redis.from_url(shared.url) as direct:
                for key in list(direct.scan_iter()):
                    _age(direct, key, round(seconds * 1000))

        return tick


def _age(direct: Any, key: bytes, by: int) -> None:
    left = direct.pttl(key)
    if left >= 0:
        if left <= by:
            direct.delete(key)
        else:
            direct.pexpire(key, left - by)
    if b":e:" in key:
        for name, at in direct.zrange(key, 0, -1, withscores=True):
            direct.zadd(key, {name: at - by})


def told(server: RedisServer, **more: float) -> RedisStore:
    return RedisStore(server.url, timeout=more.get("timeout", 0.25))


async def test_a_value_expires_by_the_servers_clock(server: RedisServer) -> None:
    store = told(server)
    await store.put("s/a", b"1", ttl=0.05)
    await asyncio.sleep(0.2)
    assert await store.get("s/a") is None
    await store.put("s/b", b"1")
    assert await store.trim("s/", 1) == 0
    await store.close()


async def test_installations_with_other_prefixes_do_not_meet(server: RedisServer) -> None:
    one, other = RedisStore(server.url, prefix="a"), RedisStore(server.url, prefix="b")
    await one.put("s/x", b"1")
    assert await other.get("s/x") is None
    assert await other.keys("s/") == []
    assert await other.trim("s/", 0) == 0
    assert await one.get("s/x") == b"1"
    await one.close()
    await other.close()


async def test_nothing_of_ours_stays_for_ever_in_an_index(server: RedisServer) -> None:
    store = told(server)
    await store.put("s/a", b"1", ttl=0.05)
    await store.swap("s/b", None, b"1", ttl=0.05)
    await store.add("n/c", 1, ttl=0.05)
    await asyncio.sleep(0.3)
    with redis.Redis.from_url(server.url) as direct:
        assert direct.keys() == []
    await store.close()


async def test_a_server_that_is_not_there_is_a_store_error(server: RedisServer) -> None:
    server.kill()
    store = told(server)
    with pytest.raises(StoreError, match="redis"):
        await store.get("a")
    await store.close()


async def test_a_frozen_server_is_soon_a_store_error(server: RedisServer) -> None:
    store = told(server)
    await store.put("a", b"1")
    server.pause()
    begun = time.monotonic()
    for work in (store.get("a"), store.swap("a", b"1", b"2"), store.keys("a")):
        with pytest.raises(StoreError, match=r"no answer within 0\.25 s"):
            await work
    assert time.monotonic() - begun < 10
    server.resume()
    await asyncio.sleep(0.1)
    await store.put("a", b"3")
    assert await store.get("a") == b"3"
    await store.close()


async def test_after_a_restart_the_store_works_at_once(server: RedisServer) -> None:
    store = told(server, timeout=5)
    await asyncio.gather(*(store.put(f"s/{at}", b"1") for at in range(20)))
    server.kill()
    server.start()
    found = await asyncio.gather(*(store.swap(f"s/{at}", None, b"2") for at in range(20)))
    assert found == [True] * 20
    await store.close()


async def test_a_wrong_password_is_a_store_error_that_does_not_show_it(
    shared: RedisServer,
) -> None:
    store = RedisStore(shared.url.replace(shared.password, "wrong-word-of-24-signs"))
    with pytest.raises(StoreError) as told_:
        await store.get("a")
    assert "wrong-word" not in str(told_.value)
    await store.close()


async def test_more_requests_than_connections_are_all_served(server: RedisServer) -> None:
    store = told(server, timeout=10)
    sums = await asyncio.gather(*(store.add("n", 1) for _ in range(500)))
    assert sorted(sums) == list(range(1, 501))
    await store.close()
