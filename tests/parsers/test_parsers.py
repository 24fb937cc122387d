"""The table of framings and what holds for each of them."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import engine.parsers
from engine.parsers import MAX_FRAME, PARSERS, FramingError, SseFrames
from engine.parsers.aws_eventstream import AwsEventstream
from engine.parsers.frames import AnswerFrames
from engine.parsers.ndjson import NdjsonFrames
from engine.parsers.sse import Sse
from engine.parsers.websocket import Websocket


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
