"""Length-prefixed frames, binary and in decimal."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.parsers import frames
from engine.parsers.frames import AnswerFrames, Frames, frames_parser, framing, utf16_units
from engine.wire import Record
from tests.kit import deliver
from tests.parsers.case import Case, rec
from tests.parsers.cases_binary import DECIMAL, FRAMES
from tests.parsers.wire_forms import connect, decimal, u32


@pytest.mark.parametrize("case", FRAMES + DECIMAL, ids=lambda case: case.name)
def test_cut_anywhere(case: Case) -> None:
    case.run(frames)


def cut(data: bytes, draw: random.Random) -> list[bytes]:
    places = sorted(draw.choices(range(len(data) + 1), k=6))
    return [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]


def test_a_payload_may_be_text() -> None:
    data = u32(b"aGk=") + u32("½".encode()[:1])
    records, _ = deliver(frames_parser(AnswerFrames(text=True)), [data[:6], data[6:]])
    assert ["aGk=", "\ufffd"] == [record.value for record in records]


randoms = st.randoms(use_true_random=False)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=5), randoms)
def test_binary_frames_come_back(sent: list[tuple[int, bytes]], draw: random.Random) -> None:
    data = b"".join(connect(payload, flag) for flag, payload in sent)
    expected = [Record(str(flag), payload) for flag, payload in sent]
    assert (expected, "") == deliver(frames_parser(Frames(flags=True)), cut(data, draw))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(texts, max_size=5), st.integers(0, 2), randoms)
def test_decimal_frames_come_back(sent: list[str], counted: int, draw: random.Random) -> None:
    payloads = [json.dumps([text], ensure_ascii=False) for text in sent]
    data = b"".join(decimal(payload, counted) for payload in payloads)
    expected = [Record("", payload.encode()) for payload in payloads]
    parser = frames_parser(Frames(length="decimal-line"))
    assert (expected, "") == deliver(parser, cut(data, draw))


@settings(deadline=None, max_examples=100, derandomize=True)
@given(texts, st.integers(0, 48))
def test_units_are_those_of_utf_16_in_pieces_too(text: str, place: int) -> None:
    data = text.encode()
    expected = len(text.encode("utf-16-le")) // 2
    assert expected == utf16_units(data[:place]) + utf16_units(data[place:])


def test_options_that_do_not_go_together_are_refused() -> None:
    for options in (
        Frames(length="decimal-line", crc=True),
        Frames(length="decimal-line", flags=True),
    ):
        with pytest.raises(ValueError, match="need a binary length"):
            frames_parser(options)


def test_a_long_frame_in_small_pieces_takes_linear_time() -> None:
    """Quadratic work would copy or count 30 GB here and run into the time limit."""
    size = 250_000
    for options, head in (
        (Frames(), size.to_bytes(4, "big")),
        (Frames(length="decimal-line"), b"250001\n"),
    ):
        parser = frames_parser(options)
        assert parser.feed(head) == []
        for _ in range(size - 1):
            parser.feed(b"x")
        last = b"x" if options.length == "u32be" else b"x\n"
        assert [rec(b"x" * size)] == parser.feed(last)


@pytest.mark.parametrize(
    ("options", "frame"),
    [
        (Frames(flags=True), connect(b"{}")),
        (Frames(), b"\0\0\0\2{}"),
        (Frames(length="u32le"), b"\2\0\0\0{}"),
        (Frames(crc=True), u32(b"{}", check=True)),
    ],
)
def test_a_body_is_put_into_a_frame_that_reads_back(options: Frames, frame: bytes) -> None:
    framed = framing(options)(b"{}")
    assert framed == frame
    assert [record.data for record in frames_parser(options).feed(framed)] == [b"{}"]


def test_a_body_goes_into_no_line_of_digits() -> None:
    with pytest.raises(ValueError, match="binary length"):
        framing(Frames(length="decimal-line"))
