"""What a message says beside what is wrong: the word that was meant. And what is no news."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator

from engine.errors import Problem

# What others call things that have a name of their own here.
_ALSO = {
    "json_lines": "ndjson", "jsonl": "ndjson", "jsonlines": "ndjson", "ldjson": "ndjson",
    "event_stream": "sse", "eventstream": "sse", "text/event_stream": "sse", "ws": "websocket",
    "body": "json", "cookies": "cookie", "headers": "header", "token": "bearer", "url": "base_url",
    "class": "as", "as": "class", "name": "id", "event_name": "event", "route": "to",
    "thinking": "reasoning", "thought": "reasoning", "separator": "split", "delimiter": "split",
    "accounts": "from", "signature": "value", "verb": "method", "secret": "key",
}  # fmt: skip


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` for the nearest known word, or the list of a few, or nothing."""
    words = sorted(known)
    few = f"; known here: {', '.join(words)}" if words and len(words) <= 12 else ""
    return nearest(word, words) or few


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` for the nearest known word, or nothing."""
    near = meant(word, list(known))
    return f"; did you mean `{near}`?" if near is not None else ""


def meant(word: str, known: Collection[str]) -> str | None:
    """The known word that is nearest to another one, if one is near."""
    also = _ALSO.get(word.lower().replace("-", "_"))
    if also in known:
        return also
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.85)
    near = near or _of_its_parts(word, known)
    near = near or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    near = near or [each for each in known if each.lower() == word.lower()]
    return near[0] if near else None


def _of_its_parts(word: str, known: Collection[str]) -> list[str]:
    """Known words made of parts of the word: `snapshot_tolerant` of `tolerant_snapshot`."""
    parts = set(re.split("[-_]", word.lower()))
    made = [each for each in known if each and set(each.lower().split("_")) <= parts]
    return sorted(made, key=len, reverse=True) if len(parts) > 1 else []


def akin(word: str, known: Collection[str]) -> bool:
    """Whether a known word is this one mistyped, another form of it, or what it means here."""
    near = meant(word, known)
    if near is None:
        return False
    plain, other = word.lower().replace("-", "_"), near.lower()
    if _ALSO.get(plain) == near or sorted(plain) == sorted(other):
        return True
    return plain.startswith(other) or other.startswith(plain)


def as_list(place: str, variants: Collection[str], word: str) -> str:
    """How a list is written where only the map of one of its variants was given, or a word."""
    key = place.rpartition(".")[2]
    if key in variants:
        return f" (here: `[{{ {key}: … }}]`)"
    return f" (here: `[{word}]`)" if re.fullmatch(r"[\w./-]{1,40}", word) else ""


_UNRESOLVED = ("E201", "E202", "E203")


def without_echoes(problems: list[Problem]) -> Iterator[Problem]:
    """Without what says nothing new of a place.

    Where a reference could not be resolved, its text fits no type either. Where a word is wrong,
    other tools need not read it.
    """
    unresolved = {_place(each) for each in problems if each.code in _UNRESOLVED}
    wrong = {_place(each) for each in problems if each.severity == "error"}
    for problem in problems:
        if problem.code == "W004" and _place(problem) in wrong:
            continue
        if problem.code in _UNRESOLVED or _place(problem) not in unresolved:
            yield problem


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column
