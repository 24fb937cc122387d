"""penstock mock, used wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main

FIXTURE = "fixture: 1\nroute: r\nexchanges: [ { reply: { body: hi } } ]\n"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 2, "Path 'nowhere' does not exist"),
        (["one.yaml", "--port", "99999"], 2, "99999 is not in the range 0<=x<=65535"),
        (["odd.yaml"], 1, "odd.yaml:2:1: error E101: unknown key `rout`; did you mean `route`?"),
    ],
)
def test_wrong_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(FIXTURE)
    Path("odd.yaml").write_text(FIXTURE.replace("route", "rout"))
    result = CliRunner().invoke(main, ["mock", *args])
    assert code == result.exit_code
    assert words in result.output
