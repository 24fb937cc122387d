"""think_tags: what goes where, that no cut changes it, and that a broken splitter is noticed."""

import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.transforms import Loaded, instantiate, load, release
from engine.transform import (
    Annotation,
    ArgsDelta,
    Close,
    Context,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    SignatureDelta,
    Start,
    Text,
    TextDelta,
    Usage,
    UsageEvent,
)

PATH = Path(__file__).parents[2] / "transforms" / "think_tags.py"
SHIPPED = load("think_tags", PATH.read_bytes(), "transforms/think_tags.py")
Said = list[tuple[str, str]]
K2 = {"tags": {"think": "reasoning", "answer": "text"}}


def T(text: str) -> tuple[str, str]:
    return "text", text


def R(text: str) -> tuple[str, str]:
    return "reasoning", text


def marks(*pairs: tuple[str, str, str], anywhere: bool = False) -> dict[str, Any]:
    return {"tags": {}, "marks": list(pairs), "anywhere": anywhere}


FENCE = marks(("```thinking\n", "```", "reasoning"))

# options, text, what a client sees
CASES: list[tuple[dict[str, Any], str, Said]] = [
    ({}, "", []),
    ({}, "plain text", [T("plain text")]),
    ({}, "<think>why</think>because", [R("why"), T("because")]),
    ({}, " \n<think>why</think>\n\nbecause", [R("why"), T("\n\nbecause")]),
    ({}, "Use <think> for thinking.</think>", [T("Use <think> for thinking.</think>")]),
    ({}, "<think>a</think> <think>b</think>c<think>d", [R("ab"), T("c<think>d")]),
    ({}, "<think>never closed, 1 < 2 </thin", [R("never closed, 1 < 2 </thin")]),
    ({}, "<think></think>x", [T("x")]),
    ({}, "<think>你好<世界></think>答案", [R("你好<世界>"), T("答案")]),
    ({}, "<<think>x</think>", [T("<<think>x</think>")]),
    ({}, "<think>a<</think>b", [R("a<"), T("b")]),
    ({}, "<thinking>x</thinking>", [T("<thinking>x</thinking>")]),
    ({}, " " * 64 + "<think>a</think>b", [R("a"), T("b")]),
    ({}, " " * 65 + "<think>a", [T(" " * 65 + "<think>a")]),
    ({}, "\n<thi", [T("\n<thi")]),
    (K2, "<think>a</think>\n<answer>b</answer>\n", [R("a"), T("b\n")]),
    (K2, "<answer>b <think> c</answer>", [T("b <think> c")]),
    ({**K2, "outside": "drop"}, "x<think>a</think>y<answer>b</answer>z", []),
    ({**K2, "outside": "drop", "anywhere": True},
     "x<think>a</think>y<answer>b</answer>z", [R("a"), T("b")]),
    ({"tags": {"details": "drop"}}, "<details>x</details>y", [T("y")]),
    ({"anywhere": True}, "a <think>b</think> c<think>d", [T("a "), R("b"), T(" c"), R("d")]),
    ({"anywhere": True}, "if a<b then <think", [T("if a<b then <think")]),
    ({"trim": True}, " \n<think>\n a \n b \n</think>\n\n c \n d \n", [R("a \n b"), T("c \n d")]),
    ({"trim": True, "anywhere": True}, " a <think> b </think> c ", [T("a"), R("b"), T("c")]),
    ({"trim": True}, " a b  c ", [T("a b  c")]),
    ({"trim": True}, " \n ", []),
    ({"inline": True}, "\n<think> a </think> b", [T("\n<think> a </think> b")]),
    ({**K2, "inline": True}, "<think>a</think>\n<answer>b</answer>", [T("<think>a</think>\nb")]),
    ({**K2, "inline": True, "trim": True}, "<think> a </think> b", [T("<think> a </think> b")]),
    ({"inline": True, "tags": {"think": "drop"}}, "<think>a</think>b", [T("b")]),
    (FENCE, "```thinking\na``b```c", [R("a``b"), T("c")]),
    (FENCE, "```python\na```", [T("```python\na```")]),
    (marks(("", "</think>", "reasoning")), "a</think>b</think>", [R("a"), T("b</think>")]),
    (marks(("[", "", "reasoning"), anywhere=True), "a[b]c", [T("a"), R("b]c")]),
    (marks(("<<<", ">", "drop"), ("<<", ">", "reasoning")), "<<<a>b", [R("<a"), T("b")]),
    (marks(("ab c", "]", "drop"), ("b", "]", "reasoning"), anywhere=True),
     "xab cy]abz]", [T("xa"), R("z")]),
    (marks(), "<think>a", [T("<think>a")]),
]  # fmt: skip


