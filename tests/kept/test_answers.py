"""Kept answers: whose they are, how long they last, what a failing store means."""

from __future__ import annotations

from engine.kept.answers import Answers, Kept, Origin
from engine.ports import StoreError
from tests.kit import World

ONE = Kept({"id": "resp_1", "output": []}, [{"role": "user"}])


async def test_an_answer_is_found_by_the_client_that_got_it_and_nobody_else() -> None:
    answers = Answers(World().ports)
    await answers.keep("alice", "resp_1", ONE)
    assert ONE == await answers.find("alice", "resp_1")
    assert await answers.find("bob", "resp_1") is None
    assert await answers.find("", "resp_1") is None
    assert await answers.find("alice", "resp_2") is None
    assert not await answers.forget("bob", "resp_1")
    assert await answers.forget("alice", "resp_1")
    assert await answers.find("alice", "resp_1") is None
    assert not await answers.forget("alice", "resp_1")


async def test_answers_last_for_a_time() -> None:
    world = World()
    answers = Answers(world.ports, ttl=60)
    await answers.keep("a", "resp_1", ONE)
    world.clock.move(59)
    assert await answers.find("a", "resp_1") is not None
    world.clock.move(2)
    assert await answers.find("a", "resp_1") is None


async def test_of_one_client_so_many_are_kept() -> None:
    answers = Answers(World().ports, most=2)
    await answers.keep("b", "resp_0", ONE)
    for number in range(4):
        await answers.keep("a", f"resp_{number}", ONE)
    found = [await answers.find("a", f"resp_{number}") is not None for number in range(4)]
    assert [False, False, True, True] == found
    assert await answers.find("b", "resp_0") is not None


async def test_they_may_outlive_the_process() -> None:
    ports = World().ports
    await Answers(ports, durable=True).keep("a", "resp_1", ONE)
    assert await Answers(ports).find("a", "resp_1") is None
    assert await Answers(ports, durable=True).find("a", "resp_1") is not None


async def test_a_store_that_fails_is_counted_and_done_without() -> None:
    async def fails(*_: object) -> None:
        raise StoreError("down")

    world = World()
    answers = Answers(world.ports)
    await answers.keep("a", "resp_1", ONE)
    world.ports.store.delete = fails  # type: ignore[method-assign, assignment]
    assert await answers.forget("a", "resp_1")
    world.ports.store.get = fails  # type: ignore[method-assign, assignment]
    world.ports.store.put = fails  # type: ignore[method-assign, assignment]
    await answers.keep("a", "resp_1", ONE)
    assert await answers.find("a", "resp_1") is None
    operations = [fields["op"] for fields in world.notes.of("store_error")]
    assert ["delete", "put", "get"] == operations


async def test_where_an_upstream_keeps_an_answer_is_known_to_who_got_it() -> None:
    answers, origin = Answers(World().ports), Origin("route", "m", "digest")
    await answers.note("a", "resp_1", origin)
    assert origin == await answers.origin("a", "resp_1")
    assert await answers.origin("b", "resp_1") is None
    assert await answers.origin("a", "resp_2") is None
    assert await answers.find("a", "resp_1") is None


async def test_of_those_too_only_so_many_are_known() -> None:
    answers = Answers(World().ports, most=2)
    for at in range(3):
        await answers.note("a", f"resp_{at}", Origin("route", "m", str(at)))
    known = [await answers.origin("a", f"resp_{at}") for at in range(3)]
    assert [None, "1", "2"] == [found and found.account for found in known]
