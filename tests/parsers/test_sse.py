"""Server-sent events, as records and as whole frames."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.parsers import sse
from engine.parsers.sse import SseFrames, SseParser
from engine.wire import Record
from tests.kit import cuts, deliver
from tests.parsers.case import Case, rec
from tests.parsers.cases_sse import SSE


@pytest.mark.parametrize("case", SSE, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(sse)


one_line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
newline = st.sampled_from(["\n", "\r\n", "\r"])
event = st.tuples(one_line, st.lists(one_line, min_size=1, max_size=3), st.booleans())


def encode(events: list[tuple[str, list[str], bool]], end: str) -> bytes:
    lines: list[str] = []
    for name, data, comment in events:
        lines += [f"event: {name}"] + [": a comment"] * comment
        lines += [f"data: {text}" for text in data] + [""]
    return "".join(line + end for line in lines).encode()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(event, max_size=5), newline, st.randoms(use_true_random=False))
def test_what_is_encoded_comes_back(
    events: list[tuple[str, list[str], bool]], end: str, draw: random.Random
) -> None:
    data = encode(events, end)
    expected = [Record(name, "\n".join(lines).encode()) for name, lines, _ in events]
    places = sorted(draw.choices(range(len(data) + 1), k=6))
    pieces = [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]
    assert (expected, "") == deliver(SseParser(), pieces)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from([b"data: a", b":", b"\r", b"\n", b"\r\n", b"e"]), max_size=12))
def test_any_mix_of_newlines_is_cut_alike(parts: list[bytes]) -> None:
    data = b"".join(parts)
    records = deliver(SseParser(), [data])
    frames = deliver(SseFrames(), [data])
    for pieces in cuts(data):
        assert records == deliver(SseParser(), pieces)
        assert frames == deliver(SseFrames(), pieces)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.lists(st.sampled_from([b"data: a", b"event: x", b":", b"\r", b"\n", b"\r\n"]), max_size=12)
)
def test_frames_hold_all_that_records_hold(parts: list[bytes]) -> None:
    data = b"".join(parts)
    frames, _ = deliver(SseFrames(), [data])
    assert deliver(SseParser(), [data]) == deliver(SseParser(), frames)


def test_a_long_line_in_small_pieces_takes_linear_time() -> None:
    """Quadratic work would copy 50 GB here and run into the time limit."""
    parser = SseParser()
    for _ in range(320_000):
        parser.feed(b"d")
    assert parser.feed(b"\ndata:") == []
    for _ in range(320_000):
        parser.feed(b"x")
    assert [rec(b"x" * 320_000)] == parser.feed(b"\n\n")


def test_four_mebibytes_of_one_event_pass() -> None:
    body = b"data: " + b"x" * (4 << 20) + b"\n\n"
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    assert ([rec(b"x" * (4 << 20))], "") == deliver(SseParser(), pieces)


def test_a_dripping_half_frame_is_no_sign_of_life() -> None:
    parser = SseParser()
    for byte in b"data: never ending":
        parser.feed(bytes([byte]))
    assert parser.frames == 0
    parser.feed(b"\n\n:\n\n")
    assert parser.frames == 2


def test_a_fault_is_raised_again() -> None:
    parser = SseParser(limit=4)
    for _ in range(2):
        with pytest.raises(ValueError, match="larger than 4 bytes"):
            parser.feed(b"12345")
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        parser.finish()
