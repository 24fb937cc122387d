"""Conversations over several requests: whose they are, what they hold, when it is kept."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from engine.chat import ChatRequest, Message, Text, ToolCall, ToolResult
from engine.kept import sessions as module
from engine.kept.sessions import Session
from engine.ports import StoreError
from engine.route.route import Route, SessionPlan
from engine.route.view import Asked
from tests.kit import World, call_of, route_of

HEAD = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, json: {} }
response: { events: [ { text: $.a, finish: stop, set: { chat: $.id } } ] }
"""
STATE = 'state: { upstream: "{{ uuid4() }}" }'


def route(more: str = "history: server, max_messages: 6") -> Route:
    return route_of(f"{HEAD}session: {{ key: [req.user], {STATE}, {more} }}\n")


def plan_of(of: Route) -> SessionPlan:
    assert of.session is not None
    return of.session


def asked(of: Route, user: str = "u", client: str = "c") -> Asked:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    if user:
        body["user"] = user
    call = call_of(of, body, key=client)
    return call.asked


def env(world: World, of: Route) -> dict[str, object]:
    return of.variables(asked(of), next(iter(of.offers.values())), 0.0, world.ports.random)


async def opened(world: World, of: Route, user: str = "u", client: str = "c") -> Session:
    return await world.sessions.open(of, plan_of(of), asked(of, user, client), env(world, of))


def user(text: str) -> Message:
    return Message("user", [Text(text)])


def assistant(text: str) -> Message:
    return Message("assistant", [Text(text)])


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


# ---- whose it is ----


async def test_a_session_keeps_what_it_began_with() -> None:
    world, of = World(), route()
    first, second = await opened(world, of), await opened(world, of)
    assert first.state == second.state
    assert first.key == second.key
    assert len(str(first.state["upstream"])) == 36


async def test_sessions_differ_by_name_client_and_route() -> None:
    world, of = World(), route()
    keys = {
        (await opened(world, of, name, client)).key for name in ("u", "v") for client in ("c", "d")
    }
    keys.add((await opened(world, route_of(HEAD + "name: b\nsession: { key: [req.user] }\n"))).key)
    assert len(keys) == 5


async def test_clients_cannot_forge_the_name_of_anothers_session() -> None:
    world, of = World(), route()
    one = await opened(world, of, "b\0u", "a")
    two = await opened(world, of, "u", "a\0b")
    assert one.key != two.key


async def test_without_a_name_a_session_serves_one_request() -> None:
    world, of = World(), route()
    first, second = await opened(world, of, ""), await opened(world, of, "")
    assert (first.key, second.key) == ("", "")
    assert first.state != second.state
    assert first.variables()["id"] != second.variables()["id"]
    await world.sessions.save(plan_of(of), first, [user("a")], {"x": 1})
    assert list(world.ports.store._kept) == []  # type: ignore[attr-defined]


async def test_templates_see_the_state_and_an_id() -> None:
    world, of = World(), route()
    variables = (await opened(world, of)).variables()
    assert set(variables) == {"upstream", "id"}
    assert len(str(variables["id"])) == 32


# ---- what it holds ----


async def test_turns_are_kept_and_put_before_the_next() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    await world.sessions.save(plan_of(of), session, [user("one"), assistant("two")], {})
    later = await opened(world, of)
    chat = ChatRequest("d", "m", [user("three")])
    assert texts(later.extend(chat)) == ["one", "two", "three"]


async def test_a_client_that_remembers_is_believed() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    await world.sessions.save(plan_of(of), session, [user("one"), assistant("two")], {})
    own = [user("x"), assistant("y"), user("z")]
    later = await opened(world, of)
    assert later.extend(ChatRequest("d", "m", own)) == own
    await world.sessions.save(
        plan_of(of), later, [*own, assistant("w")], {"chat": "1"}, instead=True
    )
    last = await opened(world, of)
    assert texts(last.history) == ["x", "y", "z", "w"]
    assert last.state["chat"] == "1"


async def test_the_newest_system_text_stands_first_and_once() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    for number in ("1", "2"):
        turns = [
            Message("system", [Text(f"s{number}")]),
            user(f"u{number}"),
            assistant(f"a{number}"),
        ]
        await world.sessions.save(plan_of(of), session, turns, {})
    later = await opened(world, of)
    assert texts(later.history) == ["s2", "u1", "a1", "u2", "a2"]
    assert texts(later.extend(ChatRequest("d", "m", [user("u3")])))[0] == "s2"
    fresh = [Message("system", [Text("s3")]), user("u3")]
    assert texts(later.extend(ChatRequest("d", "m", fresh))) == ["s3", "u1", "a1", "u2", "a2", "u3"]


