"""Files of credentials: text to entries, each with the line it stands on.

What is wrong with a line is told without quoting it. YAML is read on the floor above, with the
loader that also reads routes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from engine.wire import JsonError, loads

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One account as a file has it: a text, or an object."""

    line: int
    value: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that cannot be read; `why` is the end of a sentence."""

    line: int
    why: str


Entries = Iterator[Entry | Bad]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that say something: neither blank nor a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def lines(text: str) -> Entries:
    """One credential a line; blank lines and `#` comments do not count."""
    return (Entry(number, line) for number, line in _lines(text))


def jsonl(text: str) -> Entries:
    """One JSON object or text a line."""
    for number, line in _lines(text):
        try:
            yield Entry(number, loads(line.encode()))
        except JsonError:
            yield Bad(number, "is not JSON")


def whole_json(text: str) -> Entries:
    """An object, or a list of objects and texts."""
    try:
        value = json.loads(text)
    except ValueError as error:
        yield Bad(getattr(error, "lineno", 1), "is not JSON")
        return
    yield from (Entry(1, item) for item in (value if isinstance(value, list) else [value]))


def env(text: str) -> Entries:
    """`NAME=value` lines: together one account, its parts named as they are."""
    parts: dict[str, str] = {}
    for number, line in _lines(text):
        hit = _ASSIGNMENT.fullmatch(line)
        if hit is None:
            yield Bad(number, "is not `NAME=value`")
            return
        parts[hit[1]] = _unquoted(hit[2].strip())
    if parts:
        yield Entry(1, parts)


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


FORMATS: dict[str, Callable[[str], Entries]] = {
    "lines": lines,
    "json": whole_json,
    "jsonl": jsonl,
    "env": env,
}
