"""Calls spoken in text: what the corpus of tests/transforms does not reach, and seeded faults."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import engine.spoken
from engine.spoken import MOST_HELD, Balance, SpokenCall, SpokenCalls, repair_json
from tests.transforms.test_prompted_tools import CORPUS, TOOLS, ways

SOURCE = Path(engine.spoken.__file__).read_text("utf-8")


def test_a_balance_goes_on_where_it_stopped() -> None:
    text = '{"a": "}\\"", "b": [{}]} rest'
    for step in (1, 2, 3, len(text)):
        balance = Balance(0)
        ends = [balance.look(text[:at]) for at in range(step, len(text) + step, step)]
        assert 23 == ends[-1]


def test_what_is_too_long_for_a_call_is_text() -> None:
    text = '{"name": "run", "arguments": {"command": "' + "x" * MOST_HELD
    calls = SpokenCalls(lambda found: True)
    out = calls.feed(text)
    assert text == "".join(str(piece) for piece in out)


def test_long_arguments_in_small_pieces_cost_linear_time() -> None:
    body = '{"name": "run", "arguments": {"command": "' + "x\\n" * 40_000 + '"}}'
    looked = 0

    class Counting(str):
        __slots__ = ()

    calls = SpokenCalls(lambda found: True)
    for at in range(0, len(body), 8):
        calls.feed(Counting(body[at : at + 8]))
        candidate = calls._candidate
        if candidate is not None and 0 in candidate.balances:
            assert candidate.balances[0].at >= looked
            looked = candidate.balances[0].at
    assert looked > 100_000
    assert [SpokenCall("run", {"command": "x\n" * 40_000})] == calls.feed("", over=True)


def test_json_that_is_right_is_not_mended() -> None:
    assert {"a": 12345678901234567890123} == repair_json('{"a": 12345678901234567890123}')
    assert {"a": "b"} == repair_json("{a: 'b',}")
    assert repair_json("no JSON at all") is None
    assert repair_json(" ") is None


# ---- seeded faults ----

MUTANTS: dict[str, tuple[str, str]] = {
    "an opener cut in two is missed": ("for n in range(1, len(mark))]", "for n in range(0)]"),
    "words behind a call mean nothing": ('behind[1] in ("", "\\n", "{", "<")', "True"),
    "fences of any language are read": ("info[1].strip().lower() not in FENCES", "False"),
    "a fence in a string ends the fence": ("and balance.quoted", "and False"),
    "a tag in a string ends the call": ("return not self._quotes(value, at)", "return True"),
    "any tag behind a string's ends the call": ("            return True\n        return False",
        "            return True\n        return True"),
    "strings do not quote brackets": ("self.quoted = True\n            return", "return"),
    "an escaped quote ends a string": (r'(?:[^"\\]|\\.)*+', r'[^"]*+'),
    "the rest of a refused call is lost": (
        "return self._say(end)\n        if calls",
        "self._drop(end)\n            return True\n        if calls",
    ),
    "a section's mark is text": ('self._mark, self._behind = "", True', "self._behind = True"),
    "a mark that stands alone is lost": ("self._mark += self._held[:end]", "pass"),
    "only one call of a section": (
        "[call for item in value for call in calls_of(item)]", "calls_of(value[0])",
    ),
    "numbers of calls stay in their names": (r're.sub(r":\d+$", "", name)', "name"),
    "broken JSON is given up": ("mended: object = json_repair.loads(text)", "return None"),
    "a fence's end is believed too early": (
        "if hit.end() == len(self.text) and not self.over", "if False",
    ),
}  # fmt: skip


def _mutant(old: str, new: str) -> ModuleType:
    assert 1 <= SOURCE.count(old), f"{old!r} is gone"
    module = ModuleType("engine.spoken_mutant")
    module.__package__ = "engine"
    sys.modules[module.__name__] = module
    exec(compile(SOURCE.replace(old, new), "mutant", "exec"), module.__dict__)
    return module


def _read(module: Any, pieces: list[str]) -> Any:
    names = {tool.name for tool in TOOLS}
    calls = module.SpokenCalls(
        lambda found: all(call.name.removeprefix("functions.") in names for call in found)
    )
    out = [found for piece in pieces for found in calls.feed(piece)]
    out += calls.feed("", over=True)
    text = "".join(piece for piece in out if isinstance(piece, str))
    return text, [(call.name, call.args) for call in out if not isinstance(call, str)]


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_corpus_notices_a_seeded_fault(fault: str) -> None:
    module = _mutant(*MUTANTS[fault])
    noticed = any(
        _read(engine.spoken, [case["answer"]]) != _read(module, pieces)
        for case in CORPUS
        for pieces in ways(case["answer"])
    )
    assert noticed
