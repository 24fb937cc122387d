"""What is undone when a scope ends: once, by whoever comes, and never at a request's cost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.kept import cleanups as module
from engine.kept.cleanups import LONGEST
from engine.ports import StoreError
from engine.route.route import Route
from engine.wire import HttpRequest, dumps, loads
from tests.kit import Say, World, route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
{head}
values:
  token:
    request: {{ method: POST, path: /token }}
    extract: [{{ json: $.v }}]
    refresh_for: [auth_expired]
  chat:
    scope: {scope}
    request: {{ method: POST, path: /chats, headers: {{ x-token: "{{{{ values.token }}}}" }} }}
    extract: [{{ json: $.v }}]
    {more}
    cleanup:
      method: DELETE
      path: "/chats/{{{{ values.chat | urlpath }}}}"
      headers: {{ x-token: "{{{{ values.token }}}}", x-mark: "{{{{ session.mark }}}}" }}
request: {{ path: /ask, json: {{ chat: "{{{{ values.chat }}}}" }} }}
response: {{ events: [ {{ text: $.text, finish: stop }} ] }}
errors:
  rules:
    - {{ status: 401, as: auth_expired }}
    - {{ status: 404, as: session_lost }}
    - {{ status: 409, as: stale }}
retry: {{ attempts: 2, backoff: {{ initial: 10ms }} }}
"""
SESSION = "session: { key: [req.user], ttl: 60s, max: 2, state: { mark: first } }"


def route(scope: str = "session", more: str = "", head: str = SESSION) -> Route:
    text = ROUTE.format(scope=scope, more=more, head=head)
    return route_of(text if head else text.replace("session.mark", "'x'"))


class Site:
    """The upstream. fails: the statuses of the next asks; last: those of deletions."""

    def __init__(self, *fails: int) -> None:
        self.fails = list(fails)
        self.deletion = Say(status=204)
        self.tokens = self.chats = 0
        self.log: list[str] = []

    def __call__(self, request: HttpRequest) -> Say:
        path = request.url.removeprefix("https://a.example")
        if path == "/token":
            self.tokens += 1
            return Say(dumps({"v": f"t{self.tokens}"}))
        if path == "/chats":
            self.chats += 1
            return Say(dumps({"v": f"c{self.chats}"}))
        if request.method == "DELETE":
            self.log.append(f"- {path.rpartition('/')[2]} {request.header('x-token')}")
            return self.deletion
        body: Any = loads(request.body)
        self.log.append(f"? {body['chat']}")
        status = self.fails.pop(0) if self.fails else 200
        return Say(dumps({"text": "fine"}), status=status)


def finding(of: Route) -> Any:
    return {of.name: of}.get


async def asked(world: World, of: Route, user: str = "", **more: Any) -> None:
    own: dict[str, Any] = {"user": user} if user else {}
    await world.ask(of, **own, **more)
    await world.keyring.cleanups.settle()


@pytest.fixture
def site() -> Site:
    return Site()


# ---- scope request ----


async def test_a_value_of_a_request_is_cleaned_up_after_it(site: Site) -> None:
    async with World(site) as world:
        await asked(world, route("request"))
        assert site.log == ["? c1", "- c1 t1"]
        expected = {"route": "sample", "value": "chat", "result": "ok"}
        assert world.notes.of("value_cleaned") == [expected]


async def test_so_is_that_of_each_attempt_and_of_a_request_that_failed() -> None:
    site = Site(500, 500)
    async with World(site) as world:
        await asked(world, route("request"))
        assert site.log == ["? c1", "? c2", "- c1 t1", "- c2 t1"]


async def test_a_clean_up_uses_shared_values_as_they_are_now() -> None:
    site = Site(401)
    async with World(site) as world:
        await asked(world, route("request"))
        assert site.log == ["? c1", "? c2", "- c1 t2", "- c2 t2"]


async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    gate = asyncio.Event()
    site = Site()

    def held(request: HttpRequest) -> Say:
        say = site(request)
        return dataclasses.replace(say, gate=gate) if "/ask" in request.url else say

    async with World(held) as world:
        asking = asyncio.ensure_future(world.ask(route("request")))
        while site.log != ["? c1"]:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        world.upstream.open = 0  # the cancelled answer was never entered
        await world.keyring.cleanups.settle()
        assert site.log == ["? c1", "- c1 t1"]


async def test_no_answer_waits_for_it() -> None:
    site, gate = Site(), asyncio.Event()
    site.deletion = Say(status=204, gate=gate)
    async with World(site) as world:
        sink = await world.ask(route("request"))
        assert (sink.text, sink.ends) == ("fine", 1)
        assert world.notes.of("value_cleaned") == []
        gate.set()
        await world.keyring.cleanups.settle()
        assert len(world.notes.of("value_cleaned")) == 1


