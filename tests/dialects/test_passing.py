"""A client and an upstream of one dialect: as bytes and by way of the model, it is the same.

Each dialect's stream is cut at every byte, broken off after every frame, and made to fail.
"""

from __future__ import annotations

import json

import pytest

from engine.chat import Reasoning, Text, ToolCall
from engine.dialects import DIALECTS
from engine.dialects.frames import Tap
from engine.events import (
    ArgsDelta,
    Close,
    ErrorEvent,
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

from .crossing import answered, read, route_to, said

ALL = pytest.mark.parametrize("dialect", sorted(DIALECTS))
SAID: list[Event] = [
    Open(0, Reasoning()), ReasoningDelta(0, "hm"), SignatureDelta(0, "EqQB"), Close(0),
    Open(1, Text("")), TextDelta(1, "so, 好"), TextDelta(1, " 😀"), Close(1),
    Open(2, ToolCall("call_1", "look", "")), ArgsDelta(2, '{"x"'), ArgsDelta(2, ":1}"), Close(2),
    UsageEvent(Usage(input=10, output=5, cache_read=0, cache_write=0)), Finish("tool_calls"),
]  # fmt: skip


def passed(dialect: str, pieces: list[bytes]) -> tuple[bytes, Tap]:
    """What goes on to the client of a stream that arrives in these pieces."""
    kind, splitter = DIALECTS[dialect], route_to(dialect).splitter
    assert kind.tap is not None
    assert splitter is not None
    tap, split = kind.tap(True), splitter()
    out = b"".join(tap.feed(split.feed(piece)) for piece in pieces)
    out += tap.feed(split.finish()) + tap.end()
    return out, tap


def told(reply: Reply) -> tuple[object, ...]:
    usage = reply.usage or Usage()
    calls = [(call.name, json.loads(call.args)) for call in reply.calls]
    return reply.text, reply.reasoning, calls, reply.finish, usage.input, usage.output


def heard(dialect: str, data: bytes) -> tuple[object, ...]:
    events, verdict, usage = read(dialect, data)
    return told(fold([*events, UsageEvent(usage or Usage()), verdict]))


@ALL
def test_bytes_and_model_tell_a_client_the_same(dialect: str) -> None:
    data = said(dialect, SAID)
    out, tap = passed(dialect, [data])
    assert (data, None, True) == (out, tap.error, tap.content)
    assert tap.finish is not None
    assert tap.usage is not None
    assert ("tool_calls", 10, 5) == (tap.finish.reason, tap.usage.input, tap.usage.output)
    assert heard(dialect, out) == told(answered(dialect, data, dialect).reply)


@ALL
def test_it_does_not_matter_where_bytes_are_cut(dialect: str) -> None:
    data = said(dialect, SAID)
    due = heard(dialect, data)
    for at in range(1, len(data)):
        pieces = [data[:at], data[at:]]
        out, tap = passed(dialect, pieces)
        assert (data, None) == (out, tap.error), at
        if data[at] & 0x80 or at % 11 == 0:  # in every character of several bytes, and others
            events, verdict, usage = read(dialect, pieces)
            assert due == told(fold([*events, UsageEvent(usage or Usage()), verdict])), at
    single = [data[at : at + 1] for at in range(len(data))]
    assert data == passed(dialect, single)[0]


@ALL
def test_a_stream_that_breaks_off_fails_both_ways(dialect: str) -> None:
    """After every frame before the one that ends it: an error, in words of the dialect."""
    data = said(dialect, [event for event in SAID if not isinstance(event, Finish)])
    splitter = route_to(dialect).splitter
    assert splitter is not None
    frames = splitter().feed(data)
    assert len(frames) > 2
    for count in range(1, len(frames) + 1):
        cut = b"".join(frames[:count])
        out, tap = passed(dialect, [cut])
        assert tap.error is not None, count
        assert tap.finish is None, count
        _, verdict, _ = read(dialect, out + tap.failure)
        assert isinstance(verdict, ErrorEvent), count
        found = answered(dialect, cut, dialect)
        assert isinstance(found.verdict, ErrorEvent), count
        assert found.reply.error is not None, count


@ALL
@pytest.mark.parametrize("begun", [False, True])
def test_an_error_in_the_stream_is_one_both_ways(dialect: str, begun: bool) -> None:
    kind = DIALECTS[dialect]
    failure = kind.stream_failure(ErrorEvent("overloaded", "too busy", 503))
    before = said(dialect, SAID[:6]) if begun else b""
    out, tap = passed(dialect, [before + failure])
    assert tap.error is not None
    assert ("too busy", None) == (tap.error.message, tap.finish)
    assert begun is tap.content
    _, verdict, _ = read(dialect, out + tap.failure)
    assert isinstance(verdict, ErrorEvent)
    assert "too busy" == verdict.message
    found = answered(dialect, before + failure, dialect)
    assert found.reply.error is not None
    assert tap.error.cls == found.reply.error.cls


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"gemini"}))  # there: in the path
def test_the_model_is_the_only_thing_that_changes_in_a_body(dialect: str) -> None:
    kind = DIALECTS[dialect]
    body = b'{"x_new" : [1, 2],"model": "m", "messages":[ ],"input":"a","contents":[]}'
    scan = kind.scan(body)
    assert scan is not None
    spliced = kind.splice(body, scan, "upstream/model", False)
    assert body.replace(b'"m"', b'"upstream/model"') == spliced
