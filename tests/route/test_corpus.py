"""Good routes compile without a word; each bad one gives just the problems it says it has."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.route.codes import CODES
from engine.route.compile import Compiled
from tests.route.corpus import BAD, GOOD, compile_bytes, compile_file, expected

# Codes that no text of one route can bring about: they come from transforms (which have tests of
# their own), from several routes, from the server file, from the size of a file, or from what is
# installed.
ELSEWHERE = {"E002", "E502", "E532", "E599", "W401", "W601"} | {
    code for code in CODES if "E401" <= code <= "E414" or "E601" <= code <= "E699"
}

HERE = Path(__file__).parent
QUICK = 0.1  # seconds of a processor


def timed(path: Path) -> tuple[Compiled, float]:
    started = time.process_time()
    compiled = compile_file(path)
    return compiled, time.process_time() - started


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name.removesuffix(".bad.yaml"))
@pytest.mark.rows("K2-39", "TB-1")
def test_a_bad_route_gives_exactly_the_problems_it_names(path: Path) -> None:
    wanted = expected(path.read_bytes())
    compiled, seconds = timed(path)
    for _ in range(4):  # others on the machine make even a process's own time longer
        if seconds >= QUICK:
            seconds = min(seconds, timed(path)[1])
    problems = sorted(compiled.problems, key=lambda p: (p.line, p.column, p.code))
    assert [(w.code, w.line, w.column) for w in wanted] == [
        (p.code, p.line, p.column) for p in problems
    ]
    assert [w.begins for w in wanted] == [
        p.message[: len(w.begins)] for w, p in zip(wanted, problems, strict=True)
    ]
    assert seconds < QUICK


@pytest.fixture(scope="module")
def compiled_bad() -> dict[Path, Compiled]:
    return {path: compile_file(path) for path in BAD}


def test_errors_keep_a_route_back_and_warnings_do_not(compiled_bad: dict[Path, Compiled]) -> None:
    for path, compiled in compiled_bad.items():
        only_warnings = all(wanted.code.startswith("W") for wanted in expected(path.read_bytes()))
        assert only_warnings == (compiled.route is not None), path


def test_the_caret_of_a_problem_stands_below_its_line(compiled_bad: dict[Path, Compiled]) -> None:
    for path, compiled in compiled_bad.items():
        for problem in compiled.problems:
            if 0 < len(problem.excerpt) < 200:  # a longer line is not shown whole
                assert problem.column <= len(problem.excerpt) + 1, path


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_route_compiles_without_a_word(path: Path) -> None:
    compiled = compile_file(path)
    assert compiled.problems == []
    assert compiled.spec is not None
    assert compiled.spec.abstract == (compiled.route is None)


def test_every_code_of_a_route_has_a_bad_file() -> None:
    shown = {wanted.code for path in BAD for wanted in expected(path.read_bytes())}
    assert set(CODES) - ELSEWHERE == shown


def _merge_bomb() -> bytes:
    rows = [b"a0: &a0 {k0: 1, k1: 2, k2: 3}"]
    for at in range(1, 16):
        parents = b", ".join([b"*a%d" % (at - 1)] * 4)
        rows.append(b"a%d: &a%d {<<: [%s], k%d: 1}" % (at, at, parents, at))
    return b"\n".join(rows)


def _alias_bomb() -> bytes:
    rows = [b"a: &a [1,1,1,1,1,1,1]"]
    for before, name in zip(b"abcdefg", b"bcdefgh", strict=True):
        rows.append(b"%c: &%c [%s]" % (name, name, b",".join([b"*%c" % before] * 7)))
    return b"\n".join(rows)


BOMBS = {
    "a megabyte of brackets": (b"[" * 1_000_000, "E002"),
    "brackets within the size": (b"[" * 200_000, "E003"),
    "braces within the size": (b"{" * 200_000, "E010"),
    "maps in maps": (b"{a: " * 60_000, "E003"),
    "lists in lists": (b"- " * 120_000, "E003"),
    "question marks": (b"? " * 120_000, "E010"),
    "merge keys": (_merge_bomb(), "E008"),
    "aliases": (_alias_bomb(), "E004"),
    "itself": (b"version: 1\nvars: &v [" + b"*v, " * 60 + b"*v]\n", "E005"),
    "items": (b"x: [" + b"1," * 70_000 + b"1]", "E004"),
    "empty lists": (b"{" + b",".join(b"k%d: []" % at for at in range(19_999)) + b"}", "E004"),
    "an endless quote": (b'x: "' + b"a " * 100_000, "E001"),
    "nothing but nulls": (b"\0" * 10_000, "E001"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    source, code = BOMBS[name]
    started = time.process_time()
    compiled = compile_bytes(source, "bomb.yaml", HERE)
    assert time.process_time() - started < 2  # a bomb that goes off takes minutes
    assert compiled.route is None
    assert code in {problem.code for problem in compiled.problems}


def test_a_route_cut_off_anywhere_never_raises() -> None:
    source = next(path for path in GOOD if path.stem == "kimi").read_bytes()
    whole = compile_bytes(source, "kimi.yaml", HERE)
    assert whole.route is not None
    for end in range(0, len(source), 23):
        compiled = compile_bytes(source[:end], "kimi.yaml", HERE)
        assert compiled.problems or compiled.route
