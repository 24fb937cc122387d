"""penstock check: what is counted, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main

ROUTE = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/a.yaml").write_text(ROUTE)
    return tmp_path


def run(*args: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(main, list(args))
    return result.exit_code, result.output.splitlines()


def test_a_file_is_counted_once_though_it_clashes_with_another(home: Path) -> None:
    (home / "routes/b.yaml").write_text(ROUTE)
    code, lines = run("check")
    assert (1, "2 files checked: 1 error, 0 warnings") == (code, lines[-1])
    assert lines[0].startswith("routes/b.yaml: error E501: model `m` is also offered by route `a`")


def test_a_fixture_is_no_route_and_a_route_no_fixture(home: Path) -> None:
    (home / "hello.yaml").write_text("fixture: 1\nroute: a\nexchanges: []\n")
    code, lines = run("check", "hello.yaml")
    assert (1, 3) == (code, len(lines) - 1)
    assert "hello.yaml:1:1: error E102: this is a fixture, not a route" in lines[0]
    code, lines = run("test", "routes/a.yaml")
    assert 1 == code
    assert "routes/a.yaml:1:1: error E102: this is a route, not a fixture" in lines[1]


def test_a_server_file_is_checked_as_it_would_be_served(home: Path) -> None:
    keys = 'version: 1\nclients: { keys: ["${env:NO_SUCH_KEY:?set a client key}"] }\n'
    (home / "penstock.yaml").write_text(keys)
    code, lines = run("check", "penstock.yaml")
    assert 1 == code
    assert "penstock.yaml:2:19: error E201: set a client key" == lines[0]
    (home / "page.md").write_text(f"```yaml\n# penstock.yaml\n{keys}```\n")
    assert (0, ["1 file checked: 0 errors, 0 warnings"]) == run("check", "page.md")
    opened = "version: 1\nlisten: { host: 0.0.0.0 }\nclients: { auth: none }\n"
    (home / "penstock.yaml").write_text(opened)
    code, lines = run("check", "penstock.yaml")
    assert 0 == code
    assert "penstock.yaml:3:10: warning W601" in lines[0]