def make(loaded: Loaded = SHIPPED, **options: Any) -> Any:
    """An instance; `marks` may be given as (open, close, to)."""
    module = sys.modules[loaded.make.__module__]
    if "marks" in options:
        pairs = [module.Mark(open=o, close=c, to=to) for o, c, to in options["marks"]]
        options = {**options, "marks": pairs}
    assert loaded.options is not None
    return instantiate(loaded, loaded.options(**options), Context("route"))


def answer(transform: Any, events: list[Event]) -> list[Event]:
    out = [said for event in events for said in transform.feed(event)]
    return [*out, *transform.finish()]


def merged(events: list[Event]) -> Said:
    """Text and reasoning with neighbours of one channel joined; other events by their name."""
    out: Said = []
    for event in events:
        kind = {TextDelta: "text", ReasoningDelta: "reasoning"}.get(
            type(event), type(event).__name__
        )
        text = getattr(event, "text", "")
        if isinstance(event, TextDelta) and not text:
            continue
        if out and out[-1][0] == kind and kind in ("text", "reasoning"):
            out[-1] = (kind, out[-1][1] + text)
        else:
            out.append((kind, text))
    return out


def said(loaded: Loaded, options: dict[str, Any], pieces: list[str]) -> Said:
    return merged(answer(make(loaded, **options), [TextDelta(0, piece) for piece in pieces]))


def cuts(text: str) -> list[list[str]]:
    """Whole, every two pieces, and character by character."""
    return [[text], *([text[:n], text[n:]] for n in range(len(text) + 1)), list(text)]


def failures(loaded: Loaded) -> Iterator[str]:
    """Everything this file knows about text, checked on one version of the transform."""
    for options, text, expected in CASES:
        for pieces in cuts(text):
            if said(loaded, options, pieces) != expected:
                yield f"{options} {pieces}"
    held = answer(make(loaded), [TextDelta(0, "<th"), ArgsDelta(1, "{}"), TextDelta(0, "x")])
    if merged(held) != [T("<th"), ("ArgsDelta", ""), T("x")]:
        yield "order"


@pytest.mark.rows("FL-23")
def test_every_case_holds_for_every_cut_of_its_text() -> None:
    assert list(failures(SHIPPED)) == []


