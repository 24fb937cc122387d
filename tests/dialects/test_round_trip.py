"""What a dialect's encoder says, its own reader understands: the same answer, but for known losses.

And from every upstream to every client, streamed and whole: text, thinking, calls, the reason of
the end and the counts. `answered` holds each answer against its grammar and its SDK's types.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.chat import Reasoning, Text, ToolCall
from engine.dialects import DIALECTS
from engine.events import (
    ArgsDelta,
    Close,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    Reply,
    SignatureDelta,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from tests.grammar import check_events

from .crossing import RULES, answered, read, said, whole

ALL = sorted(DIALECTS)
WITHOUT_IDS = {"ollama"}  # calls are told by their name; the reader makes the ids
SIGNED = {"anthropic_messages"}  # thinking keeps its signature in a delta of its own

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
objects = st.dictionaries(st.sampled_from(["a", "b"]), words | st.integers(-9, 9), max_size=2)
texts = st.lists(words, min_size=1, max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """The events of one good answer: perhaps thinking, perhaps text, perhaps calls."""
    out: list[Event] = []
    number = 0
    if draw(st.booleans()):
        out += [Open(0, Reasoning()), *(ReasoningDelta(0, piece) for piece in draw(texts))]
        out += [SignatureDelta(0, "EqQB"), Close(0)]
        number = 1
    if draw(st.booleans()):
        pieces = [TextDelta(number, piece) for piece in draw(texts)]
        out += [Open(number, Text("")), *pieces, Close(number)]
        number += 1
    calls = draw(st.lists(objects, max_size=3))
    for at, args in enumerate(calls):
        whole = json.dumps(args)
        cut = draw(st.integers(1, len(whole)))
        out.append(Open(number, ToolCall(f"call_{at}", f"tool_{at}", "")))
        out += [ArgsDelta(number, piece) for piece in (whole[:cut], whole[cut:]) if piece]
        out.append(Close(number))
        number += 1
    if not number:
        out += [Open(0, Text("")), TextDelta(0, "ok"), Close(0)]
    cached = draw(st.integers(0, 5))
    out.append(UsageEvent(Usage(input=10, output=7, cache_read=cached, cache_write=0)))
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    return [*out, Finish(reason)]


def essence(reply: Reply, *, ids: bool = True) -> dict[str, Any]:
    usage = reply.usage or Usage()
    return {
        "text": reply.text,
        "thinking": reply.reasoning,
        "calls": [(c.id if ids else "", c.name, json.loads(c.args)) for c in reply.calls],
        "finish": reply.finish,
        "usage": (usage.input, usage.output),
    }


@pytest.mark.parametrize("dialect", ALL)
@given(events=answers())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_dialect_understands_itself(dialect: str, events: list[Event]) -> None:
    found, verdict, usage = read(dialect, said(dialect, events))
    back = fold([*found, UsageEvent(usage or Usage()), verdict])
    ids = dialect not in WITHOUT_IDS
    assert essence(fold(events), ids=ids) == essence(back, ids=ids)
    if dialect in SIGNED:
        signed = [part.signature for part in back.parts if isinstance(part, Reasoning)]
        assert ["EqQB"] * len(signed) == signed


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("upstream", [*ALL, RULES])
@given(events=answers(), stream=st.booleans())
@settings(max_examples=16, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_client_understands_every_upstream(
    upstream: str, client: str, events: list[Event], stream: bool
) -> None:
    data = said(upstream, events) if stream else whole(upstream, events)
    found = answered(upstream, data, client, stream=stream)
    ids = not {upstream, client} & WITHOUT_IDS
    assert essence(fold(events), ids=ids) == essence(found.reply, ids=ids)


@given(events=answers())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_answers_made_up_here_obey_the_order(events: list[Event]) -> None:
    from engine.events import Start

    check_events([Start(), *events])
