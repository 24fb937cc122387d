from __future__ import annotations

import io
import json
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from engine.options import Secret
from engine.shell.log import WAITING, Bridge, Logger, human_line, json_line, take_over, where
from engine.shell.redact import Redactor

AT = 1_772_366_400.25  # 2026-03-01T12:00:00.25Z


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def written(out: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def logger(out: io.BytesIO, **options: Any) -> Logger:
    return Logger(lambda: AT, stream=out, **options)


def test_an_event_is_one_json_object_on_one_line() -> None:
    out = io.BytesIO()
    log = logger(out)
    log.info("started", port=8080, note="two\nlines", nothing=None)
    log.close()
    assert out.getvalue().count(b"\n") == 1
    assert written(out) == [
        {
            "time": "2026-03-01T12:00:00.250Z",
            "level": "info",
            "event": "started",
            "port": 8080,
            "note": "two\nlines",
            "nothing": None,
        }
    ]


def test_lines_keep_their_order() -> None:
    out = io.BytesIO()
    log = logger(out)
    for at in range(1000):
        log.info("n", at=at)
    log.close()
    assert [line["at"] for line in written(out)] == list(range(1000))


def test_lines_are_written_without_closing() -> None:
    out = io.BytesIO()
    log = logger(out)
    log.error("now")
    until = time.monotonic() + 5
    while not out.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    assert written(out)[0]["event"] == "now"
    log.close()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("error", ["error"]),
    ],
)
@pytest.mark.rows("K2-31")
def test_only_the_level_and_above_is_written(level: str, expected: list[str]) -> None:
    out = io.BytesIO()
    log = logger(out, level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    log.close()
    assert [line["event"] for line in written(out)] == expected
    assert log.wants("info") is (level != "error")


def test_auto_is_for_humans_on_a_terminal_and_json_elsewhere() -> None:
    for out, human in ((Terminal(), True), (io.BytesIO(), False)):
        log = logger(out, format="auto")
        log.info("started")
        log.close()
        assert out.getvalue().startswith(b"{") is not human


def test_a_human_line_quotes_what_is_not_one_word() -> None:
    fields = {"route": "openai", "error": 'no "way"\nout', "n": 1.5, "yes": True, "none": None}
    line = human_line(AT, "warning", "request", fields).decode()
    assert line == (
        "2026-03-01T12:00:00.250Z warning request   "
        'route=openai error="no \\"way\\"\\nout" n=1.5 yes=true none=null\n'
    )


@pytest.mark.parametrize("make", [json_line, human_line])
def test_values_of_any_kind_make_one_line(make: Any) -> None:
    fields = {
        "secret": Secret("0123456789abcdef", "env:K"),
        "error": ValueError("what the user said"),
        "bytes": b"what the user said",
        "huge": 2**80,
        "surrogate": "\ud800",
        "list": [Secret("0123456789abcdef", "env:K")],
        "escape": "\x1b[31m",
    }
    line = make(AT, "info", "odd", fields)
    assert line.count(b"\n") == 1
    assert b"0123456789abcdef" not in line
    assert b"what the user said" not in line
    assert b"\x1b" not in line
    assert b"ValueError" in line


def test_known_secrets_are_taken_out_of_every_line() -> None:
    out, redactor = io.BytesIO(), Redactor()
    redactor.add(Secret("0123456789abcdef", "env:K"))
    for form in ("json", "human"):
        log = logger(out, format=form, redactor=redactor)
        log.info("said", error="bad key 0123456789abcdef")
        log.close()
    assert out.getvalue().count("«env:K»".encode()) == 2
    assert b"0123456789abcdef" not in out.getvalue()


class Stuck(io.BytesIO):
    """A terminal that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, data: Any) -> int:
        self.go.wait(10)
        return super().write(data)


def test_a_blocked_terminal_blocks_nobody_and_lines_are_counted_as_dropped() -> None:
    out = Stuck()
    log = logger(out)
    begun = time.monotonic()
    for at in range(WAITING + 1000):
        log.info("n", at=at)
    assert time.monotonic() - begun < 5
    assert log.dropped > 0
    out.go.set()
    log.close()
    lines = written(out)
    told = [line["lines_dropped"] for line in lines if line["event"] == "log_overrun"]
    assert sum(told) + sum(line["event"] == "n" for line in lines) == WAITING + 1000


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    out = io.BytesIO()
    log = logger(out)
    out.close()
    log.info("lost")
    log.close()


def test_where_names_the_place_and_not_the_text() -> None:
    try:
        int("what the user said")
    except ValueError as error:
        place = where(error)
    assert "test_log.py:" in place
    assert place.endswith(" test_where_names_the_place_and_not_the_text")


@pytest.fixture
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_logging")
def test_what_libraries_say_goes_to_the_log() -> None:
    out = io.BytesIO()
    log = logger(out)
    logging.captureWarnings(False)  # a gateway of another test may have left it on
    take_over(log)
    library = logging.getLogger("aiohttp.server")
    library.info("chatter")
    library.warning("slow %s", "peer")
    try:
        raise KeyError("what the user said")
    except KeyError:
        library.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated", stacklevel=1)
    log.close()
    lines = written(out)
    assert [(line["level"], line["message"]) for line in lines[:2]] == [
        ("warning", "slow peer"),
        ("error", "failed"),
    ]
    assert lines[1]["error"] == "KeyError"
    assert "test_log.py:" in lines[1]["where"]
    assert "deprecated" in lines[2]["message"]
    assert b"what the user said" not in out.getvalue()


def test_a_library_that_formats_badly_is_logged_all_the_same() -> None:
    out = io.BytesIO()
    log = logger(out)
    record = logging.LogRecord("lib", logging.ERROR, "", 0, "%d items", ("many",), None)
    Bridge(log).emit(record)
    log.close()
    assert written(out)[0]["message"] == "%d items"
