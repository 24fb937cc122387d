"""penstock test, as it is run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from tests.shell.test_testing import GOOD, ROUTE, write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with routes and one fixture that holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/made.yaml").write_text(ROUTE)
    write(tmp_path / "tests/fixtures/made/hello.yaml", GOOD, note="a greeting")
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["test", *args])


def lines(result: Result) -> list[str]:
    """The output without the times."""
    return [line.partition(" (")[0] for line in result.output.splitlines()]


def test_all_fixtures_are_tried_and_all_is_well(home: Path) -> None:
    result = run()
    assert lines(result) == [
        "ok   tests/fixtures/made/hello.yaml: a greeting",
        "1 fixtures: 1 ok, 0 failed",
    ]
    assert result.exit_code == 0


def test_a_fixture_that_fails_is_told_with_its_complaints(home: Path) -> None:
    write(home / "tests/fixtures/made/wrong.yaml", GOOD, expect={"text": "Ho", "finish": "length"})
    result = run()
    assert lines(result) == [
        "ok   tests/fixtures/made/hello.yaml: a greeting",
        "FAIL tests/fixtures/made/wrong.yaml",
        "     text should be 'Ho', is 'Hi'",
        "     finish should be 'length', is 'stop'",
        "2 fixtures: 1 ok, 1 failed",
    ]
    assert result.exit_code == 1


def test_what_no_fixture_reaches_is_told_and_is_no_failure(home: Path) -> None:
    rule = "errors: { rules: [{ status: 418, as: fatal }] }\n"
    (home / "routes/made.yaml").write_text(ROUTE + rule)
    result = run()
    assert "made: routes/made.yaml:10: errors.rules[0] was never hit" in lines(result)
    assert result.exit_code == 0


def test_files_and_folders_may_be_named(home: Path) -> None:
    write(home / "elsewhere/other.yaml", GOOD)
    assert lines(run("elsewhere"))[:-1] == ["ok   elsewhere/other.yaml"]
    assert lines(run("elsewhere/other.yaml", "tests"))[-1] == "2 fixtures: 2 ok, 0 failed"


def test_fixtures_beside_the_routes_are_found(home: Path) -> None:
    apart = home / "apart"
    (apart / "routes").mkdir(parents=True)
    (apart / "routes/made.yaml").write_text(ROUTE)
    write(apart / "fixtures/one.yaml", GOOD)
    (home / "tests").rename(home / "away")
    assert lines(run("--routes", "apart/routes"))[:-1] == ["ok   apart/fixtures/one.yaml"]


def test_without_any_fixture_the_use_is_wrong(home: Path) -> None:
    (home / "empty").mkdir()
    result = run("empty")
    assert (result.exit_code, result.output) == (2, "penstock test: there is no fixture in empty\n")


@pytest.mark.parametrize("args", [["nowhere"], ["--fuzz", "wild"], ["--frobnicate"]])
def test_wrong_use_has_a_code_of_its_own(home: Path, args: list[str]) -> None:
    assert run(*args).exit_code == 2


@pytest.mark.parametrize("args", [["--fuzz", "off"], ["--fuzz", "full"], ["--no-http"]])
def test_fuzzing_and_sockets_may_be_chosen(home: Path, args: list[str]) -> None:
    assert run(*args).exit_code == 0


def test_the_report_is_what_build_servers_read(home: Path) -> None:
    write(home / "tests/fixtures/made/wrong.yaml", GOOD, expect={"text": "<Ho>"})
    assert run("--junit", "report.xml").exit_code == 1
    suite = xml.parse(home / "report.xml").getroot()
    assert (suite.tag, suite.attrib["tests"], suite.attrib["failures"]) == ("testsuite", "2", "1")
    cases = {case.attrib["name"]: case for case in suite}
    good = cases["tests/fixtures/made/hello.yaml"]
    assert (good.attrib["classname"], list(good)) == ("made", [])
    failure = cases["tests/fixtures/made/wrong.yaml"].find("failure")
    assert failure is not None
    assert failure.text == "text should be '<Ho>', is 'Hi'"


def test_a_report_that_cannot_be_written_is_told(home: Path) -> None:
    result = run("--junit", "nowhere/report.xml")
    assert result.output.endswith(
        "penstock test: cannot write nowhere/report.xml: No such file or directory\n"
    )
    assert result.exit_code == 2