async def test_the_oldest_turns_go_first() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    for number in range(5):
        await world.sessions.save(plan_of(of), session, [user(f"u{number}"), assistant("a")], {})
    later = await opened(world, of)
    assert texts(later.history) == ["u2", "a", "u3", "a", "u4", "a"]


async def test_calls_of_tools_survive_being_kept() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    turns = [
        user("do"),
        Message("assistant", [Text("ok"), ToolCall("c1", "f", '{"a":1}')]),
        Message("tool", [ToolResult("c1", [Text("done")])]),
    ]
    await world.sessions.save(plan_of(of), session, turns, {})
    kept = (await opened(world, of)).history
    assert kept[1].parts[1] == ToolCall("c1", "f", '{"a":1}')
    assert kept[2].parts[0] == ToolResult("c1", [Text("done")])


async def test_where_the_client_keeps_the_history_only_state_is_kept() -> None:
    world, of = World(), route("history: client")
    session = await opened(world, of)
    await world.sessions.save(plan_of(of), session, [user("one")], {"chat": "x"})
    later = await opened(world, of)
    assert (later.history, later.state["chat"]) == ([], "x")


# ---- several at once ----


async def test_requests_at_the_same_time_both_keep_what_they_learned() -> None:
    world, of = World(), route()
    one, two = await opened(world, of), await opened(world, of)
    await asyncio.gather(
        world.sessions.save(plan_of(of), one, [user("one"), assistant("1")], {"a": 1}),
        world.sessions.save(plan_of(of), two, [user("two"), assistant("2")], {"b": 2}),
    )
    later = await opened(world, of)
    assert texts(later.history) == ["one", "1", "two", "2"]
    assert (later.state["a"], later.state["b"]) == (1, 2)


async def test_first_requests_at_the_same_time_begin_one_session() -> None:
    world, of = World(), route()
    slow(world)
    sessions = await asyncio.gather(*(opened(world, of) for _ in range(20)))
    assert len({session.state["upstream"] for session in sessions}) == 1


def slow(world: World) -> None:
    get = world.ports.store.get

    async def later(key: str) -> bytes | None:
        await asyncio.sleep(0.001)
        return await get(key)

    world.ports.store.get = later  # type: ignore[method-assign]


async def test_locks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOCKS", 3)
    world, of = World(), route()
    for number in range(10):
        await opened(world, of, f"u{number}")
    assert len(world.sessions._locks) == 3


# ---- how long ----


async def test_a_session_unused_for_so_long_is_forgotten() -> None:
    world, of = World(), route("ttl: 60s")
    first = await opened(world, of)
    world.clock.move(59)
    assert (await opened(world, of)).state == first.state
    await world.sessions.save(plan_of(of), first, [], {})
    world.clock.move(59)
    assert (await opened(world, of)).state == first.state
    world.clock.move(2)
    assert (await opened(world, of)).state != first.state


async def test_the_least_recently_used_sessions_go_beyond_the_number() -> None:
    world, of = World(), route("max: 2")
    first = [await opened(world, of, name) for name in "abc"]
    again = [await opened(world, of, name) for name in "cba"]
    assert [one.state == two.state for one, two in zip(first, reversed(again), strict=True)] == [
        False, True, True,
    ]  # fmt: skip


async def test_the_upstream_may_lose_a_session_and_we_keep_our_turns() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    await world.sessions.save(plan_of(of), session, [user("one"), assistant("two")], {"chat": "x"})
    kept = await opened(world, of)
    fresh = await world.sessions.renew(plan_of(of), kept, env(world, of))
    later = await opened(world, of)
    assert fresh.state["upstream"] != kept.state["upstream"]
    assert (later.state, texts(later.history)) == (fresh.state, ["one", "two"])
    assert "chat" not in later.state


async def test_a_session_of_one_request_begins_anew_without_being_kept() -> None:
    world, of = World(), route()
    session = await opened(world, of, "")
    fresh = await world.sessions.renew(plan_of(of), session, env(world, of))
    assert fresh.state != session.state
    assert fresh.variables()["id"] == session.variables()["id"]
    assert list(world.ports.store._kept) == []  # type: ignore[attr-defined]


