from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.chat import Reasoning
from engine.events import Annotation, CitationDelta, SignatureDelta, UsageEvent
from engine.route.transforms import instantiate, load
from engine.transform import Citation, Context, Event, Open, ReasoningDelta, Text, TextDelta, Usage

PATH = Path(__file__).parents[2] / "transforms" / "drop_events.py"
SHIPPED = load("drop_events", PATH.read_bytes(), "transforms/drop_events.py")
SAID: dict[str, list[Event]] = {
    "reasoning": [Open(0, Reasoning()), ReasoningDelta(0, "hm"), SignatureDelta(0, "s")],
    "annotation": [Annotation({"url": "x"})],
    "citation": [CitationDelta(1, Citation("url"))],
    "usage": [UsageEvent(Usage(1, 2))],
    "": [Open(1, Text("")), TextDelta(1, "yes")],
}


def left(kinds: list[Any]) -> list[Event]:
    assert SHIPPED.options is not None
    transform = instantiate(SHIPPED, SHIPPED.options(kinds=kinds), Context("route"))
    return [out for events in SAID.values() for event in events for out in transform.feed(event)]


@pytest.mark.parametrize("kind", [kind for kind in SAID if kind])
def test_one_kind_goes_and_all_else_stays(kind: str) -> None:
    expected = [event for name, events in SAID.items() if name != kind for event in events]
    assert expected == left([kind])


def test_several_kinds_go_together() -> None:
    assert SAID[""] == left([kind for kind in SAID if kind])


def test_it_must_name_something() -> None:
    assert SHIPPED.options is not None
    with pytest.raises(ValueError, match="names nothing"):
        SHIPPED.options(kinds=[])