@pytest.mark.parametrize(
    ("deletion", "result"),
    [
        (Say(status=404), "ok"),
        (Say(status=410), "ok"),
        (Say(status=500), "failed"),
        (Say(error=ExchangeError("connect", "no connection")), "failed"),
        (Say(end="stall"), "failed"),
    ],
)
async def test_what_goes_wrong_is_told_and_no_more(site: Site, deletion: Say, result: str) -> None:
    site.deletion = deletion
    async with World(site) as world:
        began = world.clock.monotonic()
        await asked(world, route("request"))
        assert [note["result"] for note in world.notes.of("value_cleaned")] == [result]
        assert world.clock.monotonic() - began <= LONGEST


async def test_without_a_session_what_would_be_shared_ends_with_the_request(site: Site) -> None:
    for head in (SESSION, ""):
        site.log.clear()
        async with World(site) as world:
            of = route(head=head)
            await asked(world, of)
            await asked(world, of)
            numbers = [line[2:4] for line in site.log]
        assert [line[0] for line in site.log] == ["?", "-", "?", "-"]
        assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


# ---- scope session ----


async def test_a_value_of_a_session_lives_with_it(site: Site) -> None:
    async with World(site) as world:
        of = route()
        for seconds in (0, 50, 50):
            world.clock.move(seconds)
            await asked(world, of, "ann")
            await world.keyring.cleanups.sweep(finding(of))
        assert site.log == ["? c1"] * 3
        world.clock.move(61)
        await world.keyring.cleanups.sweep(finding(of))
        await world.keyring.cleanups.settle()
        assert site.log == [*["? c1"] * 3, "- c1 t1"]
        await world.keyring.cleanups.sweep(finding(of))
        await asked(world, of, "ann")
        assert site.log[4:] == ["? c2"]


async def test_a_session_that_is_evicted_or_deleted_is_cleaned_up(site: Site) -> None:
    async with World(site) as world:
        of = route()
        for user in ("ann", "bob", "cid"):
            await asked(world, of, user)
        await world.keyring.cleanups.sweep(finding(of))
        await world.keyring.cleanups.settle()
        assert site.log[3:] == ["- c1 t1"]
        (key, _) = await world.ports.store.keys("session/")
        await world.ports.store.delete(key)
        await world.keyring.cleanups.sweep(finding(of))
        await world.keyring.cleanups.settle()
        assert len(site.log) == 5


async def test_a_lost_session_begins_anew_once_and_the_old_chat_goes() -> None:
    site = Site(404)
    async with World(site) as world:
        of = route()
        await asked(world, of, "ann")
        assert site.log == ["? c1", "? c2"]
        await world.keyring.cleanups.sweep(finding(of))
        await world.keyring.cleanups.settle()
        assert site.log[2:] == ["- c1 t1"]
        site.fails = [404, 404]
        await asked(world, of, "ann")
        assert site.log[3:] == ["? c2", "? c3"]
        await asked(world, of, "ann")
        assert site.log[5:] == ["? c3"]


async def test_an_old_session_is_not_cleaned_up_while_a_request_uses_it() -> None:
    gate = asyncio.Event()
    site = Site()

    def held(request: HttpRequest) -> Say:
        say = site(request)
        return dataclasses.replace(say, gate=gate) if "/ask" in request.url else say

    async with World(held) as world:
        of = route()
        asking = asyncio.ensure_future(world.ask(of, user="ann"))
        while site.log != ["? c1"]:
            await asyncio.sleep(0)
        for key in await world.ports.store.keys("session/"):
            await world.ports.store.delete(key)
        await world.keyring.cleanups.sweep(finding(of))
        gate.set()
        await asking
        await world.keyring.cleanups.settle()
        assert site.log == ["? c1"]


async def test_a_value_that_is_replaced_in_a_session_is_cleaned_up() -> None:
    site = Site(409)
    async with World(site) as world:
        await asked(world, route(more="refresh_for: [stale]"), "ann")
        assert site.log == ["? c1", "? c2", "- c1 t1"] or site.log == ["? c1", "- c1 t1", "? c2"]


async def test_a_restart_or_another_process_cleans_up_what_was_left(site: Site) -> None:
    of = route(head=SESSION.replace("ttl", "persist: true, ttl"))
    async with World(site) as world, World(site) as later:
        await asked(world, of, "ann")
        later.ports = dataclasses.replace(
            later.ports, durable=world.ports.durable, clock=world.clock
        )
        later.keyring.ports = later.keyring.cleanups.ports = later.ports
        await later.keyring.cleanups.sweep(finding(of))
        world.clock.move(61)
        both = (world.keyring.cleanups, later.keyring.cleanups)
        await asyncio.gather(*(each.sweep(finding(of)) for each in both))
        await asyncio.gather(*(each.settle() for each in both))
        assert [line[:4] for line in site.log] == ["? c1", "- c1"]


