from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import Context, Event, Finish, ReasoningDelta, TextDelta, Usage, UsageEvent
from tests.transforms.test_prompted_tools import ways

PATH = Path(__file__).parents[2] / "transforms" / "replace_text.py"
SHIPPED = load("replace_text", PATH.read_bytes(), "transforms/replace_text.py")


def made(**options: Any) -> Any:
    assert SHIPPED.options is not None
    return instantiate(SHIPPED, SHIPPED.options(**options), Context("route"))


def said(pieces: list[str], **options: Any) -> str:
    transform = made(**options)
    events = [event for piece in pieces for event in transform.feed(TextDelta(0, piece))]
    return "".join(event.text for event in [*events, *transform.finish()])


@pytest.mark.parametrize(
    ("text", "find", "put"),
    [
        ("Acme says hi from Acme", "Acme", "We"),
        ("aaaa", "aa", "a"),
        ("abab", "ab", "abx"),
        ("ababc", "abc", "!"),
        ("aab", "ab", ""),
        ("nothing here", "xyz", "!"),
        ("end is Ac", "Acme", "We"),
        ("👩‍👩‍👧 世界", "世", "世世"),
    ],
)
def test_it_is_as_if_the_text_came_whole(text: str, find: str, put: str) -> None:
    for pieces in ways(text):
        assert text.replace(find, put) == said(pieces, find=find, put=put), pieces


def test_what_cannot_begin_it_streams_on() -> None:
    transform = made(find="Acme")
    assert [TextDelta(0, "hello ")] == transform.feed(TextDelta(0, "hello "))
    assert [TextDelta(0, "x ")] == transform.feed(TextDelta(0, "x A"))
    usage = UsageEvent(Usage(1, 1))
    assert [usage] == transform.feed(usage)
    assert [TextDelta(0, "A"), Finish("stop")] == transform.feed(Finish("stop"))


def test_thinking_is_another_channel() -> None:
    thought: list[Event] = made(find="a", put="b", channel="reasoning").feed(ReasoningDelta(0, "a"))
    assert [ReasoningDelta(0, "b")] == thought
    assert [ReasoningDelta(0, "a")] == made(find="a", put="b").feed(ReasoningDelta(0, "a"))


def test_it_must_look_for_something() -> None:
    with pytest.raises(ValueError, match="is empty"):
        made(find="")
