"""YAML as people write it: short maps on one line, double quotes, comments at the ends of lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WIDTH = 96
_PLAIN = re.compile(r"[A-Za-z_$/][\w$./()@+;=<>|!-]*(?: [\w$./()@+;=<>|!-]+)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # to some reader of YAML
_URL = re.compile(r"https?://[\w./-]+(?::\d+[\w./-]*)?")
_UNSAFE = re.compile(
    "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with a comment behind it."""

    value: Any
    why: str


def bare(value: Any) -> Any:
    """The same tree without its comments."""
    if isinstance(value, Noted):
        return bare(value.value)
    if isinstance(value, dict):
        return {key: bare(inner) for key, inner in value.items()}
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def notes(value: Any) -> Iterator[str]:
    """The comments of a tree, in the order of its lines."""
    if isinstance(value, Noted):
        yield value.why
        yield from notes(value.value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from notes(inner)


def written(tree: dict[str, Any]) -> str:
    """The file's text."""
    return "".join(f"{line}\n" for line in _block(tree, ""))


def _block(value: Any, pad: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(f"{pad}{scalar(key)}:", inner, pad)
    else:
        for inner in value:
            first, *rest = _entry(f"{pad}-", inner, pad)
            if isinstance(_value(inner), dict) and rest and first.strip() == "-":
                first, rest = f"{pad}- {rest[0].lstrip()}", rest[1:]
            yield first
            yield from rest


def _value(inner: Any) -> Any:
    return inner.value if isinstance(inner, Noted) else inner


def _entry(head: str, inner: Any, pad: str) -> Iterator[str]:
    value = _value(inner)
    why = f" # {printable(inner.why)}" if isinstance(inner, Noted) else ""
    flat = None if any(True for _ in notes(value)) else _flow(value)
    if flat is not None and (len(head) + len(flat) < WIDTH or not isinstance(value, dict | list)):
        yield f"{head} {flat}{why}"
    else:
        yield head + why
        yield from _block(value, pad + "  ")


def _flow(value: Any, depth: int = 2) -> str | None:
    """A value on one line; None if that is too much for one. depth: of maps in one another."""
    if isinstance(value, dict) and value:
        inner = [(key, _flow(each, depth - 1)) for key, each in value.items()]
        if not depth or len(inner) > 6 or any(flat is None for _, flat in inner):
            return None
        return f"{{ {', '.join(f'{scalar(key)}: {flat}' for key, flat in inner)} }}"
    if isinstance(value, list):
        flats = [_flow(each, depth) for each in value]
        if None in flats or any(isinstance(each, dict) and each for each in value):
            return None
        return f"[{', '.join(map(str, flats))}]"
    return scalar(value)


def printable(text: str) -> str:
    """A text on one line, without what a file or a terminal would not show."""
    return _UNSAFE.sub("?", text)


def scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
    if _URL.fullmatch(value) or (plain and not _UNSAFE.search(value)):
        return value
    if not _UNSAFE.search(value) and "'" not in value and ("\\" in value or '"' in value):
        return f"'{value}'"
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNSAFE.sub(lambda hit: f"\\U{ord(hit[0]):08x}", quoted)
