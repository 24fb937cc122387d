"""Blocks numbered anew: whatever comes in, what goes out obeys the grammar."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from engine.chat import Citation, Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.events import (
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    fold,
)
from engine.route.blocks import Blocks
from tests.grammar import check_events


def blocks() -> Blocks:
    numbers = count(1)
    return Blocks(lambda: f"made_{next(numbers)}")


def out(*events: Event, whole: bool = True) -> list[Event]:
    made = blocks()
    return [*made.feed(list(events)), *made.finish(whole=whole)]


def test_prose_opens_when_it_begins_and_closes_when_something_else_does() -> None:
    assert out(
        ReasoningDelta(7, "hm"), TextDelta(0, "a"), TextDelta(3, "b"), RefusalDelta(0, "no")
    ) == [
        Open(0, Reasoning()),
        ReasoningDelta(0, "hm"),
        Close(0),
        Open(1, Text("")),
        TextDelta(1, "a"),
        TextDelta(1, "b"),
        Close(1),
        Open(2, Refusal("")),
        RefusalDelta(2, "no"),
        Close(2),
    ]


def test_blocks_that_a_source_opens_and_closes_are_numbered_anew() -> None:
    assert out(
        Open(5, Text("")), TextDelta(5, "a"), Close(5),
        Open(9, Text("")), TextDelta(9, "b"), Close(9),
    ) == [
        Open(0, Text("")), TextDelta(0, "a"), Close(0),
        Open(1, Text("")), TextDelta(1, "b"), Close(1),
    ]  # fmt: skip


def test_text_that_a_block_is_opened_with_is_not_lost() -> None:
    made = fold(
        out(Open(0, Text("a")), TextDelta(0, "b"), Open(1, Reasoning("hm")), Open(2, Refusal("no")))
    )
    assert (made.text, made.reasoning) == ("ab", "hm")
    assert made.parts[2] == Refusal("no")


def test_nothing_empty_goes_out() -> None:
    assert out(TextDelta(0, ""), ReasoningDelta(0, ""), Open(0, Text("")), Close(0)) == []
    assert out(TextDelta(0, "a"), TextDelta(0, ""), TextDelta(0, "b")) == [
        Open(0, Text("")), TextDelta(0, "a"), TextDelta(0, "b"), Close(0),
    ]  # fmt: skip


def test_a_signature_belongs_to_the_thinking_before_it() -> None:
    assert out(ReasoningDelta(0, "hm"), SignatureDelta(4, "sig")) == [
        Open(0, Reasoning()),
        ReasoningDelta(0, "hm"),
        SignatureDelta(0, "sig"),
        Close(0),
    ]
    assert out(SignatureDelta(4, "", "enc")) == [
        Open(0, Reasoning()),
        SignatureDelta(0, "", "enc"),
        Close(0),
    ]


def test_signed_thinking_is_a_block_of_its_own() -> None:
    signed = Reasoning(signature="sig")
    assert out(ReasoningDelta(0, "a"), Open(1, signed), ReasoningDelta(1, "b")) == [
        Open(0, Reasoning()), ReasoningDelta(0, "a"), Close(0),
        Open(1, signed), ReasoningDelta(1, "b"), Close(1),
    ]  # fmt: skip


NOTE = Citation("web", "https://a", "A")


def test_a_citation_waits_for_the_next_text_and_its_first_words() -> None:
    assert [
        Open(0, Text("")), TextDelta(0, "a"), CitationDelta(0, NOTE), Close(0),
    ] == out(TextDelta(0, "a"), CitationDelta(5, NOTE))  # fmt: skip
    assert [
        Open(0, Reasoning()), ReasoningDelta(0, "hm"), Close(0),
        Open(1, Text("")), TextDelta(1, "a"), CitationDelta(1, NOTE), TextDelta(1, "b"), Close(1),
    ] == out(ReasoningDelta(0, "hm"), CitationDelta(0, NOTE), TextDelta(0, "a"),
             TextDelta(0, "b"))  # fmt: skip


def test_a_text_that_its_source_closed_is_cited_until_something_else_begins() -> None:
    text: list[Event] = [Open(0, Text("")), TextDelta(0, "a"), Close(0)]
    assert [*text[:2], CitationDelta(0, NOTE), Close(0)] == out(*text, CitationDelta(9, NOTE))
    more: list[Event] = [Open(1, Text("")), TextDelta(1, "b")]
    assert [*text, *more, CitationDelta(1, NOTE), Close(1)] == out(
        *text, TextDelta(0, "b"), CitationDelta(9, NOTE)
    )


def test_a_citation_behind_all_texts_is_of_the_last_one() -> None:
    made = blocks()
    call = Open(1, ToolCall("x", "f", "{}"))
    made.feed([TextDelta(0, "a"), call, CitationDelta(0, NOTE)])
    assert CitationDelta(0, NOTE) == made.finish()[-1]
    assert [CitationDelta(0, NOTE)] == made.beside


def test_a_citation_without_any_text_is_a_note() -> None:
    told = {"type": "char_location", "cited_text": "x"}
    made = out(CitationDelta(0, NOTE), CitationDelta(0, Citation("char_location", raw=told)))
    assert [Annotation({"url": "https://a", "title": "A"}), Annotation(told)] == made


def test_an_image_is_whole_in_itself() -> None:
    picture = Media("image", data="aGk=")
    assert out(TextDelta(0, "a"), Open(1, picture), Close(1), TextDelta(2, "b")) == [
        Open(0, Text("")), TextDelta(0, "a"), Close(0), Open(1, picture), Close(1),
        Open(2, Text("")), TextDelta(2, "b"), Close(2),
    ]  # fmt: skip


def test_tool_calls_interleave_and_stay_open() -> None:
    assert out(
        ArgsDelta(4, "{", "x", "f"),
        ArgsDelta(9, "", "y", "g"),
        TextDelta(0, "t"),
        ArgsDelta(4, "}"),
        ArgsDelta(9, "{}"),
    ) == [
        Open(0, ToolCall("x", "f", "")),
        ArgsDelta(0, "{"),
        Open(1, ToolCall("y", "g", "")),
        Open(2, Text("")),
        TextDelta(2, "t"),
        ArgsDelta(0, "}"),
        ArgsDelta(1, "{}"),
        Close(2),
        Close(0),
        Close(1),
    ]


def test_a_call_waits_for_its_name() -> None:
    assert out(ArgsDelta(0, "{", "x"), TextDelta(0, "t"), ArgsDelta(0, "}", "", "f")) == [
        Open(0, Text("")),
        TextDelta(0, "t"),
        Close(0),
        Open(1, ToolCall("x", "f", "")),
        ArgsDelta(1, "{}"),
        Close(1),
    ]


def test_a_call_whose_name_never_comes_is_not_given_out() -> None:
    made = blocks()
    assert made.feed([ArgsDelta(0, "{}")]) == []
    assert made.nameless
    assert made.finish() == []
    assert made.calls == 0


def test_a_call_without_arguments_takes_none() -> None:
    assert out(ArgsDelta(0, "", "x", "f")) == [
        Open(0, ToolCall("x", "f", "")),
        ArgsDelta(0, "{}"),
        Close(0),
    ]
    assert out(Open(0, ToolCall("x", "f", "")), Close(0))[1] == ArgsDelta(0, "{}")


def test_arguments_that_were_cut_off_are_not_made_up() -> None:
    assert out(ArgsDelta(0, "", "x", "f"), whole=False) == [
        Open(0, ToolCall("x", "f", "")),
        Close(0),
    ]


def test_free_text_of_a_custom_call_may_be_empty() -> None:
    assert out(Open(0, ToolCall("x", "f", "", "custom")), Close(0)) == [
        Open(0, ToolCall("x", "f", "", "custom")),
        Close(0),
    ]


def test_ids_are_made_where_they_are_missing_or_taken() -> None:
    made = out(
        ArgsDelta(0, "{}", "x", "f"), ArgsDelta(1, "{}", "x", "g"), ArgsDelta(2, "{}", "", "h")
    )
    assert [call.id for call in fold(made).calls] == ["x", "made_1", "made_2"]


def test_what_is_handed_in_is_not_changed() -> None:
    part = ToolCall("x", "f", '{"a":1}')
    made = out(Open(0, part))
    assert part == ToolCall("x", "f", '{"a":1}')
    assert fold(made).calls == [part]


def test_a_call_that_is_opened_again_is_another_one() -> None:
    made = out(Open(0, ToolCall("x", "f", "{}")), Open(0, ToolCall("y", "g", "{}")))
    assert [(call.id, call.args) for call in fold(made).calls] == [("x", "{}"), ("y", "{}")]


def test_what_has_no_block_passes_through() -> None:
    assert out(Ping(), Annotation(1)) == [Ping(), Annotation(1)]


SHORT = st.sampled_from(["", "a", "bc", "{}"])
HINT = st.integers(0, 3)
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, SHORT),
    st.builds(Reasoning, SHORT, signature=st.sampled_from([None, "s"])),
    st.builds(Refusal, SHORT),
    st.builds(ToolCall, st.sampled_from(["", "x", "y"]), st.just("f"), SHORT),
    st.builds(Media, st.just("image")),
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(TextDelta, HINT, SHORT),
    st.builds(ReasoningDelta, HINT, SHORT),
    st.builds(RefusalDelta, HINT, SHORT),
    st.builds(SignatureDelta, HINT, st.just("s")),
    st.builds(ArgsDelta, HINT, SHORT, st.sampled_from(["", "x"]), st.sampled_from(["", "f"])),
    st.builds(CitationDelta, HINT, st.just(Citation("url"))),
    st.builds(Open, HINT, PARTS),
    st.builds(Close, HINT),
    st.just(Ping()),
)


@given(st.lists(EVENTS, max_size=25))
def test_any_events_become_a_valid_answer(events: list[Event]) -> None:
    made = blocks()
    said = [*made.feed(events), *made.finish()]
    check_events([Start(), *said, Finish("tool_calls" if made.calls else "stop")])
    ids = [e.part.id for e in said if isinstance(e, Open) and isinstance(e.part, ToolCall)]
    assert len(ids) == len(set(ids)) == made.calls
    assert made.opened == sum(isinstance(event, Open) for event in said)


@given(st.lists(EVENTS, max_size=25), st.integers(0, 25))
def test_it_does_not_matter_in_how_many_reads_events_come(events: list[Event], at: int) -> None:
    one, two = blocks(), blocks()
    assert [*one.feed(events), *one.finish()] == [
        *two.feed(events[:at]),
        *two.feed(events[at:]),
        *two.finish(),
    ]


@given(st.lists(EVENTS, max_size=25))
def test_no_text_is_lost(events: list[Event]) -> None:
    said = fold(out(*events))
    opened = [event.part for event in events if isinstance(event, Open)]
    whole = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert len(said.text) == len(whole) + sum(len(p.text) for p in opened if isinstance(p, Text))


def test_what_was_said_of_a_block_before_its_first_words_is_kept() -> None:
    thought, phase = Reasoning(id="r", origin="o"), Text("", extras={"phase": "commentary"})
    given: list[Event] = [
        Open(4, thought), ReasoningDelta(4, "a", 1), Close(4), Open(5, phase), TextDelta(5, "b"),
        Close(5), Open(6, Text("")), Close(6), TextDelta(7, "c"),
    ]  # fmt: skip
    assert [
        Open(0, thought), ReasoningDelta(0, "a", 1), Close(0), Open(1, phase), TextDelta(1, "b"),
        Close(1), Open(2, Text("")), TextDelta(2, "c"), Close(2),
    ] == out(*given)  # fmt: skip


def test_whose_thought_it_is_is_kept() -> None:
    found = out(
        Open(0, Reasoning(origin="a")), ReasoningDelta(0, "hm"), SignatureDelta(0, "s"), Close(0),
        Open(1, Reasoning(origin="b")), SignatureDelta(1, "t"), Close(1), ReasoningDelta(2, "so"),
    )  # fmt: skip
    opened = [event.part for event in found if isinstance(event, Open)]
    assert [Reasoning(origin="a"), Reasoning(origin="b"), Reasoning()] == opened


def test_what_only_some_clients_have_a_place_for_is_kept_beside() -> None:
    made, part, note = blocks(), Opaque("d", "k", {}), Citation("web", url="https://a")
    made.feed([Open(0, part), Close(0), TextDelta(1, "a"), CitationDelta(1, note), Annotation(1)])
    assert [part, note, Annotation(1)] == made.beside


def test_calls_after_the_first_are_kept_beside() -> None:
    made, two = blocks(), ToolCall("b", "see", "{}")
    made.feed([Open(0, ToolCall("a", "look", "{}")), Close(0), Open(1, two), Close(1)])
    assert [two] == made.beside


@given(st.lists(EVENTS, max_size=25))
def test_no_citation_is_lost(events: list[Event]) -> None:
    said = out(*events)
    given = sum(isinstance(event, CitationDelta) for event in events)
    assert given == sum(isinstance(event, CitationDelta | Annotation) for event in said)
