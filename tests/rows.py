"""The rows of tests/rows.yaml and the tests that show them; `make test-rows` prints the table.

A fixture shows the rows that its `note:` names; a Python test those of its marker
`@pytest.mark.rows("K2-05", …)`, or, of translations, of `@row("TR-01")`, which runs it on the row's
pairs (tests/dialects/pairs.py). The tables are docs/replaces.md and docs/pairs.md, written by
`python -m tests.rows --write`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"\b(?:K2|KB|KT|TB|FL|FB|KA|AB|IF|IB)-\d+\b")
TRANSLATION = "TR"
NAMES = {
    "K2": "k2think", "KB": "k2think: defects that must not come back",
    "KT": "zenmux-kimi", "TB": "zenmux-kimi: defects that must not come back",
    "FL": "flowith", "FB": "flowith: defects that must not come back",
    "KA": "kimi-ai", "AB": "kimi-ai: defects that must not come back",
    "IF": "iflow", "IB": "iflow: defects that must not come back",
}  # fmt: skip

HEAD = """\
# What it replaces

Five one-off proxies, row by row: what their users rely on, and the defects of theirs that must not
come back. Each row has a test that fails when the behaviour is taken away, unless its state says
otherwise. This page is written by `make test-rows`.
"""
PAIRS_HEAD = """\
# Bugs of translation that are tested

What gateways between chat APIs get wrong, row by row: the input, seen between which clients and
upstreams, and the test that fails when the behaviour is taken away. `all` are the five dialects,
`rules` is an upstream of none, which rules read. The answer of each of these tests is also held
against its dialect's grammar and SDK. This page is written by `make test-rows`.
"""


def known() -> dict[str, Any]:
    """The sections of tests/rows.yaml: `rows`, `pairs`, `differently`, `missing`."""
    found: dict[str, Any] = yaml.load(
        (ROOT / "tests/rows.yaml").read_text("utf-8"), yaml.BaseLoader
    )
    return {name: found[name] or {} for name in ("rows", "pairs", "differently", "missing")}


def shown() -> dict[str, list[str]]:
    """Row -> the tests that show it."""
    found: dict[str, list[str]] = {}
    for row, where in (*_fixtures(), *_marks()):
        found.setdefault(row, []).append(where)
    return found


def _fixtures() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tests/fixtures").rglob("*.yaml")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("note:"):
                for row in dict.fromkeys(ROW.findall(line)):
                    yield row, str(path.relative_to(ROOT))


def _marks() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text("utf-8")
        if "mark.rows(" in source or "@row(" in source:
            yield from _marks_in(ast.parse(source), str(path.relative_to(ROOT)))


def _marks_in(tree: ast.Module, file: str) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        where = file
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{file}::{node.name}"
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call) and _is_mark(inner.func):
                for item in inner.args:
                    assert isinstance(item, ast.Constant), f"{where}: a row is written out"
                    yield str(item.value), where


def _is_mark(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "row"
    return isinstance(node, ast.Attribute) and node.attr == "rows"


TABLE = "| row | what must be seen | state | shown by |\n|---|---|---|---|\n"
PAIRS_TABLE = (
    "| row | what must be seen | clients | upstreams | shown by |\n|---|---|---|---|---|\n"
)


def page() -> str:
    """The rows of the replaced proxies as Markdown."""
    table, tests, out, family = known(), shown(), [HEAD], ""
    for row, what in table["rows"].items():
        if row.startswith(TRANSLATION):
            continue
        if row[:2] != family:
            family = row[:2]
            out.append(f"\n## {NAMES[family]}\n\n{TABLE}")
        cells = (row, _cell(what), _cell(_state(row, table)), _tests(tests.get(row, [])))
        out.append(f"| {' | '.join(cells)} |\n")
    return "".join(out)


def pairs_page() -> str:
    """The rows of translation as Markdown."""
    table, tests, out = known(), shown(), [PAIRS_HEAD, "\n", PAIRS_TABLE]
    for row, what in table["rows"].items():
        if row.startswith(TRANSLATION):
            where = table["pairs"].get(row, {})
            sides = (where.get(side, "any") for side in ("clients", "upstreams"))
            cells = (row, _cell(what), *sides, _tests(tests.get(row, [])))
            out.append(f"| {' | '.join(cells)} |\n")
    return "".join(out)


PAGES = {ROOT / "docs/replaces.md": page, ROOT / "docs/pairs.md": pairs_page}


def _state(row: str, table: dict[str, Any]) -> str:
    if row in table["missing"]:
        return f"missing: {table['missing'][row]}"
    if row in table["differently"]:
        return f"differently: {table['differently'][row]}"
    return "tested"


def _tests(places: list[str]) -> str:
    shown = [f"`{place.removeprefix('tests/')}`" for place in dict.fromkeys(places)]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return ", ".join(shown[:3]) + more


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    for place, made in PAGES.items():
        if "--write" in sys.argv:
            place.write_text(made(), "utf-8")
        sys.stdout.write(made())