# ---- stores ----


async def test_a_session_that_shall_survive_goes_to_the_durable_store() -> None:
    world, of = World(), route("persist: true")
    await opened(world, of)
    assert list(world.ports.store._kept) == []  # type: ignore[attr-defined]
    assert len(world.ports.durable._kept) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("fails", "op"), [("get", "get"), ("swap", "put"), ("trim", "put")])
async def test_a_store_that_fails_is_counted_and_done_without(fails: str, op: str) -> None:
    async def failing(*_: object) -> None:
        raise StoreError("down")

    world, of = World(), route()
    setattr(world.ports.store, fails, failing)
    session = await opened(world, of)
    assert len(str(session.state["upstream"])) == 36
    assert world.notes.of("store_error") == [{"store": "sessions", "op": op}]
    if fails == "trim":
        assert (await opened(world, of)).state == session.state
    await world.sessions.save(plan_of(of), session, [user("one")], {})


# ---- several replicas: locks do not help ----


class Replica(World):
    """A process on the store of another one."""

    def __init__(self, first: World) -> None:
        super().__init__(seed=2)
        self.ports = dataclasses.replace(first.ports, random=self.ports.random)
        self.sessions = module.Sessions(self.ports)


async def test_replicas_that_open_a_session_at_the_same_time_share_it() -> None:
    world, of = World(), route()
    other = Replica(world)
    slow(world)
    one, two = await asyncio.gather(opened(world, of), opened(other, of))
    assert (one.state, one.birth) == (two.state, two.birth)


async def test_replicas_that_save_at_the_same_time_both_keep_what_they_learned() -> None:
    world, of = World(), route("history: server, max_messages: 40")
    other = Replica(world)
    session = await opened(world, of)
    slow(world)
    await asyncio.gather(
        *(
            each.sessions.save(plan_of(of), session, [user(f"u{number}")], {f"k{number}": number})
            for number, each in enumerate([world, other] * 4)
        )
    )
    later = await opened(world, of)
    assert sorted(texts(later.history)) == [f"u{number}" for number in range(8)]
    assert [later.state[f"k{number}"] for number in range(8)] == list(range(8))


async def test_requests_that_find_a_session_lost_begin_it_anew_once() -> None:
    world, of = World(), route()
    other = Replica(world)
    session = await opened(world, of)
    one = await world.sessions.renew(plan_of(of), session, env(world, of))
    two = await other.sessions.renew(plan_of(of), session, env(world, of))
    assert one.birth == two.birth != session.birth
    assert one.state == two.state


async def test_what_was_learned_of_a_lost_conversation_is_not_said_of_its_successor() -> None:
    world, of = World(), route()
    session = await opened(world, of)
    fresh = await world.sessions.renew(plan_of(of), session, env(world, of))
    await world.sessions.save(plan_of(of), session, [user("one")], {"chat": "old"})
    later = await opened(world, of)
    assert "chat" not in later.state
    assert texts(later.history) == ["one"]
    await world.sessions.save(plan_of(of), fresh, [], {"chat": "new"})
    assert (await opened(world, of)).state["chat"] == "new"


CHAT = """values:
  chat:
    scope: session
    request: { path: /chats }
    extract: [{ json: $.id }]
    cleanup: { method: DELETE, path: "/chats/{{ values.chat | urlpath }}" }
"""


async def test_where_something_is_undone_a_request_that_only_begins_keeps_the_session() -> None:
    for more, lives in (("", False), (CHAT, True)):
        world = World()
        of = route_of(f"{HEAD}{more}session: {{ key: [req.user], {STATE}, ttl: 60s }}\n")
        first = await opened(world, of)
        for _ in range(3):
            world.clock.move(40)
            last = await opened(world, of)
        assert (last.birth == first.birth) is lives


@pytest.mark.parametrize(
    "kept",
    [b"no json", b"[]", b"5", b"{}", b'{"state":{}}', b'{"state":{},"history":[{"role":"odd"}]}'],
)
async def test_what_cannot_be_read_is_begun_anew(kept: bytes) -> None:
    world, of = World(), route()
    first = await opened(world, of)
    await world.ports.store.put(first.key, kept)
    later = await opened(world, of)
    assert later.key == first.key
    assert later.state != first.state
