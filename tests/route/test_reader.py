"""Nodes become option dataclasses; what the bad routes show is not repeated here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from engine.errors import Problem
from engine.options import Duration, Secret, option
from engine.route.compile import Sources, compile_route
from engine.route.nodes import read, resolve
from engine.route.reader import WRONG, Reader
from engine.route.references import Outside, Resolver
from tests.route.corpus import GOOD, ROOT, compile_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    flag: bool | str = option("no", "a flag or a word")
    wait: Duration | bool = option(False, "a time or a flag")
    key: str | None = option(None, "a key", secret=True)
    things: list[int] | dict[str, int] | None = option(None, "numbers")


def mixed(text: str) -> Any:
    problems: list[Problem] = []
    node = read(text, "x.yaml", problems)
    assert node is not None
    reader = Reader(Resolver(Outside(), node, problems), {}, problems)
    value = reader.options(node, Mixed, "")
    assert bool(problems) == (value is WRONG)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("flag: true", Mixed(flag=True)),
        ("flag: often", Mixed(flag="often")),
        ("wait: 2s", Mixed(wait=Duration(2.0))),
        ("things: [1, 2]", Mixed(things=[1, 2])),
        ("things: { a: 1 }", Mixed(things={"a": 1})),
        ("things: null", Mixed()),
        ("things: 5", WRONG),
        ("key: k", Mixed(key=Secret("k"))),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_several_types_takes_the_one_that_fits(text: str, value: object) -> None:
    assert mixed(text) == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("012", "int", 12),
        ("0x1f", "int", 31),
        ("0o17", "int", 15),
        ("1e3", "float", 1000.0),
        ("-.5", "float", -0.5),
        ("-.inf", "float", float("-inf")),
        ("12:30:45", "str", "12:30:45"),
        ("2024-01-01", "str", "2024-01-01"),
        ("1_000", "str", "1_000"),
        ("0b11", "str", "0b11"),
        ("on", "str", "on"),
        ("=", "str", "="),
        ("~", "null", None),
        ("True", "bool", True),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, kind: str, value: object) -> None:
    assert resolve(text) == (kind, value)


def test_what_comes_from_outside_is_parsed_by_its_fields_type() -> None:
    spec = compile_file(next(path for path in GOOD if path.stem == "outside")).spec
    assert spec is not None
    assert spec.base_url == "https://api.example.com/v1"
    assert (spec.enabled, spec.retry.attempts, spec.retry.backoff.factor) == (True, 2, 1.5)
    assert (spec.timeouts.idle, spec.timeouts.early_headers) == (20.0, 0.0)
    assert spec.vars == {"host": "api.example.com", "path": "v1", "ratio": 0.5, "price": "5${"}
    assert spec.models[0].set == {"ratio": "0.7"}


def test_words_that_come_from_outside_are_read_without_case() -> None:
    text = "version: 1\nbase_url: https://x.example\nmodels: [m]\ndialect: openai_chat\n"
    for written, wrong in (("${vars:w}", False), ("WARN", True)):
        source = f"{text}on_unsupported: {written}\nvars: {{ w: WARN }}\n".encode()
        found = compile_route(source, "x.yaml", Sources())
        assert bool(found.problems) is wrong, found.problems


def test_without_a_reader_of_files_none_can_be_named() -> None:
    problems: list[Problem] = []
    node = read("a: ${file:/run/x}", "x.yaml", problems)
    assert node is not None
    Resolver(Outside(), node, problems).resolve(node.walk())
    assert [problem.code for problem in problems] == ["E203"]


# ---- parents ----


def chain(depth: int) -> list[str]:
    """Codes of a route with so many ancestors."""
    from engine.route.compile import Sources, compile_route

    top = (ROOT / "tests/fixtures/good/preset.yaml").read_bytes()

    def parent(name: str, file: str) -> tuple[bytes, str] | str:
        at = int(name)
        return (top if at == depth else f"extends: '{at + 1}'\n".encode()), name

    child = b"version: 1\nextends: '1'\nbase_url: https://a.example.com\nmodels: [m1]\n"
    return [p.code for p in compile_route(child, "child.yaml", Sources(parent=parent)).problems]


def test_five_files_may_stand_above_a_route_and_no_sixth() -> None:
    assert chain(5) == []
    assert chain(6) == ["E205"]
