"""Usage merged, events folded into one reply."""

from __future__ import annotations

import pytest

from engine.chat import Citation, Reasoning, Refusal, Text, ToolCall
from engine.events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Folder,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
    merge_usage,
    tells,
)


def whole() -> list[Event]:
    return [
        Start("r1", "m", 5),
        Open(0, Reasoning()),
        ReasoningDelta(0, "hm"),
        ReasoningDelta(0, "m"),
        SignatureDelta(0, "sig"),
        SignatureDelta(0, "", "enc"),
        Close(0),
        Ping(),
        Open(1, Text("")),
        TextDelta(1, "a", logprobs=[0.1]),
        TextDelta(1, "b"),
        CitationDelta(1, Citation("url", url="https://a.example")),
        Close(1),
        Open(2, ToolCall("c1", "f", "")),
        Open(3, ToolCall("c2", "g", "")),
        ArgsDelta(2, '{"x":'),
        ArgsDelta(3, "{}"),
        ArgsDelta(2, "1}"),
        Close(2),
        Close(3),
        Open(4, Refusal("")),
        RefusalDelta(4, "no"),
        Close(4),
        Annotation({"a": 1}),
        UsageEvent(Usage(input=3)),
        UsageEvent(Usage(output=4)),
        Finish("tool_calls", "tool_use"),
    ]


def test_an_answer_folds_into_one_reply() -> None:
    reply = fold(whole())
    assert (reply.id, reply.model, reply.created) == ("r1", "m", 5)
    assert (reply.text, reply.reasoning) == ("ab", "hmm")
    assert reply.calls == [ToolCall("c1", "f", '{"x":1}'), ToolCall("c2", "g", "{}")]
    assert reply.parts[0] == Reasoning("hmm", signature="sig", encrypted="enc")
    assert reply.parts[1] == Text("ab", [Citation("url", url="https://a.example")])
    assert reply.parts[4] == Refusal("no")
    assert (reply.finish, reply.raw_finish) == ("tool_calls", "tool_use")
    assert reply.usage == Usage(input=3, output=4)
    assert reply.annotations == [{"a": 1}]
    assert reply.logprobs == [[0.1]]
    assert reply.error is None


def test_folding_goes_on_after_it_was_asked() -> None:
    folder = Folder()
    folder.feed([Open(0, Text("")), TextDelta(0, "a")])
    assert folder.done().text == "a"
    folder.feed([TextDelta(0, "b"), ErrorEvent("timeout", "late")])
    reply = folder.done()
    assert reply.text == "ab"
    assert reply.error == ErrorEvent("timeout", "late")


def test_a_summary_is_folded_into_its_parts_and_into_one_text() -> None:
    said: list[Event] = [ReasoningDelta(0, "a", 0), ReasoningDelta(0, "b", 0),
                         ReasoningDelta(0, "\n\nc", 1), ReasoningDelta(0, "d", 1)]  # fmt: skip
    opened = Open(0, Reasoning(id="r"))
    (part,) = fold([Start(), opened, *said, Close(0), Finish("stop")]).parts
    assert part == Reasoning("ab\n\ncd", ["ab", "cd"], id="r")
    assert opened.part == Reasoning(id="r")


@pytest.mark.parametrize(
    ("events", "shown", "hidden"),
    [
        ([Open(0, Reasoning()), ReasoningDelta(0, "hm"), SignatureDelta(0, "s")], True, False),
        ([Close(0), Ping(), UsageEvent(Usage())], False, False),
        ([ReasoningDelta(0, "hm"), Close(0), Open(1, Text(""))], True, True),
    ],
)
def test_thoughts_tell_nothing_to_who_is_not_shown_them(
    events: list[Event], shown: bool, hidden: bool
) -> None:
    assert (shown, hidden) == (tells(events), tells(events, hidden=True))


def test_folding_changes_nothing_of_what_it_folds() -> None:
    events = whole()
    assert fold(events) == fold(events)
    assert events == whole()


def test_usage_is_absolute_and_the_last_known_number_holds() -> None:
    old = Usage(input=10, output=1, cache_read=4, estimated=True, raw={"a": 1})
    new = Usage(output=7, reasoning=2, cache_write=0)
    assert merge_usage(old, new) == Usage(
        input=10, output=7, cache_read=4, cache_write=0, reasoning=2, estimated=False, raw={"a": 1}
    )
    assert merge_usage(None, new) is new
