"""Live secrets: fetched once, kept, renewed when they are no longer good, never stormed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.kept import wishes
from engine.kept.wishes import FIRST_WAIT, LONGEST_WAIT, key_of
from engine.lines import line_of
from engine.options import Secret
from engine.ports import StoreError
from engine.route.route import Route
from engine.wire import dumps, loads
from tests.kit import Say, World, route_of

HEAD = """
version: 1
base_url: https://a.example
models: [m]
auth: { from: { client_key: true } }
request: { path: /x, headers: { X-V: "{{ values.v }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
values:
"""
VALUE = "request: { path: /v }, extract: [ { json: $.v } ]"
SCOPES = {"route": "", "account": "alice", "session": "s1", "request": "r1"}


def route(more: str = "", *, value: str = VALUE, values: str = "", **own: str) -> Route:
    text = f"{HEAD}  v: {{ {value}{', ' + more if more else ''} }}\n{values}"
    return route_of(text, env=None, **own)


def said(value: str, **more: Any) -> Say:
    return Say(dumps({"v": value, **more}))


async def have(
    world: World, of: Route, scopes: Mapping[str, str] = SCOPES, **env: Any
) -> dict[str, Any]:
    variables: dict[str, object] = {
        "req": {}, "vars": {}, "session": {}, "account": {"key": Secret("k")}, "_ref": {},
        "_random": world.ports.random, "_now": world.clock.now(), **env,
    }  # fmt: skip
    return await world.keyring.values(of, variables, line_of(of, scopes), scopes)


async def value(world: World, of: Route, scopes: Mapping[str, str] = SCOPES) -> str:
    text = (await have(world, of, scopes))["v"]
    assert isinstance(text, Secret)
    return text.reveal()


# ---- fetching and keeping ----


async def test_a_value_is_fetched_once_and_masked() -> None:
    async with World([said("one")]) as world:
        of = route()
        first = await have(world, of)
        assert repr(first) == "{'v': «values.v»}"
        assert (await have(world, of))["v"].reveal() == "one"
        assert len(world.upstream.requests) == 1
        assert world.notes.of("value_fetched") == [
            {"route": "sample", "value": "v", "result": "ok", "secrets": [Secret("one")]}
        ]


async def test_a_value_that_is_no_secret_is_plain() -> None:
    async with World([said("one")]) as world:
        assert await have(world, route("secret: false")) == {"v": "one"}
        assert world.notes.of("value_fetched")[0]["secrets"] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Say(b'{"code":1001,"msg":"no such user"}'), "no such user"),
        (Say(b'{"error":{"message":"no such user"}}', 403), "no such user"),
        (Say(b"t0ken-in-plain-text"), None),
        (Say(b'{"a":1}', 500), None),
    ],
)
async def test_what_a_service_says_of_a_refusal_is_told_to_the_log_alone(
    answer: Say, words: str | None
) -> None:
    async with World([answer]) as world:
        with pytest.raises(ExchangeError) as caught:
            await have(world, route())
        assert "no such user" not in caught.value.message
        assert words == world.notes.of("value_fetched")[0].get("said")


async def test_the_parts_of_a_value_are_masked_each() -> None:
    parts = "request: { path: /v }, extract: { id: [ { json: $.i } ], key: [ { json: $.v } ] }"
    async with World([said("one", i=5)]) as world:
        found = (await have(world, route(value=parts)))["v"]
        assert {name: part.reveal() for name, part in found.items()} == {"id": "5", "key": "one"}
        assert repr(found["key"]) == "«values.v.key»"


async def test_a_mistake_in_one_fetch_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World([said("one")]) as world:

        async def broken(*given: object) -> bool:
            raise OverflowError("a mistake of ours")

        with monkeypatch.context() as patch:
            patch.setattr(world.ports.durable, "swap", broken)
            with pytest.raises(ExchangeError, match="stopping"):
                await value(world, route("persist: true"))
        assert ["the keyring"] == [note["path"] for note in world.notes.of("crash")]
        assert "one" == await value(world, route())


async def test_a_hundred_requests_make_one_fetch() -> None:
    gate = asyncio.Event()
    async with World([Say(dumps({"v": "one"}), gate=gate)]) as world:
        of = route()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(value(world, of)) for _ in range(100)]
            await asyncio.sleep(0)
            gate.set()
        assert {task.result() for task in tasks} == {"one"}
        assert len(world.upstream.requests) == 1


async def test_a_hundred_requests_share_one_failure() -> None:
    gate = asyncio.Event()
    async with World([Say(status=500, gate=gate)]) as world:
        of = route()
        tasks = [asyncio.ensure_future(value(world, of)) for _ in range(100)]
        await asyncio.sleep(0)
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {getattr(error, "cls", None) for error in done} == {"unavailable"}
        assert len({id(error) for error in done}) == 100
        assert len(world.upstream.requests) == 1


async def test_who_leaves_does_not_cancel_the_fetch() -> None:
    gate = asyncio.Event()
    async with World([Say(dumps({"v": "one"}), gate=gate)]) as world:
        of = route()
        leader = asyncio.ensure_future(value(world, of))
        await asyncio.sleep(0)
        follower = asyncio.ensure_future(value(world, of))
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        gate.set()
        assert await follower == "one"
        assert len(world.upstream.requests) == 1


async def test_scopes_keep_values_apart() -> None:
    for scope, fetches in (("route", 1), ("account", 2), ("session", 2), ("request", 3)):
        async with World(lambda request: said("x")) as world:
            of = route(f"scope: {scope}")
            other = {"route": "", "account": "bob", "session": "s2", "request": "r2"}
            for scopes in (SCOPES, other, SCOPES):
                await value(world, of, scopes)
            assert len(world.upstream.requests) == fetches, scope


async def test_values_of_a_request_are_not_kept() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("scope: request")
        assert [await value(world, of), await value(world, of)] == ["one", "two"]
        assert len(world.keyring.slots) == 0


async def test_a_value_may_need_another() -> None:
    values = '  w: { request: { path: "/w" }, extract: [ { json: $.v } ] }\n'
    text = HEAD.replace("values:\n", "values:\n" + values)
    of = route_of(
        text
        + '  v: { request: { path: "/v/{{ values.w | urlpath }}" }, extract: [ { json: $.v } ] }'
    )
    async with World([said("a/b"), said("one")]) as world:
        assert await value(world, of) == "one"
        assert [request.url for request in world.upstream.requests] == [
            "https://a.example/w",
            "https://a.example/v/a%2Fb",
        ]


async def test_a_value_is_only_fetched_where_its_condition_holds() -> None:
    async with World([said("one")]) as world:
        of = route("scope: request, when: req.user == 'me'")
        assert await have(world, of, req={"user": "you"}) == {}
        assert (await have(world, of, req={"user": "me"}))["v"].reveal() == "one"


# ---- expiry ----


async def test_a_value_is_fetched_again_when_it_has_expired() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("ttl: 60s")
        assert await value(world, of) == "one"
        world.clock.move(59)
        assert await value(world, of) == "one"
        world.clock.move(2)
        assert await value(world, of) == "two"


async def test_an_expired_value_is_not_used_when_there_is_no_new_one() -> None:
    async with World([said("one"), Say(status=500)]) as world:
        of = route("ttl: 60s")
        await value(world, of)
        world.clock.move(61)
        with pytest.raises(ExchangeError, match="status 500"):
            await value(world, of)


async def test_a_value_is_renewed_ahead_while_it_is_still_used() -> None:
    gate = asyncio.Event()
    async with World([said("one"), Say(dumps({"v": "two"}), gate=gate)]) as world:
        of = route("ttl: 60s, refresh_before: 20s")
        await value(world, of)
        world.clock.move(30)
        assert await value(world, of) == "one"
        assert len(world.upstream.requests) == 1
        world.clock.move(15)
        assert [await value(world, of) for _ in range(3)] == ["one"] * 3
        await asyncio.sleep(0)
        assert len(world.upstream.requests) == 2
        gate.set()
        await settled(world)
        assert await value(world, of) == "two"


async def test_a_renewal_ahead_that_fails_is_not_tried_at_every_request() -> None:
    async with World([said("one"), Say(status=500), said("two")]) as world:
        of = route("ttl: 60s, refresh_before: 20s")
        await value(world, of)
        world.clock.move(45)
        for _ in range(5):
            assert await value(world, of) == "one"
            await settled(world)
        assert len(world.upstream.requests) == 2
        world.clock.move(FIRST_WAIT)
        assert await value(world, of) == "one"
        await settled(world)
        assert await value(world, of) == "two"


async def settled(world: World) -> None:
    while world.keyring.flights:
        await asyncio.sleep(0)


async def test_values_may_be_fetched_ahead_of_the_first_request() -> None:
    async with World([said("one")]) as world:
        of = route()
        for _ in range(2):
            world.keyring.ahead(of, ["v"], {"_random": world.ports.random}, line_of(of, SCOPES))
            await settled(world)
        assert await value(world, of) == "one"
        assert len(world.upstream.requests) == 1


async def test_only_values_of_the_route_can_be_fetched_ahead() -> None:
    async with World([]) as world:
        of = route("scope: account")
        world.keyring.ahead(of, ["v"], {}, line_of(of, SCOPES))
        assert world.keyring.flights == set()


# ---- failing ----


async def test_a_fetch_that_failed_is_remembered_for_longer_each_time() -> None:
    async with World(lambda request: Say(status=500)) as world:
        of = route()
        waited: list[float] = []
        for _ in range(12):
            with pytest.raises(ExchangeError):
                await value(world, of)
            count = len(world.upstream.requests)
            wait = 0.0
            while len(world.upstream.requests) == count:
                world.clock.move(FIRST_WAIT / 2)
                wait += FIRST_WAIT / 2
                with pytest.raises(ExchangeError):
                    await value(world, of)
            waited.append(wait)
        assert waited[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
        assert max(waited) == LONGEST_WAIT


async def test_an_upstream_that_is_down_for_days_does_no_harm() -> None:
    async with World(lambda request: Say(status=500)) as world:
        of = route()
        for _ in range(1100):
            world.clock.move(LONGEST_WAIT)
            with pytest.raises(ExchangeError, match="status 500"):
                await value(world, of)


async def test_after_a_success_failures_count_anew() -> None:
    script = [Say(status=500), Say(status=500), said("one"), Say(status=500), said("two")]
    async with World(script) as world:
        of = route("ttl: 60s")
        for _ in range(2):
            with pytest.raises(ExchangeError):
                await value(world, of)
            world.clock.move(1)
        assert await value(world, of) == "one"
        world.clock.move(61)
        with pytest.raises(ExchangeError):
            await value(world, of)
        world.clock.move(FIRST_WAIT)
        assert await value(world, of) == "two"


@pytest.mark.parametrize("cls", ["connect", "timeout", "retryable", "truncated", "overloaded"])
async def test_no_answer_is_no_value(cls: str) -> None:
    async with World([Say(error=ExchangeError(cls, "no connection"))]) as world:
        with pytest.raises(ExchangeError, match="no connection") as told:
            await value(world, route())
        assert told.value.cls == "unavailable"


async def test_a_fetch_has_a_limit() -> None:
    async with World([Say(end="stall"), Say(end="stall")]) as world:
        for of, limit in (
            (route(value="request: { path: /v, timeout: 7s }, extract: [ { json: $.v } ]"), 7),
            (route("ttl: 1h"), 120),
        ):
            began = world.clock.monotonic()
            with pytest.raises(ExchangeError, match=f"no answer within {limit} s") as told:
                await value(world, of)
            assert told.value.cls == "unavailable"
            assert world.clock.monotonic() - began == limit


PRODUCES = '''"""Makes a value."""
from engine.transform import HttpRequest
API = 1

class Transform:
    def produce(self):
        answer = yield HttpRequest("GET", "/page")
        {body}
'''


@pytest.mark.parametrize(
    ("body", "cause"),
    [("raise KeyError('secret page')", KeyError), ("return answer.nope", AttributeError)],
)
async def test_a_transform_that_fails_is_fatal_and_harms_nobody_else(
    body: str, cause: type[Exception]
) -> None:
    broken = route(value="transform: mine", mine=PRODUCES.format(body=body))
    async with World(lambda request: said("good")) as world:
        with pytest.raises(ExchangeError) as told:
            await value(world, broken)
        assert told.value.cls == "fatal"
        assert "secret page" not in told.value.message
        assert isinstance(told.value.__cause__, cause)
        assert await value(world, route("ttl: 5s")) == "good"


async def test_a_request_that_cannot_be_rendered_is_fatal_and_harms_nobody_else() -> None:
    broken = route(
        value='scope: session, request: { path: "/v{{ req.user }}" }, extract: [ { json: $.v } ]'
    )
    async with World([said("good")]) as world:
        with pytest.raises(ExchangeError, match="cannot be rendered") as told:
            await value(world, broken)
        assert told.value.cls == "fatal"
        assert await value(world, route("ttl: 5s")) == "good"


async def test_an_error_of_the_past_is_raised_anew_for_everyone() -> None:
    async with World([Say(status=500)]) as world:
        of = route()
        errors = []
        for _ in range(3):
            with pytest.raises(ExchangeError) as told:
                await value(world, of)
            errors.append(told.value)
        assert len({id(error) for error in errors}) == 3
        assert len({depth(error) for error in errors[1:]}) == 1


def depth(error: BaseException) -> int:
    trace, count = error.__traceback__, 0
    while trace is not None:
        trace, count = trace.tb_next, count + 1
    return count


async def test_when_the_engine_stops_those_who_wait_are_told() -> None:
    world = World([Say(gate=asyncio.Event())])
    async with asyncio.TaskGroup() as group:
        async with world:
            waiting = group.create_task(asked(world))
            await asyncio.sleep(0.01)
            world.upstream.open = 0
        assert await waiting == "unavailable"
    world.upstream.open = 0


async def asked(world: World) -> str:
    try:
        return await value(world, route())
    except ExchangeError as error:
        return error.cls


# ---- what requests tell ----


async def test_a_class_drops_the_values_that_list_it() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("refresh_for: [stale]")
        used = await have(world, of)
        world.keyring.renew(of, "auth_expired", used, SCOPES)
        assert await value(world, of) == "one"
        world.keyring.renew(of, "stale", used, SCOPES)
        assert await value(world, of) == "two"


async def test_a_value_is_only_dropped_by_who_used_it() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("refresh_for: [stale]")
        old = await have(world, of)
        world.keyring.renew(of, "stale", old, SCOPES)
        assert await value(world, of) == "two"
        world.keyring.renew(of, "stale", old, SCOPES)
        assert await value(world, of) == "two"
        world.keyring.renew(of, "stale", {}, SCOPES)
        assert await value(world, of) == "two"
        assert len(world.upstream.requests) == 2


async def test_many_failures_at_once_renew_once() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("refresh_for: [stale]")
        used = await have(world, of)

        async def fails() -> str:
            world.keyring.renew(of, "stale", used, SCOPES)
            return await value(world, of)

        assert set(await asyncio.gather(*(fails() for _ in range(50)))) == {"two"}
        assert len(world.upstream.requests) == 2


async def test_a_renewal_is_not_held_up_by_an_older_failure() -> None:
    async with World([said("one"), Say(status=500), said("two")]) as world:
        of = route("refresh_for: [stale], ttl: 60s, refresh_before: 50s")
        used = await have(world, of)
        world.clock.move(20)
        await have(world, of)
        await settled(world)
        world.keyring.renew(of, "stale", used, SCOPES)
        assert await value(world, of) == "two"


async def test_failures_in_a_row_drop_a_value() -> None:
    async with World([said("one"), said("two")]) as world:
        of = route("refresh_after: 3")
        used = await have(world, of)
        for failed in (True, True, False, True, True):
            world.keyring.report(of, failed, used, SCOPES)
        assert await value(world, of) == "one"
        world.keyring.report(of, True, used, SCOPES)
        assert await value(world, of) == "two"


async def test_failures_of_requests_that_did_not_use_a_value_do_not_count() -> None:
    async with World([said("one")]) as world:
        of = route("refresh_after: 2")
        await have(world, of)
        for _ in range(5):
            world.keyring.report(of, True, {}, SCOPES)
        assert await value(world, of) == "one"


async def test_reports_about_values_that_are_not_there_do_no_harm() -> None:
    async with World([]) as world:
        of = route("refresh_after: 1, refresh_for: [stale]")
        world.keyring.report(of, True, {"v": Secret("x")}, SCOPES)
        world.keyring.renew(of, "stale", {"v": Secret("x")}, SCOPES)
        assert len(world.keyring.slots) == 0


# ---- persistence ----


async def test_a_value_survives_a_restart() -> None:
    of = route("persist: true, ttl: 60s")
    async with World([said("one")]) as world:
        await value(world, of)
        (key,) = [key for key in world.ports.durable._kept if key.startswith("value/")]  # type: ignore[attr-defined]
        kept = await world.ports.durable.get(key)
        assert kept is not None
        assert loads(kept) == {"content": "one", "until": world.clock.now() + 60}
    async with World([said("two")]) as later:
        await later.ports.durable.put(key, kept)
        later.clock.move(59)
        assert await value(later, of) == "one"
        assert later.notes.of("value_kept")[0]["secrets"] == [Secret("one")]
        later.clock.move(2)
        assert await value(later, of) == "two"


async def test_at_the_start_all_who_come_wait_for_what_was_kept() -> None:
    of = route("persist: true")
    async with World([]) as world:
        key = f"value/{key_of(of, of.values['v'], '')}"
        await world.ports.durable.put(key, dumps({"content": "one", "until": None}))
        slow(world)
        found = await asyncio.gather(*(value(world, of) for _ in range(20)))
        assert set(found) == {"one"}
        assert world.upstream.requests == []


def slow(world: World) -> None:
    """Make the durable store take a moment."""
    get = world.ports.durable.get

    async def later(key: str) -> bytes | None:
        await asyncio.sleep(0.001)
        return await get(key)

    world.ports.durable.get = later  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "kept", [b"not json", b"[]", b"{}", b'{"content":5}', b'{"content":"old","until":1}']
)
async def test_what_the_store_kept_badly_is_fetched_anew(kept: bytes) -> None:
    of = route("persist: true")
    async with World([said("one")]) as world:
        await world.ports.durable.put(f"value/{key_of(of, of.values['v'], '')}", kept)
        assert await value(world, of) == "one"


async def test_a_store_that_fails_is_counted_and_done_without() -> None:
    async def fails(*_: object) -> None:
        raise StoreError("down")

    async with World([said("one")]) as world:
        world.ports.durable.get = fails  # type: ignore[method-assign, assignment]
        world.ports.durable.swap = fails  # type: ignore[method-assign, assignment]
        assert await value(world, route("persist: true")) == "one"
        assert world.notes.of("store_error") == [{"store": "values", "op": "get"}]


async def test_a_value_that_was_dropped_is_not_taken_from_the_store_again() -> None:
    of = route("persist: true, refresh_for: [stale]")
    async with World([said("one"), said("two")]) as world:
        used = await have(world, of)
        world.keyring.renew(of, "stale", used, SCOPES)
        assert await value(world, of) == "two"


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "MAX_SLOTS", 3)
    async with World(lambda request: said("x")) as world:
        of = route("scope: session")
        for name in ("a", "b", "c", "a", "d"):
            await value(world, of, {**SCOPES, "session": name})
        assert len(world.keyring.slots) == 3
        fetched = len(world.upstream.requests)
        await value(world, of, {**SCOPES, "session": "a"})
        assert len(world.upstream.requests) == fetched
        await value(world, of, {**SCOPES, "session": "b"})
        assert len(world.upstream.requests) == fetched + 1
