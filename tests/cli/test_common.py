"""What several verbs need: finding routes and printing problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.common import (
    BAD,
    GOOD,
    WRONG_USE,
    find,
    is_file,
    library,
    server_settings,
    show_problems,
)
from engine.errors import Problem

ROUTE = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    for folder in ("routes", "other", "named"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in_{folder}.yaml").write_text(ROUTE)
    return tmp_path


def names(*folders: str) -> list[str]:
    return [path.stem for path in library(folders).scan()]


def test_routes_are_looked_for_where_they_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names() == ["in_routes"]
    monkeypatch.setenv("PENSTOCK_ROUTES", "other:routes")
    assert names() == ["in_other", "in_routes"]
    assert names("named") == ["in_named"]


def test_a_route_is_found_by_name_by_file_or_in_the_bundle(home: Path) -> None:
    assert find("in_routes", ()).name == "in_routes"
    assert find("other/in_other.yaml", ()).name == "in_other"
    assert find("in_named", ("named",)).name == "in_named"
    assert find("openai", ()).name == "openai"
    assert find("preset:openai", ()).tree is not None
    assert find("demo", ()).name == "demo"


def test_what_is_not_there_ends_with_wrong_use(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        find("nope", ())
    assert ended.value.code == WRONG_USE
    assert capsys.readouterr().err == "penstock: no route `nope`; there are: in_routes\n"


def test_a_preset_that_is_not_there_is_looked_for_among_presets(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        find("preset:opnai", ())
    assert capsys.readouterr().err.startswith("penstock: no preset `opnai`; there are: anthropic, ")


def test_problems_are_printed_with_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_problems(
        [
            Problem("a.yaml", 1, 1, "E1", "wrong", excerpt="text", length=4),
            Problem("b.yaml", 0, 0, "W1", "odd", "warning"),
        ]
    )
    assert capsys.readouterr().out == (
        "a.yaml:1:1: error E1: wrong\n     1 | text\n       | ^^^^\nb.yaml: warning W1: odd\n"
    )


def test_exit_codes_are_three() -> None:
    assert (GOOD, BAD, WRONG_USE) == (0, 1, 2)


def test_a_route_is_named_by_its_file_only_if_there_is_one(home: Path) -> None:
    names = ("other/in_other.yaml", "other/gone.yaml", "in_other")
    assert [True, False, False] == [is_file(name) for name in names]


def test_the_server_file_is_the_one_that_is_named_or_the_one_that_is_there(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none" == server_settings("record", None).clients.auth
    (home / "own.yaml").write_text("version: 1\nclients: { auth: none }\nstore: sqlite\n")
    assert "sqlite" == server_settings("record", "own.yaml").store
    (home / "penstock.yaml").write_text("version: 1\nclients: { auth: no }\n")
    with pytest.raises(SystemExit) as bad:
        server_settings("record", None)
    with pytest.raises(SystemExit) as wrong:
        server_settings("record", "gone.yaml")
    assert (BAD, WRONG_USE) == (bad.value.code, wrong.value.code)
    assert "penstock record: no file gone.yaml\n" == capsys.readouterr().err
