"""Waiting times: where an answer says when to ask again, and in what words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .pick import PathError, compile_path

# What was answered (JSON, or its text where it is none), its headers by name, epoch seconds.
Header = Callable[[str], str | None]
Wait = Callable[[object, Header, float], float | None]

EPOCH = 1e9  # seconds: 2001; no wait is as long
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_SCALES = (0.001, 1.0, 60.0, 3600.0, 86400.0)  # of the units below, in their order
_PARTS = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*(?:(ms|milliseconds?)|(s|secs?|seconds?)|(m|mins?|minutes?)"
    r"|(h|hrs?|hours?)|(d|days?))(?![a-z])",
    re.I,
)


def compile_waits(sources: Sequence[str]) -> Wait:
    """The first of these sources that says a time. Each is well-formed: `bad_wait` says so."""
    waits = [_wait(source) for source in sources]

    def first(value: object, header: Header, now: float) -> float | None:
        found = (wait(value, header, now) for wait in waits)
        return next((seconds for seconds in found if seconds is not None), None)

    return first


def _wait(source: str) -> Wait:
    if source.startswith("header."):
        name = source.removeprefix("header.")
        return lambda value, header, now: seconds(header(name), now)
    if source.startswith("$"):
        find = compile_path(source).first
        return lambda value, header, now: seconds(find(value), now)
    constant = seconds(source, 0.0)
    return lambda value, header, now: constant


def bad_wait(source: str, *, headers: bool = True) -> str | None:
    """What is wrong with a word of `retry_after:`, or None. headers: there are some to look at."""
    if source.startswith("header.") and headers:
        return None
    if source.startswith("$"):
        try:
            compile_path(source)
        except PathError as error:
            return str(error)
        return None
    if seconds(source, 0.0) is not None:
        return None
    return f"neither {'`header.…`, a path' if headers else 'a path'} nor a duration"


def header_wait(header: Header, now: float) -> float | None:
    """What the usual headers say."""
    milliseconds = seconds(header("retry-after-ms"), now)
    if milliseconds is not None:
        return milliseconds / 1000
    return seconds(header("retry-after"), now)


def seconds(value: object, now: float) -> float | None:
    """Seconds to wait: a number, `6m0s`, `800ms`, `1 hour 5 min`, an HTTP date (RFC 9110 §10.2.3)
    or an ISO one.

    A number as large as today's epoch seconds or milliseconds is a moment, not a wait.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    if _NUMBER.fullmatch(text):
        return _until(float(text), now)
    if text and not _PARTS.sub("", text):
        total = sum(
            float(hit[1]) * _SCALES[int(hit.lastindex or 2) - 2] for hit in _PARTS.finditer(text)
        )
        return total if total < EPOCH else None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with contextlib.suppress(ValueError, OverflowError):
            moment = read(text)
            whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return max(0.0, whole.timestamp() - now)
    return None


def _until(number: float, now: float) -> float | None:
    if number >= EPOCH * 1000:
        number /= 1000
    if number >= EPOCH:
        number -= now
    return max(0.0, number) if number < EPOCH else None
