"""penstock explain, as it is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.dialects import DIALECTS

ROUTE = """
version: 1
dialect: openai_chat
base_url: https://a.example/v1
models: [first, second]
auth: { bearer: "${env:MADE_KEY}" }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    monkeypatch.setenv("MADE_KEY", "sk-never-shown")
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/made.yaml").write_text(ROUTE)
    return tmp_path


def run(*args: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, ["explain", *args], input=given)


def test_a_credential_in_the_file_is_masked_by_its_place(home: Path) -> None:
    written = ROUTE.replace('bearer: "${env:MADE_KEY}"', "bearer: k3y-in-the-file")
    (home / "routes/made.yaml").write_text(written)
    masks = {"http": "Bearer «auth.bearer»", "json": "Bearer «auth.bearer»", "curl": "$AUTH_BEARER"}
    for form, mask in masks.items():
        result = run("made", "--as", form)
        assert result.exit_code == 0
        assert "k3y-in-the-file" not in result.output
        assert mask in result.output


def test_without_a_request_the_first_model_is_asked(home: Path) -> None:
    result = run("made", "--prompt", "How much?", "--stream")
    assert result.exit_code == 0
    assert "POST https://a.example/v1/chat/completions" in result.output
    assert '"model": "first"' in result.output
    assert '"content": "How much?"' in result.output
    assert '"stream": true' in result.output
    assert "Authorization: Bearer «env:MADE_KEY»" in result.output
    assert "sk-never-shown" not in result.output


def test_a_request_comes_from_a_file_or_from_stdin(home: Path) -> None:
    body = json.dumps({"model": "second", "messages": [{"role": "user", "content": "x"}]})
    (home / "r.json").write_text(body)
    for result in (run("made", "--request", "r.json"), run("made", "--request", "-", given=body)):
        assert result.exit_code == 0
        assert '"model": "second"' in result.output


def test_a_route_may_be_named_by_its_file(home: Path) -> None:
    assert run("routes/made.yaml").output == run("made").output


@pytest.mark.parametrize("form", ["http", "json", "curl"])
def test_there_are_three_ways_to_show_it(home: Path, form: str) -> None:
    result = run("made", "--as", form)
    assert result.exit_code == 0
    assert "https://a.example/v1/chat/completions" in result.output
    if form == "json":
        assert json.loads(result.output)["requests"][0]["what"] == "main"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["other"], 2, "no route `other`; there are: made"),
        (["made", "--request", "none.json"], 2, "no file none.json"),
        (["made", "--dialect", "nope"], 2, "'nope' is not one of"),
        (["made", "--as", "nope"], 2, "'nope' is not one of"),
        ([], 2, "Missing argument"),
    ],
)
def test_wrong_use_is_told(home: Path, args: list[str], code: int, words: str) -> None:
    result = run(*args)
    assert result.exit_code == code
    assert words in result.output


def test_a_request_that_would_be_refused_is_told(home: Path) -> None:
    result = run("made", "--request", "-", given='{"model":"nope","messages":[]}')
    assert result.exit_code == 1
    assert "the request would be refused" in result.output
    assert run("made", "--request", "-", given="no json").exit_code == 1


def test_a_broken_route_shows_its_problems(home: Path) -> None:
    (home / "routes/made.yaml").write_text(ROUTE + "oops: 1\n")
    result = run("made")
    assert result.exit_code == 1
    assert "error E101: unknown key `oops`" in result.output


def test_a_client_may_name_its_model_in_the_url(home: Path) -> None:
    head = "version: 1\ndialect: gemini\nbase_url: https://g.example/v1beta\nmodels: [one, two]\n"
    (home / "routes/google.yaml").write_text(head)
    result = run("google", "--dialect", "gemini", "--model", "two", "--stream", "--prompt", "Hm")
    assert result.exit_code == 0, result.output
    assert "POST https://g.example/v1beta/models/two:streamGenerateContent?alt=sse" in result.output
    assert '"text": "Hm"' in result.output
    assert "passed through" in result.output
    body = '{"contents":[{"parts":[{"text":"given"}]}]}'
    given = run("google", "--dialect", "gemini", "--request", "-", given=body)
    assert "POST https://g.example/v1beta/models/one:generateContent\n" in given.output
    assert '"text": "given"' in given.output


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_question_is_put_in_the_words_of_the_dialect(home: Path, dialect: str) -> None:
    result = run("made", "--dialect", dialect, "--prompt", "How much?", "--model", "second")
    assert result.exit_code == 0, result.output
    assert '"content": "How much?"' in result.output
    assert '"model": "second"' in result.output
