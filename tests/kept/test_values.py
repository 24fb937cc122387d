"""Values in a store that several share: fetched by one of them, used by all."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.kept import values as module
from engine.kept.leases import take
from engine.kept.values import LEASE, Place, obtain
from engine.ports import StoreError
from engine.route.values import Found
from engine.shell.store_memory import MemoryStore
from engine.wire import dumps
from tests.accounts.test_keyring import SCOPES, have, route, said, settled, value
from tests.kit import Say, World

KEY = "value/x"


def fits(found: Found) -> bool:
    return found.content != "bad" and (found.expires_in is None or found.expires_in > 0)


class Source:
    """Where values are fetched; `gate` holds it up."""

    def __init__(self, *contents: str, lasts: float | None = None) -> None:
        self.contents, self.lasts = list(contents), lasts
        self.asked = 0
        self.stored: list[object] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, stored: Found | None) -> Found:
        self.asked += 1
        self.stored.append(stored and stored.content)
        await self.gate.wait()
        if not self.contents:
            raise ExchangeError("unavailable", "no more")
        return Found(self.contents.pop(0), self.lasts)


async def had(world: World, source: Source, store: Any = None) -> object:
    place = Place(store or world.ports.store, KEY)
    return (await obtain(world.ports, place, fits, source)).content


async def test_what_was_fetched_is_found_by_the_next() -> None:
    world, source = World(), Source("one")
    assert [await had(world, source), await had(world, source)] == ["one", "one"]
    assert source.asked == 1


async def test_of_many_at_once_one_fetches() -> None:
    world, source = World(), Source("one")
    source.gate.clear()
    asking = [asyncio.ensure_future(had(world, source)) for _ in range(5)]
    await asyncio.sleep(0)
    source.gate.set()
    assert set(await asyncio.gather(*asking)) == {"one"}
    assert source.asked == 1
    assert await world.ports.store.keys("lease/") == []


async def test_when_the_fetch_fails_the_next_in_line_tries() -> None:
    world, fails, works = World(), Source(), Source("one")
    fails.gate.clear()
    first = asyncio.ensure_future(had(world, fails))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(had(world, works))
    await asyncio.sleep(0)
    fails.gate.set()
    with pytest.raises(ExchangeError, match="no more"):
        await first
    assert await second == "one"


async def test_a_holder_that_died_is_followed_after_its_lease() -> None:
    world, source = World(), Source("one")
    await take(world.ports.store, f"lease/{KEY}", LEASE, world.ports.random)
    began = world.clock.monotonic()
    assert await had(world, source) == "one"
    assert LEASE <= world.clock.monotonic() - began < LEASE + 1


async def test_a_lease_is_extended_while_its_holder_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.001)
    world, source = World(), Source("one")
    source.gate.clear()
    asking = asyncio.ensure_future(had(world, source))
    for _ in range(5):
        await asyncio.sleep(0.01)
        world.clock.move(LEASE - 1)
    assert await take(world.ports.store, f"lease/{KEY}", LEASE, world.ports.random) is None
    source.gate.set()
    assert await asking == "one"


async def test_who_slept_through_its_lease_takes_what_came_after_it() -> None:
    world, late = World(), Source("late")
    late.gate.clear()
    asking = asyncio.ensure_future(had(world, late))
    await asyncio.sleep(0)
    world.clock.move(LEASE + 1)
    assert await had(world, Source("newer")) == "newer"
    late.gate.set()
    assert await asking == "newer"
    assert await had(world, Source()) == "newer"


async def test_who_waits_too_long_fetches_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 10.0)
    world, source = World(), Source("own")
    await take(world.ports.store, f"lease/{KEY}", 1e6, world.ports.random)
    assert await had(world, source) == "own"


@pytest.mark.parametrize("raw", [b"no json", b"5", b"{}", b'{"content":5}', b"\xff"])
async def test_what_cannot_be_read_is_replaced(raw: bytes) -> None:
    world, source = World(), Source("one")
    await world.ports.store.put(KEY, raw)
    assert await had(world, source) == "one"
    assert await had(world, source) == "one"


async def test_what_does_not_fit_is_replaced_and_an_expired_value_stays_for_a_while() -> None:
    world, source = World(), Source("one", "two", lasts=60)
    await world.ports.store.put(KEY, dumps({"content": "bad", "until": None}))
    assert await had(world, source) == "one"
    world.clock.move(61)
    kept = await world.ports.store.get(KEY)
    assert kept is not None
    assert b'"one"' in kept
    assert await had(world, source) == "two"
    assert source.stored == ["bad", "one"]  # how to renew it may stand in it


class Broken(MemoryStore):
    """A store of which some operations fail."""

    def __init__(self, world: World, *fails: str) -> None:
        super().__init__(world.clock.monotonic)
        self.fails = set(fails)

    async def get(self, key: str) -> bytes | None:
        await self._or_fail("get")
        return await super().get(key)

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None = None
    ) -> bool:
        kind = "lease" if key.startswith("lease/") else "save"
        await self._or_fail("release" if kind == "lease" and new is None else kind)
        return await super().swap(key, old, new, ttl)

    async def _or_fail(self, what: str) -> None:
        if what in self.fails:
            raise StoreError("out of order")


@pytest.mark.parametrize(
    ("fails", "told"), [("get", "get"), ("lease", "get"), ("save", "put"), ("release", None)]
)
async def test_a_store_that_fails_is_done_without(fails: str, told: str | None) -> None:
    world, source = World(), Source("one")
    assert await had(world, source, Broken(world, fails)) == "one"
    expected = [] if told is None else [{"store": "values", "op": told}]
    assert world.notes.of("store_error") == expected


async def test_a_store_that_fails_once_the_lease_is_taken_is_done_without() -> None:
    world, source = World(), Source("one")
    store = Broken(world)
    swap = store.swap

    async def then_break(*given: Any) -> bool:
        done = await swap(*given)
        store.fails.add("get")
        return done

    store.swap = then_break  # type: ignore[method-assign, assignment]
    assert await had(world, source, store) == "one"


# ---- two keyrings ----


class Two:
    """Two processes' worlds on one store; their upstreams are told apart."""

    def __init__(self, first: list[Say | bytes], second: list[Say | bytes]) -> None:
        self.one, self.other = World(first), World(second)
        store = self.one.ports.store
        for world in (self.one, self.other):
            world.ports = dataclasses.replace(
                world.ports, store=store, durable=store, shared=True, clock=self.one.clock
            )
            world.keyring.ports = world.ports


