"""The log: one line per event on stderr, JSON or for humans, and what the exchange reports.

`Logger.write` only puts the values into a queue; a thread of its own makes the lines, takes the
secrets out and writes them together, so that neither formatting nor a blocked terminal stops a
request. Lines hold names, numbers and error messages, never what a conversation says.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, Literal

import orjson

from engine.dialects.outcomes import shorten

from .redact import Redactor

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["human", "json", "auto"]
Entry = tuple[float, str, str, Mapping[str, object], bool]  # as `write` gets them, with the time

RANKS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
PAUSE = 0.05  # seconds between two writes: lines of a burst go out together
BATCH = 64  # lines made in one go; between two batches the event loop gets its turn
WAITING = 20_000  # lines; beyond that the log is not read fast enough and lines are dropped
LONGEST = 500  # characters of one text


class Logger:
    """Writes events of `level` and above. `close()` writes what is left.

    format "auto" is human on a terminal and JSON elsewhere; now gives epoch seconds.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        format: Format = "auto",
        level: Level = "info",
        redactor: Redactor | None = None,
        stream: BinaryIO | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.dropped = 0
        self._now = now
        self._stream = stream or sys.stderr.buffer
        human = format == "human" or (format == "auto" and self._stream.isatty())
        self._line = human_line if human else json_line
        self._least = RANKS[level]
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="penstock-log", daemon=True)
        self._thread.start()

    def wants(self, level: str) -> bool:
        return RANKS[level] >= self._least

    def write(
        self,
        level: str,
        event: str,
        fields: Mapping[str, object],
        *,
        own: bool = False,
        at: float | None = None,
    ) -> None:
        """Note an event of now, or of `at`. Never blocks; `fields` must not be changed afterwards.

        own: every text in it is the engine's own or cleaned already, so that none is searched for
        secrets: that costs more than all else about a line.
        """
        if RANKS[level] < self._least:
            return
        if self._queue.qsize() >= WAITING:
            self.dropped += 1
            return
        self._queue.put((self._now() if at is None else at, level, event, fields, own))

    def debug(self, event: str, **fields: object) -> None:
        self.write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self.write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self.write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self.write("error", event, fields)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(5)

    # ---- the writing thread ----

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._queue.get()]
            if batch[0] is not None:
                time.sleep(PAUSE)
            while batch and going:
                going = self._emit(batch)
                batch = self._more()

    def _more(self) -> list[Entry | None]:
        batch: list[Entry | None] = []
        with contextlib.suppress(Empty):
            while len(batch) < BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _emit(self, batch: list[Entry | None]) -> bool:
        """Write these lines; False when the log was closed among them."""
        entries = [entry for entry in batch if entry is not None]
        going = len(entries) == len(batch)
        dropped, self.dropped = self.dropped, 0
        if dropped:
            lost = {"lines_dropped": dropped}
            entries.append((self._now(), "warning", "log_overrun", lost, True))
        try:
            self._stream.write(b"".join([self._cleaned(*entry) for entry in entries]))
            self._stream.flush()
        except Exception:  # nobody reads the log, or a line cannot be made: that stops no request
            self.dropped += len(entries)
        return going

    def _cleaned(
        self, at: float, level: str, event: str, fields: Mapping[str, object], own: bool
    ) -> bytes:
        line = self._line(at, level, event, fields)
        return line if own else self.redactor.clean(line)


def json_line(at: float, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    try:
        rest = orjson.dumps(fields, default=plain)
    except TypeError:  # what orjson refuses: integers beyond 64 bits, lone surrogates
        rest = json.dumps(fields, default=plain, skipkeys=True).encode()
    head = f'{{"time":"{_stamp(at)}","level":"{level}","event":"{event}"{"," if fields else ""}'
    return head.encode() + rest[1:] + b"\n"


def human_line(at: float, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    pairs = " ".join(f"{key}={_word(value)}" for key, value in fields.items())
    line = f"{_stamp(at)} {level:<7} {event:<9} {pairs}".rstrip()
    return line.encode("utf-8", "backslashreplace") + b"\n"


def plain(value: object) -> object:
    """What stands in a line for a value that is neither text nor number."""
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    return shorten(str(value), LONGEST)


def where(error: BaseException) -> str:
    """Where an exception was raised: the last places it came through, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


def _stamp(at: float) -> str:
    second = int(at)
    return f"{_second(second)}.{str(1000 + int((at - second) * 1000))[1:]}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def _word(value: object) -> str:
    """One value on a human line; quoted when it would not be one word."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = value if isinstance(value, str) else str(plain(value))
    one = text.isprintable() and " " not in text and '"' not in text and text != ""
    return text if one else json.dumps(text, ensure_ascii=False)


class Bridge(logging.Handler):
    """Brings what libraries say through `logging` into the log."""

    def __init__(self, logger: Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": _message(record)}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            fields |= {"error": error, "where": where(error)}
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._logger.write(level, "library", fields)


def _message(record: logging.LogRecord) -> str:
    try:
        return shorten(record.getMessage(), LONGEST)
    except (TypeError, ValueError):  # a library's format does not fit its arguments
        return shorten(str(record.msg), LONGEST)


def take_over(logger: Logger) -> None:
    """From now on warnings and errors of libraries go to this log, and nowhere else."""
    logging.basicConfig(handlers=[Bridge(logger)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