async def test_what_a_clean_up_needs_of_the_session_is_kept_for_it(site: Site) -> None:
    marks: list[str | None] = []

    def noting(request: HttpRequest) -> Say:
        marks.extend([request.header("x-mark")] if request.method == "DELETE" else [])
        return site(request)

    async with World(noting) as world:
        of = route()
        await asked(world, of, "ann")
        world.clock.move(61)
        await world.keyring.cleanups.sweep(finding(of))
    assert marks == ["first"]


CLIENT = f"auth: {{ from: {{ client_key: true }} }}\n{SESSION}"


async def test_a_clients_own_key_is_never_stored_for_it(site: Site) -> None:
    async with World(site) as world:
        of = route(head=CLIENT)
        await asked(world, of, "ann", key="sk-of-the-client")
        (key,) = await world.ports.store.keys("bound/")
        raw = await world.ports.store.get(key)
        assert raw is not None
        assert b"sk-of-the-client" not in raw
        world.clock.move(61)
        world.keyring.cleanups._accounts.clear()  # as after a restart
        await world.keyring.cleanups.sweep(finding(of))
        assert [note["result"] for note in world.notes.of("value_cleaned")] == ["skipped"]


async def test_who_still_knows_the_clients_key_cleans_up_with_it(site: Site) -> None:
    async with World(site) as world:
        of = route(head=CLIENT)
        await asked(world, of, "ann", key="sk-of-the-client")
        world.clock.move(61)
        await world.keyring.cleanups.sweep(finding(of))
        await world.keyring.cleanups.settle()
        assert [note["result"] for note in world.notes.of("value_cleaned")] == ["ok"]


async def test_clients_keys_are_remembered_within_bounds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 2)
    async with World(site) as world:
        for number in range(4):
            await asked(world, route(head=CLIENT), "ann", key=f"sk-of-client-{number}")
        assert len(world.keyring.cleanups._accounts) == 2


async def test_a_route_that_is_gone_leaves_nothing_to_do(site: Site) -> None:
    async with World(site) as world:
        await asked(world, route(), "ann")
        world.clock.move(61)
        await world.keyring.cleanups.sweep(lambda name: None)
        assert await world.ports.store.keys("bound/") == []
        assert site.log == ["? c1"]


@pytest.mark.parametrize("raw", [b"", b"5", b"{}", b'{"scope":5}', b"\xff"])
async def test_an_entry_that_cannot_be_read_is_left_alone(site: Site, raw: bytes) -> None:
    async with World(site) as world:
        await world.ports.store.put("bound/x", raw)
        await world.keyring.cleanups.sweep(finding(route()))
        assert await world.ports.store.get("bound/x") == raw


async def test_a_store_that_fails_is_counted(site: Site) -> None:
    async def fails(*_: object) -> Mapping[str, str]:
        raise StoreError("down")

    async with World(site) as world:
        world.ports.store.keys = fails  # type: ignore[method-assign, assignment]
        await world.keyring.cleanups.sweep(finding(route()))
        assert world.notes.of("store_error") == [{"store": "cleanups", "op": "sweep"}]


async def test_it_is_tended_for_ever(site: Site) -> None:
    async with World(site) as world:
        of = route()
        await asked(world, of, "ann")
        tending = asyncio.ensure_future(world.keyring.cleanups.tend(finding(of)))
        while len(site.log) < 2:
            await asyncio.sleep(0)
        tending.cancel()
        assert site.log == ["? c1", "- c1 t1"]
        await asyncio.wait([tending])


# ---- what outlasts who waits for it ----


async def test_work_goes_on_when_who_waits_for_it_is_gone() -> None:
    gate = asyncio.Event()

    async def work() -> str:
        await gate.wait()
        return "made"

    async with World() as world:
        outcome = world.keyring.cleanups.outlasting(work())
        waiting = asyncio.ensure_future(asyncio.shield(outcome))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.set()
        assert (waiting.cancelled(), await outcome) == (True, "made")


async def test_what_it_raises_is_its_outcome() -> None:
    async def work() -> None:
        raise ExchangeError("connect", "no connection")

    async with World() as world:
        with pytest.raises(ExchangeError, match="no connection"):
            await world.keyring.cleanups.outlasting(work())
        assert world.notes.of("crash") == []


async def test_it_ends_with_its_outcome_and_with_the_engine() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with World() as world:
        first = world.keyring.cleanups.outlasting(work("first"))
        last = world.keyring.cleanups.outlasting(work("last"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0.01)
        assert ended == ["first"]
    assert (ended, last.cancelled()) == (["first", "last"], True)
