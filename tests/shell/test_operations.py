"""docs/operations.md says what is there: keys, metrics, events."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.options import key_of
from engine.shell.log import RANKS
from engine.shell.metrics import METRICS
from engine.shell.settings import Settings, check_settings

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
FENCES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


def options(kind: type, above: str = "") -> Iterator[tuple[str, dataclasses.Field[object]]]:
    """Dotted name and field of every option that is no map itself."""
    for item in dataclasses.fields(kind):
        if dataclasses.is_dataclass(item.default):
            yield from options(type(item.default), f"{above}{key_of(item)}.")
        else:
            yield above + key_of(item), item


def test_the_page_has_server_files() -> None:
    assert len(FENCES) == 4
    assert all(fence.startswith("# penstock.yaml\n") for fence in FENCES)


@pytest.mark.parametrize("fence", FENCES)
def test_every_server_file_of_the_page_is_valid(fence: str) -> None:
    codes = set()
    try:
        check_settings(fence.encode(), "operations.md")
    except ConfigError as error:
        codes = {problem.code for problem in error.problems}
    assert codes <= {"E201"}  # variables are not set here


def test_the_full_example_has_every_key() -> None:
    full = max(FENCES, key=len)
    missing = [
        name for name, _ in options(Settings)
        if name != "clients.file" and name.rpartition(".")[2] + ":" not in full
    ]  # fmt: skip
    assert missing == []


def test_every_key_has_its_row_in_the_words_of_the_code() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (?:`[^`]*`|–) \| (.*) \|$", PAGE, re.M)
    expected = {name: item.metadata["doc"] for name, item in options(Settings)}
    expected["version"] += "; a file must have it"
    assert dict(rows) == expected


def test_every_metric_has_its_row() -> None:
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        assert f"| `{name}` | {metric.kind} | {labels} | {metric.doc} |" in PAGE
    assert set(re.findall(r"^\| `(penstock_\w+)`", PAGE, re.M)) == set(METRICS)


def test_every_event_of_the_log_has_its_row() -> None:
    shell = Path(__file__).parents[2] / "engine" / "shell"
    tree = ast.parse((shell / "report.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    written = {
        str(argument.value)
        for call in calls
        for argument in call.args[:2]
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("write", "_line")
        if isinstance(argument, ast.Constant)
    } - {*RANKS}
    assert {"request", "store_error", "route_loaded"} <= written
    assert [name for name in sorted(written) if f"`{name}`" not in PAGE] == []
