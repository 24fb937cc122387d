from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.route.transforms import instantiate, load
from engine.transform import Context, Finish, ReasoningDelta, TextDelta
from tests.transforms.test_prompted_tools import ways

PATH = Path(__file__).parents[2] / "transforms" / "strip_prefix.py"
SHIPPED = load("strip_prefix", PATH.read_bytes(), "transforms/strip_prefix.py")


def made(**options: Any) -> Any:
    assert SHIPPED.options is not None
    return instantiate(SHIPPED, SHIPPED.options(**options), Context("route"))


def said(pieces: list[str], **options: Any) -> str:
    transform = made(**options)
    events = [event for piece in pieces for event in transform.feed(TextDelta(0, piece))]
    return "".join(event.text for event in [*events, *transform.finish()])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Assistant: hello", "hello"),
        ("  Assistant:\n\nhello", "hello"),
        ("AI: Assistant: hello", "Assistant: hello"),
        ("hello Assistant: no", "hello Assistant: no"),
        (" hello", " hello"),
        ("Assist", "Assist"),
        ("Assistant:", ""),
        ("Assistant:  ", ""),
        ("", ""),
    ],
)
def test_it_is_as_if_the_text_came_whole(text: str, left: str) -> None:
    for pieces in ways(text):
        assert left == said(pieces, prefix=["Assistant:", "AI:"]), pieces


def test_white_space_may_stay() -> None:
    for pieces in ways("> yes"):
        assert " yes" == said(pieces, prefix=[">"], space=False)
    assert " > yes" == said([" > yes"], prefix=[">"], space=False)


def test_thinking_passes_and_the_finish_waits_for_the_text() -> None:
    transform = made(prefix=["AI:"])
    assert [] == transform.feed(TextDelta(0, "A"))
    assert [ReasoningDelta(1, "hm")] == transform.feed(ReasoningDelta(1, "hm"))
    assert [TextDelta(0, "A"), Finish("stop")] == transform.feed(Finish("stop"))
    assert [TextDelta(0, "AI:")] == transform.feed(TextDelta(0, "AI:"))


def test_it_must_name_something() -> None:
    with pytest.raises(ValueError, match="is empty"):
        made(prefix=[""])
