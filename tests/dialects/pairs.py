"""Which clients and upstreams a row of translation is about, and its tests run on these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from engine.dialects import DIALECTS
from tests.rows import known

from .crossing import RULES

Test = TypeVar("Test", bound=Callable[..., Any])
Pair = tuple[str, str]  # client, upstream
OTHERS = " but its own"  # a client's own dialect is no upstream of it
ALL = sorted(DIALECTS)
COVERED: dict[str, set[Pair]] = {}  # row -> the pairs that its tests run on
_PAIRS: dict[str, dict[str, str]] = known()["pairs"]


def pairs_of(ident: str) -> list[Pair]:
    """The pairs of a row, as tests/rows.yaml says."""
    sides = _PAIRS[ident]
    clients, upstreams = _named(sides["clients"]), _named(sides["upstreams"].removesuffix(OTHERS))
    apart = sides["upstreams"].endswith(OTHERS)
    pairs = ((client, upstream) for client in clients for upstream in upstreams)
    return [(client, upstream) for client, upstream in pairs if not (apart and client == upstream)]


def _named(words: str) -> list[str]:
    """`all -gemini rules`: every dialect but one, and rules."""
    given = words.split()
    out = [name for word in given for name in (ALL if word == "all" else [word])]
    gone = {word[1:] for word in given if word.startswith("-")}
    found = [name for name in out if not name.startswith("-") and name not in gone]
    assert {*found, *gone} <= {*ALL, RULES}, words
    return found


def row(
    ident: str, *, clients: tuple[str, ...] = (), upstreams: tuple[str, ...] = ()
) -> Callable[[Test], Test]:
    """A test of this row, run with `client` and `upstream` of its pairs; with these alone, if some
    are named."""
    chosen = [
        (client, upstream)
        for client, upstream in pairs_of(ident)
        if client in (clients or (client,)) and upstream in (upstreams or (upstream,))
    ]
    assert chosen, f"{ident} has no such pairs"
    COVERED.setdefault(ident, set()).update(chosen)

    def mark(test: Test) -> Test:
        on_pairs: Test = pytest.mark.parametrize(("client", "upstream"), chosen)(test)
        pytest.mark.rows(ident)(on_pairs)
        return on_pairs

    return mark
