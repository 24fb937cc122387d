"""Live pools: an account for each attempt, waits, and health that outlives a reload."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.accounts.waiting import SLICE
from engine.auth.accounts import NOBODY
from engine.errors import ExchangeError
from engine.options import Secret
from engine.route.route import Route
from engine.wire import HttpRequest, dumps
from tests.kit import FakeSink, Say, World, route_of

HEAD = """version: 1
base_url: https://a.example
models: [m]
request: { path: /x }
response: { events: [ { text: $.a, finish: stop } ] }
errors:
  rules:
    - { status: 401, as: auth_invalid }
    - { status: 402, as: quota_exhausted }
    - { status: 429, as: rate_limited, retry_after: header.retry-after }
    - { status: 400, as: invalid_request }
    - { status: 5xx, as: retryable }
"""
KEYS = "alpha,beta,gamma"


def route(more: str = "", auth: str = "", keys: str = KEYS, name: str = "sample") -> Route:
    text = f"""{HEAD}name: {name}
auth: {{ from: {{ env: K, split: "," }}, bearer: "{{{{ account.key }}}}"{auth} }}
{more}"""
    return route_of(text, env={"K": keys})


def who(request: HttpRequest) -> str:
    return (request.header("authorization") or "").removeprefix("Bearer ")


def saying(**status: int) -> Any:
    """An upstream that answers each key with a status of its own."""

    def script(request: HttpRequest) -> Say:
        code = status.get(who(request), 200)
        return Say(dumps({"a": who(request)}), code, {"retry-after": "7"} if code == 429 else {})

    return script


def asked(world: World) -> list[str]:
    return [who(request) for request in world.upstream.requests]


async def ask(world: World, of: Route, **more: Any) -> FakeSink:
    return await world.ask(of, **more)


async def test_each_request_takes_the_next_account() -> None:
    async with World(saying()) as world:
        of = route()
        assert [(await ask(world, of)).text for _ in range(4)] == [
            "alpha",
            "beta",
            "gamma",
            "alpha",
        ]


@pytest.mark.rows("K2-17", "KB-2", "FL-10")
async def test_a_refused_key_is_out_and_the_request_goes_on_with_the_next() -> None:
    async with World(saying(alpha=401)) as world:
        of = route("retry: { for: [retryable] }")
        assert [(await ask(world, of)).text for _ in range(3)] == ["beta", "gamma", "beta"]
        assert asked(world) == ["alpha", "beta", "gamma", "beta"]
        assert world.clock.sleeps == [0.0]
        parked = world.notes.of("account_parked")
        assert [(each["account"], each["why"]) for each in parked] == [("env:K[1]", "auth_invalid")]


@pytest.mark.parametrize(("status", "seconds"), [(402, 3600.0), (429, 7.0)])
async def test_an_exhausted_account_rests_and_comes_back(status: int, seconds: float) -> None:
    async with World(saying(alpha=status)) as world:
        of = route(keys="alpha,beta")
        for _ in range(3):
            assert (await ask(world, of)).text == "beta"
        assert asked(world).count("alpha") == 1
        world.clock.move(seconds)
        assert (await ask(world, of)).text == "beta"
        assert asked(world).count("alpha") == 2


@pytest.mark.parametrize("status", [400, 500])
async def test_no_fault_of_others_parks_a_key(status: int) -> None:
    async with World(saying(alpha=status, beta=status, gamma=status)) as world:
        of = route(auth=", park: { after: 1, for: 1h }")
        for _ in range(4):
            assert (await ask(world, of)).error is not None
        assert world.notes.of("account_parked") == []


async def test_a_busy_upstream_is_tried_with_the_next_account() -> None:
    async with World(saying(alpha=500)) as world:
        assert (await ask(world, route())).text == "beta"


async def test_as_many_accounts_are_tried_as_there_are_attempts() -> None:
    async with World(saying(alpha=401, beta=401, gamma=401)) as world:
        of = route("retry: { attempts: 2 }")
        sink = await ask(world, of)
        assert sink.error is not None
        assert (sink.error.cls, asked(world)) == ("auth_invalid", ["alpha", "beta"])


async def test_where_none_is_left_the_client_is_told_so() -> None:
    async with World(saying(alpha=401, beta=401)) as world:
        of = route(keys="alpha,beta")
        await ask(world, of)
        sink = await ask(world, of)
        assert sink.error is not None
        assert (sink.error.cls, sink.error.message) == (
            "unavailable",
            "no account of this route is usable now",
        )
        assert len(asked(world)) == 2


async def test_a_request_waits_for_an_account_if_it_is_not_long() -> None:
    async with World(saying(alpha=429, beta=429)) as world:
        of = route("retry: { attempts: 1 }", ", wait: 10s", keys="alpha,beta")
        for _ in range(2):
            await ask(world, of)
        world.upstream.script = saying()
        before = world.clock.now()
        assert (await ask(world, of)).text in ("alpha", "beta")
        assert world.clock.now() - before == pytest.approx(7.0, abs=SLICE)


async def test_a_request_that_would_wait_too_long_is_told_how_long() -> None:
    async with World(saying(alpha=429, beta=429)) as world:
        of = route("retry: { attempts: 1 }", ", wait: 2s", keys="alpha,beta")
        for _ in range(2):
            await ask(world, of)
        sink = await ask(world, of)
        assert sink.error is not None
        assert (sink.error.cls, sink.error.retry_after) == ("rate_limited", 7.0)


async def test_calls_at_once_are_bounded_and_the_next_one_waits_its_turn() -> None:
    gate = asyncio.Event()

    def script(request: HttpRequest) -> Say:
        return Say(dumps({"a": who(request)}), gate=gate)

    async with World(script) as world:
        of = route("limits: { per_account: { concurrency: 1 } }", keys="alpha,beta")
        asking = [asyncio.ensure_future(ask(world, of)) for _ in range(4)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert sorted(asked(world)) == ["alpha", "beta"]
        gate.set()
        await asyncio.gather(*asking)
        assert sorted(asked(world)) == ["alpha", "alpha", "beta", "beta"]


async def test_a_client_that_leaves_gives_its_account_back() -> None:
    async with World(lambda request: Say(gate=asyncio.Event())) as world:
        of = route("limits: { per_account: { concurrency: 1 } }", keys="alpha")
        asking = asyncio.ensure_future(ask(world, of))
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.keyring.pools.of(of).seats[0].health.meter.in_use == 1
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        world.upstream.open = 0  # the fake one never answered
        assert world.keyring.pools.of(of).seats[0].health.meter.in_use == 0


async def test_a_session_that_sticks_keeps_its_account_and_moves_when_that_is_out() -> None:
    async with World(saying()) as world:
        of = route("session: { key: [req.user] }", ", pick: sticky")
        first = (await ask(world, of, user="ada")).text
        assert {(await ask(world, of, user="ada")).text for _ in range(5)} == {first}
        world.upstream.script = saying(**{first: 401})
        assert (await ask(world, of, user="ada")).text != first


# ---- accounts that are no pool ----


async def test_a_route_without_accounts_and_one_for_the_clients_key_have_no_pool() -> None:
    async with World() as world:
        pools = world.keyring.pools
        assert (await pools.take(route_of(HEAD), None)).account == NOBODY
        own = route_of(HEAD + "auth: { from: { client_key: true } }\n")
        hold = await pools.take(own, Secret("sk-mine"))
        other = await pools.take(own, Secret("sk-other"))
        assert (dict(hold.account.parts), hold.pool) == ({"key": Secret("sk-mine")}, None)
        assert hold.account.digest != other.account.digest
        pools.report(own, hold, "auth_invalid")  # the client's own business
        hold.release()
        with pytest.raises(ExchangeError, match="needs the client's own key") as caught:
            await pools.take(own, None)
        assert caught.value.cls == "auth_invalid"


# ---- reloads ----


async def test_an_edit_elsewhere_keeps_what_is_known_of_the_accounts() -> None:
    async with World(saying(alpha=401)) as world:
        await ask(world, route())
        edited = route("timeouts: { total: 99s }")
        world.keyring.pools.adopt(edited)
        assert {(await ask(world, edited)).text for _ in range(4)} == {"beta", "gamma"}
        assert asked(world).count("alpha") == 1


async def test_a_changed_credential_is_tried_again_and_the_others_keep_their_health() -> None:
    async with World(saying(alpha=401, beta=401)) as world:
        await ask(world, route())
        mended = route(keys="delta,beta,gamma")
        world.keyring.pools.adopt(mended)
        assert {(await ask(world, mended)).text for _ in range(4)} == {"delta", "gamma"}
        assert len(world.keyring.pools.of(mended).bench.healths) == 3


async def test_routes_do_not_share_accounts_though_their_keys_are_the_same() -> None:
    async with World(saying(alpha=401)) as world:
        await ask(world, route())
        other = route(name="other")
        await ask(world, other)
        assert asked(world).count("alpha") == 2


async def test_what_belongs_to_one_account_takes_no_other() -> None:
    async with World() as world:
        of = route("retry: { attempts: 1 }\n")
        pools = world.keyring.pools
        wanted = of.roster.accounts[1]
        for _ in range(3):
            hold = await pools.take(of, None, only=wanted.digest)
            assert wanted is hold.account
            assert not pools.others(of, hold, ())
            hold.release()
        pools.report(of, await pools.take(of, None, only=wanted.digest), "auth_invalid")
        with pytest.raises(ExchangeError):
            await pools.take(of, None, only=wanted.digest)
        with pytest.raises(ExchangeError, match="gone"):
            await pools.take(of, None, only="0000")
