"""penstock list: what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.errors import OUTCOMES
from engine.route.filters import FILTERS, FUNCTIONS

GOOD = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [b, a]\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PENSTOCK_ROUTES", "NOT_SET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "routes").mkdir()
    (tmp_path / "transforms").mkdir()
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["list", *args])


def rows(*args: str) -> list[list[str]]:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return [
        [cell.strip() for cell in line.split("  ") if cell] for line in result.output.splitlines()
    ]


def test_routes_are_listed_with_their_state(home: Path) -> None:
    routes = {
        "good": GOOD,
        "unset": GOOD + 'auth: { bearer: "${env:NOT_SET}" }\n',
        "wrong": GOOD + "oops: 1\n",
        "parent": "version: 1\nabstract: true\n",
    }
    for name, text in routes.items():
        (home / "routes" / f"{name}.yaml").write_text(text)
    assert rows() == [
        ["good", "ok", "routes/good.yaml", "a, b"],
        ["parent", "abstract", "routes/parent.yaml"],
        ["unset", "disabled", "routes/unset.yaml"],
        ["wrong", "broken", "routes/wrong.yaml"],
    ]


def test_other_folders_and_the_bundle_can_be_listed(home: Path) -> None:
    assert run().output == "none\n"
    (home / "more").mkdir()
    (home / "more/x.yaml").write_text(GOOD)
    assert rows("--routes", "more") == [["x", "ok", "more/x.yaml", "a, b"]]
    assert "openai" in [row[0] for row in rows("--bundled")]


def test_presets_have_their_description(home: Path) -> None:
    found = {row[0]: row[1] for row in rows("presets")}
    assert found["openai"] == "OpenAI Chat Completions and compatible services"


def test_transforms_are_listed_with_their_methods(home: Path) -> None:
    (home / "transforms/mine.py").write_text(
        '"""Does a thing."""\nAPI = 1\nclass Transform:\n'
        "    def feed(self, event): return [event]\n"
    )
    (home / "transforms/broken.py").write_text("API = 1\n")
    found = {row[0]: row[1:] for row in rows("transforms")}
    assert found["mine"] == ["feed", "Does a thing."]
    assert found["think_tags"][0] == "feed finish"
    assert "broken" not in found


def test_filters_functions_and_classes_are_the_tables(home: Path) -> None:
    assert [row[0] for row in rows("filters")] == [*sorted(FILTERS), *sorted(FUNCTIONS)]
    assert [row[0] for row in rows("classes")] == list(OUTCOMES)
    assert all(row[-1] for row in rows("filters"))


def test_an_unknown_word_is_told_with_those_there_are(home: Path) -> None:
    result = run("nope")
    assert result.exit_code == 2
    assert (
        "unknown `nope`; there are: routes, presets, transforms, filters, classes" in result.output
    )