MUTANTS = {
    "no hold-back": ("self._held = text[hit.start() :]", "out += self._say(text[hit.start() :])"),
    "hold-back lost at finish": ('rest, self._held = self._held, ""', 'rest, self._held = "", ""'),
    "close tag read as open": ("_finder([mark.close])) for", "_finder([mark.open])) for"),
    "prefix one too long": ("range(1, len(mark))", "range(2, len(mark))"),
    "prefix one too short": ("range(1, len(mark))", "range(1, len(mark) - 1)"),
    "prefix anywhere, not at the end": (r'+ r"\Z" for', '+ "" for'),
    "door never shut": ("            self._find = _nothing", "            pass"),
    "other events overtake": ("return [*self.finish(), event]", "return [event]"),
    "held text forgotten": ("self._held + event.text", "event.text"),
    "longer mark first": ("key=lambda mark: len", "key=lambda mark: -len"),
    "gap kept": ("if not self._inline:", "if not self._inline and hit[0] == sign:"),
    "inner space lost": ('"".join(space) + body', "body"),
    "space said twice": ("self._space = [text[len", "self._space = [*space, text[len"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_splitter_is_noticed(name: str) -> None:
    old, new = MUTANTS[name]
    source = PATH.read_text()
    assert source.count(old) == 1
    mutant = load("think_tags", source.replace(old, new).encode(), "mutant.py")
    try:
        assert next(failures(mutant), None) is not None
    finally:
        release(mutant.digest)


@given(
    text=st.lists(
        st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", *"</ta 你\n"]),
        max_size=12,
    ).map("".join),
    where=st.lists(st.integers(0, 60), max_size=6),
    options=st.fixed_dictionaries(
        {"anywhere": st.booleans(), "trim": st.booleans(), "inline": st.booleans(),
         "outside": st.sampled_from(["text", "reasoning", "drop"])}
    ),
)  # fmt: skip
def test_any_cut_of_any_text_gives_one_result(
    text: str, where: list[int], options: dict[str, Any]
) -> None:
    at = [0, *sorted(n for n in where if n < len(text)), len(text)]
    pieces = [text[a:b] for a, b in pairwise(at)]
    whole = said(SHIPPED, {**K2, **options}, [text])
    assert whole == said(SHIPPED, {**K2, **options}, pieces)
    assert whole == said(SHIPPED, {**K2, **options}, list(text))


@given(text=st.text(alphabet="<>/think a\n", max_size=40), anywhere=st.booleans())
def test_untrimmed_text_loses_nothing_but_marks_and_gaps(text: str, anywhere: bool) -> None:
    shown = "".join(piece for _, piece in said(SHIPPED, {"anywhere": anywhere}, list(text)))
    bare = text.replace("<think>", "").replace("</think>", "")
    left = shown.replace("<think>", "").replace("</think>", "")
    assert "".join(bare.split()) == "".join(left.split())


def test_never_more_is_held_than_a_possible_beginning_of_a_tag() -> None:
    transform = make()
    assert merged(transform.feed(TextDelta(0, "<think>so far <b>and</b> </th"))) == [
        R("so far <b>and</b> ")
    ]
    assert merged(transform.feed(TextDelta(0, "e"))) == [R("</the")]


def test_ordinary_text_passes_as_the_very_event_it_came_as() -> None:
    transform = make()
    first, second = TextDelta(0, "Hello", logprobs={"a": 1}), TextDelta(0, " <think>", logprobs=[])
    assert transform.feed(first)[0] is first
    assert transform.feed(second)[0] is second


@pytest.mark.parametrize(
    "event",
    [Open(1, Text("")), Close(0), ReasoningDelta(1, "r"), SignatureDelta(0, "s"),
     ArgsDelta(1, "{}"), Finish("stop"), ErrorEvent("truncated", "cut")],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_held_text_goes_out_before_content_and_the_end(event: Event) -> None:
    transform = make(anywhere=True)
    assert transform.feed(TextDelta(0, "a <th")) == [TextDelta(0, "a ")]
    assert transform.feed(event) == [TextDelta(0, "<th"), event]
    assert transform.finish() == []


@pytest.mark.parametrize(
    "event", [Ping(), UsageEvent(Usage(output=3)), Annotation({}), Start("id")], ids=repr
)
def test_events_beside_the_content_do_not_part_a_tag(event: Event) -> None:
    transform = make()
    out = answer(transform, [TextDelta(0, "<thi"), event, TextDelta(0, "nk>a")])
    assert out == [event, ReasoningDelta(0, "a")]


def test_a_blank_before_a_tool_call_does_not_shut_the_door() -> None:
    out = answer(make(), [TextDelta(0, "\n"), ArgsDelta(1, "{}"), TextDelta(2, "<think>a")])
    assert out == [TextDelta(0, "\n"), ArgsDelta(1, "{}"), ReasoningDelta(2, "a")]


def test_an_open_tag_lasts_over_blocks() -> None:
    events: list[Event] = [TextDelta(0, "<think>a"), Close(0), Open(1, Text("")), TextDelta(1, "b")]
    assert merged(answer(make(), events)) == [R("a"), ("Close", ""), ("Open", ""), R("b")]


@pytest.mark.parametrize("text", ["<", " ", "<think>x</think>", "<thin", "</", "a "])
def test_hostile_text_costs_linear_time(text: str) -> None:
    size = 100_000
    whole = text * (size // len(text))
    start = time.perf_counter()
    every: list[dict[str, Any]] = [{}, {"anywhere": True}, {"trim": True}]
    for options in every:
        said(SHIPPED, options, [whole])
        answer(make(**options), [TextDelta(0, piece) for piece in whole])
    assert time.perf_counter() - start < 15  # measured: below 1 s; quadratic would take minutes