async def test_what_one_process_fetched_the_other_uses() -> None:
    two, of = Two([said("one")], []), route()
    async with two.one, two.other:
        assert [await value(two.one, of), await value(two.other, of)] == ["one", "one"]


async def test_a_value_that_was_refused_is_fetched_by_the_first_and_taken_by_the_second() -> None:
    two, of = Two([said("one"), said("two")], []), route("refresh_for: [stale]")
    async with two.one, two.other:
        used = [await have(world, of) for world in (two.one, two.other)]
        two.one.keyring.renew(of, "stale", used[0], SCOPES)
        assert await value(two.one, of) == "two"
        assert await value(two.other, of) == "one"  # nobody has told it yet
        two.other.keyring.renew(of, "stale", used[1], SCOPES)
        assert await value(two.other, of) == "two"


async def test_a_renewal_ahead_of_time_is_made_once() -> None:
    two = Two([said("one"), said("two")], [])
    of = route("ttl: 60s, refresh_before: 20s")
    async with two.one, two.other:
        for world in (two.one, two.other):
            await value(world, of)
        two.one.clock.move(45)
        for world in (two.one, two.other):
            assert await value(world, of) == "one"
            await settled(world)
            assert await value(world, of) == "two"


async def test_values_of_one_request_are_nobody_elses() -> None:
    two, of = Two([said("one")], [said("two")]), route("scope: request")
    async with two.one, two.other:
        assert [await value(two.one, of), await value(two.other, of)] == ["one", "two"]
