"""Answers of several parts, and answers that are held back whole."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Output, Reasoning, Text, ToolCall
from engine.errors import ExchangeError
from engine.events import (
    Annotation,
    ArgsDelta,
    Close,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from engine.exchange.joined import LEAST, SEAM, Held, Joined, overlap, summed
from engine.ports import Sink
from tests.kit import FakeSink

CHAT = ChatRequest("openai_chat", "m", [])


def part(*texts: str) -> list[Event]:
    return [Open(0, Text("")), *(TextDelta(0, text) for text in texts), Close(0)]


async def joined(*parts: list[Event], reason: str = "stop") -> FakeSink:
    sink = FakeSink(stream=True)
    both = Joined(sink)
    for at, events in enumerate(parts):
        if at:
            both.onward(Usage(10, 5))
        for event in events:
            both.send([event])
    await both.finish(Finish(reason), None)
    return sink


async def test_parts_become_one_block_of_one_answer() -> None:
    sink = await joined(part("The quick "), part("brown fox"), part(" jumps"))
    assert "The quick brown fox jumps" == sink.text
    assert 1 == sum(isinstance(event, Open) for event in sink.events)


async def test_what_is_repeated_at_the_seam_is_told_once() -> None:
    sink = await joined(part("It was a dark and stormy"), part("a dark and ", "stormy night"))
    assert "It was a dark and stormy night" == sink.text


async def test_a_short_likeness_is_no_repetition() -> None:
    assert "ha ha ha" == (await joined(part("ha ha"), part(" ha"))).text


async def test_a_long_continuation_streams_after_the_seam_is_decided() -> None:
    sink = FakeSink(stream=True)
    both = Joined(sink)
    both.send(part("begin"))
    both.onward(None)
    both.send([Open(0, Text("")), TextDelta(0, "x" * (SEAM - 1))])
    assert "begin" == sink.text
    both.send([TextDelta(0, "yz")])
    assert "begin" + "x" * (SEAM - 1) + "yz" == sink.text


async def test_thinking_of_a_continuation_is_a_block_of_its_own() -> None:
    more: list[Event] = [Open(0, Reasoning()), ReasoningDelta(0, "hm"), Close(0)]
    text: list[Event] = [Open(1, Text("")), TextDelta(1, "two"), Close(1)]
    sink = await joined(part("one "), [*more, *text])
    assert ("one two", "hm") == (sink.text, sink.reply.reasoning)
    opened = [event.block for event in sink.events if isinstance(event, Open)]
    assert [0, 1, 2] == opened


async def test_other_blocks_and_notes_keep_their_place() -> None:
    call: list[Event] = [Open(1, ToolCall("c", "f", "")), ArgsDelta(1, "{}"), Close(1)]
    sink = await joined([*part("a"), Annotation(1), *call], reason="tool_calls")
    assert ["a", [("f", "{}")]] == [sink.text, [(c.name, c.args) for c in sink.reply.calls]]


async def test_what_was_said_is_known_to_the_policies() -> None:
    both = Joined(FakeSink(stream=True))
    both.send(part("one two three four"))
    assert (1, "one two three four", False) == (
        (said := both.said(None, CHAT)).parts, said.text, said.calls,
    )  # fmt: skip
    both.onward(Usage(1, 4))
    both.send(part("two three four"))
    said = both.said(None, CHAT)
    assert (2, "", "one two three four") == (said.parts, said.fresh, said.before)


async def test_the_clients_limit_leaves_room() -> None:
    both = Joined(FakeSink(stream=True))
    both.send(part("x" * 40))
    chat = ChatRequest("openai_chat", "m", [], out=Output(max_tokens=12))
    assert (8, 2) == (both.said(Usage(1, 4), chat).room, both.said(None, chat).room)


async def test_a_continuation_may_be_tried_again_until_it_says_something() -> None:
    sink = FakeSink(stream=True)
    both: Joined = Joined(sink)
    both.send(part("one "))
    assert both.committed
    both.onward(None)
    assert not both.committed
    both.restart()
    assert 0 == sink.restarts
    both.send(part("two"))
    assert both.committed
    await both.finish(Finish("stop"), None)
    assert "one two" == sink.text


async def test_a_first_part_is_begun_anew_like_any_answer() -> None:
    sink = FakeSink(stream=False)
    both = Joined(sink)
    both.send(part("half"))
    both.restart()
    both.send(part("whole"))
    await both.finish(Finish("stop"), None)
    assert ("whole", 1) == (sink.text, sink.restarts)


async def test_a_failure_comes_after_what_was_said() -> None:
    sink = FakeSink(stream=True)
    both = Joined(sink)
    both.send(part("one "))
    both.onward(None)
    both.send([Open(0, Text("")), TextDelta(0, "tw")])
    await both.fail(ExchangeError("truncated", "cut"))
    assert "one tw" == sink.text


def test_usage_is_what_was_read_first_and_all_that_was_written() -> None:
    first, last = Usage(10, 5, reasoning=1), Usage(15, 7, reasoning=2, estimated=True)
    assert Usage(10, 12, reasoning=3, estimated=True) == summed(first, last)
    assert [first, last, None] == [summed(first, None), summed(None, last), summed(None, None)]
    assert None is (summed(Usage(1, None), last) or Usage()).output


@pytest.mark.parametrize(
    ("before", "after", "length"),
    [
        ("x" * 300, "x" * 300, SEAM),
        ("abc", "abc", 0),
        ("say a dozen letters", "a dozen letters more", len("a dozen letters")),
        ("something", "entirely else", 0),
    ],
)
def test_an_overlap_is_the_longest_that_is_no_chance(before: str, after: str, length: int) -> None:
    assert length == overlap(before, after)
    assert LEAST > 3


# ---- held ----


async def test_nothing_is_given_before_the_answer_is_whole() -> None:
    sink = FakeSink(stream=True)
    held: Sink = Held(sink)
    held.send(part("half"))
    assert (False, []) == (held.committed, sink.events)
    held.restart()
    held.send(part("whole"))
    await held.finish(Finish("stop"), Usage(1, 1))
    assert ("whole", Usage(1, 1)) == (sink.text, sink.usage)


async def test_bytes_are_held_too() -> None:
    sink = FakeSink(stream=True)
    held = Held(sink)
    held.forward(b"a", True)
    assert b"" == sink.bytes
    held.restart()
    held.forward(b"b", True)
    await held.end()
    assert (b"b", 1) == (sink.bytes, sink.ends)


async def test_what_failed_was_never_begun() -> None:
    sink: Any = FakeSink(stream=True)
    held = Held(sink)
    held.send(part("half"))
    await held.fail(ExchangeError("truncated", "cut"), b"frames")
    assert (b"", [], "truncated") == (sink.bytes, sink.events, sink.error.cls)
