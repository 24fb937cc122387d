"""Replicas tell one another which accounts are out, and how much each was used."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from engine.accounts.parking import REMEMBERED, Parking
from engine.accounts.pools import Hold
from engine.auth.accounts import Account
from engine.auth.pool import Wait
from engine.ports import StoreError
from engine.route.route import Route
from tests.kit import World, route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
auth:
  from: { env: KEYS, split: "," }
  park: { after: 1, for: 60s, refused: 1h }
  pick: first
limits: { per_account: { rpm: 10 } }
request: { path: /x, headers: { authorization: "Bearer {{ account.key }}" }, json: {} }
response: { events: [ { text: $.a, finish: stop } ] }
"""


class Replica:
    """One process: its pools, on a store and a clock of all."""

    def __init__(self, first: Replica | None = None) -> None:
        self.world = World()
        self.route: Route = route_of(ROUTE, env={"KEYS": "key-one,key-two"})
        ports = self.world.ports
        if first is not None:
            ports = dataclasses.replace(
                ports, store=first.parking.ports.store, clock=first.world.clock
            )
        self.pools = self.world.keyring.pools
        self.pools.ports = ports
        self.parking: Parking = Parking(ports, self.pools)

    def take(self) -> str:
        """Which account the next request gets (1 or 2); released at once. 0: none is free."""
        pool, clock = self.pools.of(self.route), self.parking.ports.clock
        found = pool.choose(clock.monotonic(), self.parking.ports.random)
        if isinstance(found, Wait):
            return "none"
        pool.release(found)
        return found.parts["key"].reveal()

    def fail(self, cls: str = "auth_invalid", at: int = 0) -> None:
        account = self.account(at)
        hold = Hold(account, self.pools.of(self.route))
        self.pools.report(self.route, hold, cls)

    def account(self, at: int = 0) -> Account:
        return self.route.roster.accounts[at]

    async def sync(self) -> None:
        await self.parking.sync(self.route)


def two() -> tuple[Replica, Replica]:
    one = Replica()
    return one, Replica(one)


async def both(*replicas: Replica) -> None:
    for replica in (*replicas, *replicas):
        await replica.sync()


async def test_who_is_out_in_one_replica_is_out_in_the_other() -> None:
    one, other = two()
    one.fail()
    assert (one.take(), other.take()) == ("key-two", "key-one")
    await both(one, other)
    assert (one.take(), other.take()) == ("key-two", "key-two")
    health = other.pools.of(other.route).seats[0].health
    assert health.why == "auth_invalid"


async def test_and_is_back_in_both_when_its_time_is_up() -> None:
    one, other = two()
    one.fail()
    await both(one, other)
    one.world.clock.move(3599)
    assert (one.take(), other.take()) == ("key-two", "key-two")
    one.world.clock.move(2)
    await both(one, other)
    assert (one.take(), other.take()) == ("key-one", "key-one")


async def test_who_is_back_in_one_replica_is_back_in_the_other() -> None:
    one, other = two()
    one.fail()
    await both(one, other)
    one.world.clock.move(5)
    other.pools.revive(other.route, other.account())
    await both(other, one)
    assert (one.take(), other.take()) == ("key-one", "key-one")
    one.world.clock.move(5)
    one.fail()
    await both(other, one)
    assert (one.take(), other.take()) == ("key-two", "key-two")


async def test_what_is_known_here_and_not_told_yet_holds() -> None:
    one, other = two()
    one.fail()
    await one.sync()
    one.world.clock.move(1)
    other.pools.of(other.route).park(other.account().digest)
    await both(other, one)
    one.world.clock.move(REMEMBERED / 2)
    assert (one.take(), other.take()) == ("key-two", "key-two")


async def test_a_store_that_forgets_brings_nobody_back() -> None:
    one, other = two()
    one.fail()
    await both(one, other)
    await one.parking.ports.store.delete("parked/sample")
    await both(one, other)
    assert (one.take(), other.take()) == ("key-two", "key-two")


async def test_replicas_that_find_out_at_the_same_time_both_tell() -> None:
    one, other = two()
    one.fail(at=0)
    other.fail(at=1)
    await asyncio.gather(one.sync(), other.sync())
    await both(one, other)
    assert (one.take(), other.take()) == ("none", "none")


async def test_calls_of_all_replicas_count_against_a_limit() -> None:
    one, other = two()
    assert [one.take() for _ in range(6)] == ["key-one"] * 6
    assert other.take() == "key-one"
    await both(one, other)
    assert [other.take() for _ in range(4)] == ["key-one"] * 3 + ["key-two"]
    await both(one, other)
    assert one.take() == "key-two"
    one.world.clock.move(61)
    await both(one, other)
    assert (one.take(), other.take()) == ("key-one", "key-one")


async def test_accounts_that_nobody_uses_cost_the_store_nothing() -> None:
    one, other = two()
    await both(one, other)
    assert await one.parking.ports.store.keys("") == []


@pytest.mark.parametrize("raw", [b"", b"[]", b"5", b'{"x":5}', b'{"x":["a","b","c"]}'])
async def test_what_cannot_be_read_is_replaced(raw: bytes) -> None:
    one, other = two()
    await one.parking.ports.store.put("parked/sample", raw)
    one.fail()
    await both(one, other)
    assert other.take() == "key-two"


async def test_a_store_that_fails_leaves_replicas_on_their_own() -> None:
    async def fails(*_: object) -> None:
        raise StoreError("down")

    one = Replica()
    one.parking.ports.store.get = fails  # type: ignore[method-assign, assignment]
    one.fail()
    await one.sync()
    assert one.world.notes.of("store_error") == [{"store": "accounts", "op": "sync"}]
    assert one.take() == "key-two"


async def test_it_is_tended_for_ever() -> None:
    one, other = two()
    one.fail()
    tending = [
        asyncio.ensure_future(each.parking.tend(lambda each=each: [each.route]))  # type: ignore[misc]
        for each in (one, other)
    ]
    while other.take() != "key-two":
        await asyncio.sleep(0)
    for task in tending:
        task.cancel()
    await asyncio.wait(tending)
