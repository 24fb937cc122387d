"""Answers in rounds, as the client's side sees them."""

from __future__ import annotations

import pytest

from engine.chat import Message, Reasoning, Text, ToolCall
from engine.errors import ExchangeError
from engine.events import (
    ArgsDelta,
    Close,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from engine.exchange.rounds import Rounds, summed
from engine.policies import Called
from tests.kit import FakeSink

CALL = ToolCall("c1", "echo", "")
FILLED = ToolCall("c1", "echo", "{}")


def text(said: str, block: int = 0) -> list[Event]:
    return [Open(block, Text("")), TextDelta(block, said), Close(block)]


def call(block: int, part: ToolCall = CALL) -> list[Event]:
    return [Open(block, part), ArgsDelta(block, "{}"), Close(block)]


def begun(*, stream: bool = True) -> tuple[Rounds, FakeSink]:
    sink = FakeSink(stream=stream)
    rounds = Rounds(sink)
    rounds.own = {"echo"}
    return rounds, sink


async def test_calls_of_the_engines_tools_are_kept_from_the_client() -> None:
    rounds, sink = begun()
    rounds.send([*text("Wait."), *call(1), *text("More.", 2)])
    assert [*text("Wait."), *text("More.", 1)] == sink.events
    assert Called((FILLED,), False, 0) == rounds.called()


async def test_calls_of_the_clients_tools_are_not() -> None:
    rounds, sink = begun()
    own = ToolCall("c2", "own", "")
    rounds.send([*call(0), *call(1, own)])
    assert call(0, own) == sink.events
    assert rounds.called().others


async def test_calls_that_the_model_made_up_stop_here_where_all_names_are_known() -> None:
    rounds, sink = begun()
    rounds.theirs = {"own"}
    made_up = ToolCall("c3", "web_search", "")
    rounds.send([*call(0, made_up), *call(1, ToolCall("c2", "own", ""))])
    assert call(0, ToolCall("c2", "own", "")) == sink.events
    assert ["web_search"] == [found.name for found in rounds.called().own]


async def test_a_blank_text_before_a_call_does_not_go_back() -> None:
    rounds, _ = begun()
    rounds.send([*text("\n\n"), *call(1)])
    assert Message("assistant", [FILLED]) == rounds.onward(None, "anthropic_messages")


async def test_blocks_count_on_through_rounds_and_what_is_shown() -> None:
    rounds, sink = begun()
    rounds.send([*text("Wait."), *call(1)])
    turn = rounds.onward(None, "openai_chat")
    rounds.show("Calling.\n")
    rounds.show("Done.\n")
    rounds.shown()
    rounds.send(text("Here."))
    await rounds.finish(Finish("stop"), None)
    thought = [Open(1, Reasoning()), ReasoningDelta(1, "Calling.\n"), ReasoningDelta(1, "Done.\n")]
    assert [*text("Wait."), *thought, Close(1), *text("Here.", 2)] == sink.events
    assert Message("assistant", [Text("Wait."), FILLED]) == turn
    assert Called((), False, 1) == rounds.called()


async def test_an_attempt_that_only_called_may_be_tried_again() -> None:
    rounds, sink = begun()
    rounds.send(call(0))
    assert not rounds.committed
    rounds.restart()
    assert 1 == sink.restarts
    assert () == rounds.called().own


async def test_a_round_may_be_tried_again_until_it_speaks() -> None:
    rounds, sink = begun()
    rounds.send([*text("Wait."), *call(1)])
    assert rounds.committed
    rounds.onward(None, "")
    assert not rounds.committed
    rounds.restart()  # the sink would refuse
    rounds.send(text("Here."))
    assert rounds.committed
    assert [*text("Wait."), *text("Here.", 1)] == sink.events


async def test_a_whole_answer_cannot_take_back_what_an_earlier_round_said() -> None:
    rounds, _ = begun(stream=False)
    rounds.send([*text("Wait."), *call(1)])
    assert not rounds.committed
    rounds.onward(None, "")
    rounds.send(text("Here."))
    assert rounds.committed


async def test_errors_and_headers_pass() -> None:
    rounds, sink = begun()
    rounds.tell({"x": "y"})
    error = ExchangeError("timeout", "late")
    await rounds.fail(error)
    assert ({"x": "y"}, error) == (sink.told, sink.error)


async def test_bytes_have_no_rounds() -> None:
    rounds, _ = begun()
    with pytest.raises(AssertionError, match="rounds"):
        rounds.forward(b"", True)
    for wrong in (rounds.whole(b""), rounds.end()):
        with pytest.raises(AssertionError, match="rounds"):
            await wrong


def test_every_round_was_paid_for() -> None:
    rounds, _ = begun()
    rounds.onward(Usage(10, 5, cache_read=4), "")
    assert Usage(30, 12, cache_read=4) == rounds.usage(Usage(20, 7))


def test_a_round_without_figures_makes_the_sum_an_estimate() -> None:
    assert Usage(10, 5, estimated=True) == summed([None, Usage(10, 5)])
    assert summed([None, None]) is None


def test_one_answer_keeps_its_own_figures() -> None:
    rounds, _ = begun()
    usage = Usage(1, 2, raw={"x": 1})
    assert usage is rounds.usage(usage)
