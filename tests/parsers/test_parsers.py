"""The table of framings and what holds for each of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine.parsers
from engine.parsers import MAX_FRAME, PARSERS, FramingError, SseFrames
from engine.parsers.aws_eventstream import AwsEventstream
from engine.parsers.frames import AnswerFrames
from engine.parsers.ndjson import NdjsonFrames
from engine.parsers.sse import Sse
from engine.parsers.websocket import Websocket
from engine.wire import Record


def test_each_word_has_its_file() -> None:
    folder = Path(engine.parsers.__file__).parent
    assert [word for word in PARSERS if not (folder / f"{word}.py").exists()] == []


def test_the_words_are_those_of_the_language() -> None:
    lines = {"sse", "ndjson", "json_array", "json", "text", "lines"}
    assert {*lines, "frames", "aws_eventstream", "websocket"} == set(PARSERS)


@pytest.mark.parametrize("word", PARSERS)
def test_a_fresh_parser_has_seen_nothing_and_gives_nothing(word: str) -> None:
    kind = PARSERS[word]
    for options in (None, kind.options() if kind.options else None):
        parser = kind.make(options)
        assert parser.frames == 0
        assert parser.feed(b"") + parser.finish() == []
        assert parser.frames == 0


@pytest.mark.parametrize("word", PARSERS)
def test_each_make_gives_a_parser_of_its_own(word: str) -> None:
    make = PARSERS[word].make
    assert make(None) is not make(None)


PIECES = [
    b"data: 1\n\n", b"data: 22\n\n", b"data: 1\r\n\r\n", b"data: 1\n", b"\n", b"\r", b"\r\n", b"",
    b": ping\n\n", b"event: a\ndata: 1\n\n", b"data: 1\n\ndata: 2\n\n", b"data:1\n\n",
    b"\xef\xbb\xbf",
    b"1\n", b'{"a":1}\n', b"1\r\n", b"1\r", b"1", b" \n", b"1\n2\n", b"x" * 40 + b"\n",
]  # fmt: skip


@pytest.mark.parametrize("word", ["sse", "ndjson"])
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_a_chunk_that_is_one_frame_is_known_and_left_to_be_read(
    word: str, pieces: list[bytes]
) -> None:
    kind, limit = PARSERS[word], 32
    asked, plain = kind.make(None, limit), kind.make(None, limit)
    one: Callable[[bytes], bytes | None] = asked.one  # type: ignore[attr-defined]
    for piece in pieces:
        try:
            wanted = plain.feed(piece)
        except FramingError:
            assert one(piece) is None
            break
        frames, line = asked.frames, one(piece)
        assert wanted == asked.feed(piece)
        if line is not None and line.strip():
            assert [Record("", line)] == wanted
            assert frames + 1 == asked.frames


@pytest.mark.parametrize(("word", "frame"), [("sse", b"data: 1\n\n"), ("ndjson", b"1\n")])
def test_behind_the_first_chunk_one_frame_is_known(word: str, frame: bytes) -> None:
    parser: Any = PARSERS[word].make(None)
    parser.feed(frame)
    assert b"1" == parser.one(frame)


def test_what_is_decoded_by_whom() -> None:
    text = {word for word, kind in PARSERS.items() if kind.decodes == "text"}
    assert {"text", "lines"} == text
    sample = {word: kind.make(None).feed(b"a\n") for word, kind in PARSERS.items() if word in text}
    assert {word: [record.value for record in records] for word, records in sample.items()} == {
        "text": ["a\n"],
        "lines": ["a"],
    }


def test_options_belong_to_four_kinds() -> None:
    with_options = {word: kind.options for word, kind in PARSERS.items() if kind.options}
    wanted = {
        "sse": Sse,
        "frames": AnswerFrames,
        "aws_eventstream": AwsEventstream,
        "websocket": Websocket,
    }
    assert wanted == with_options


@pytest.mark.parametrize("word", ["sse", "ndjson", "json_array", "json", "lines"])
def test_endless_bytes_are_refused_at_the_limit(word: str) -> None:
    for parser, limit in ((PARSERS[word].make(None), MAX_FRAME), (PARSERS[word].make(None, 9), 9)):
        assert parser.feed(b'"' + b"x" * (limit - 1)) == []
        with pytest.raises(FramingError):
            parser.feed(b"x")


@pytest.mark.parametrize("word", ["frames", "aws_eventstream"])
def test_a_length_above_the_limit_is_refused_before_its_bytes_come(word: str) -> None:
    sizes = (20).to_bytes(4, "big") + bytes(4)
    head = sizes + zlib.crc32(sizes).to_bytes(4, "big")
    assert PARSERS[word].make(None, 20).feed(head) == []
    with pytest.raises(FramingError):
        PARSERS[word].make(None, 19).feed(head)


def test_events_and_lines_are_split_for_pass_through() -> None:
    assert {"sse": SseFrames, "ndjson": NdjsonFrames} == {
        word: kind.frames for word, kind in PARSERS.items() if kind.frames
    }


def test_the_frame_splitter_counts_as_a_parser_does() -> None:
    splitter = SseFrames()
    assert splitter.feed(b":\n\n") == [b":\n\n"]
    assert splitter.frames == 1
