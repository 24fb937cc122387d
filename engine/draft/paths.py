"""JSON as its leaves, each with the path by which a route would find it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[A-Za-z_]\w*")


def leaves(value: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """Each text, number, truth value and null, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, path + step(str(key)))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{at}]")
    else:
        yield path, value


def step(key: str) -> str:
    if _WORD.fullmatch(key):
        return f".{key}"
    return "['" + key.replace("\\", "\\\\").replace("'", "\\'") + "']"


def last(path: str) -> str:
    """The name of the field at the end of a path."""
    names = re.findall(r"\.(\w+)|\['(.+?)'\]", path)
    return (names[-1][0] or names[-1][1]) if names else ""


def bare(path: str) -> str:
    """A path as a selector has it: without `$.`"""
    return path.removeprefix("$.") if path.startswith("$.") else path
