"""penstock show: a route with everything it inherits, as YAML that means the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.cli.show import lines
from engine.errors import Problem
from engine.route.nodes import Node, read
from tests.route.corpus import GOOD, compile_file

ROUTE = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [m]
auth: { from: { inline: { user: a, key: "${env:MADE_KEY}" } }, bearer: "{{ account.key }}" }
errors: { rules: [ inherit, { status: 418, as: fatal } ] }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    monkeypatch.setenv("MADE_KEY", "sk-never-shown")
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes/made.yaml").write_text(ROUTE)
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["show", *args])


def tree(text: str) -> Node:
    problems: list[Problem] = []
    node = read(text, "shown.yaml", problems)
    assert node is not None, problems
    assert not [problem for problem in problems if problem.severity == "error"]
    return node


def test_a_route_is_shown_with_what_it_inherits(home: Path) -> None:
    result = run("made")
    assert result.exit_code == 0
    shown = tree(result.output).plain()
    assert (shown["dialect"], shown["stream"]["done"]) == ("openai_chat", "[DONE]")
    assert len(shown["errors"]["rules"]) > 10
    assert shown["errors"]["rules"][-1] == {"status": 418, "as": "fatal"}


def test_references_are_shown_as_written_and_secrets_are_not(home: Path) -> None:
    result = run("made")
    assert "sk-never-shown" not in result.output
    assert 'key: "${env:MADE_KEY}"' in result.output
    assert "user: «auth.from.inline.user»" in result.output


def test_the_origin_of_each_value_can_be_asked_for(home: Path) -> None:
    marked = [line for line in run("made", "--origin").output.splitlines() if "  # " in line]
    by_key = {line.split(":")[0].strip(): line.rpartition("# ")[2] for line in marked}
    assert by_key["base_url"] == "routes/made.yaml:4"
    assert by_key["dialect"].rpartition(":")[0].endswith("routes/presets/openai.yaml")


def test_presets_can_be_shown(home: Path) -> None:
    result = run("preset:openai")
    assert result.exit_code == 0
    assert tree(result.output).plain()["abstract"] is True


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("nope", 2, "no route `nope`"), ("preset:nope", 2, "no preset `nope`")],
)
def test_what_is_not_there_is_told(home: Path, name: str, code: int, words: str) -> None:
    result = run(name)
    assert (result.exit_code, words in result.output) == (code, True)


def test_a_file_that_is_no_yaml_shows_its_problem(home: Path) -> None:
    (home / "routes/made.yaml").write_text("a: [")
    result = run("made")
    assert result.exit_code == 1
    assert "error E001" in result.output


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_is_shown_means_the_same(path: Path) -> None:
    found = compile_file(path)
    assert found.tree is not None
    text = "\n".join(line for line, _ in lines(found.tree, 0))
    assert tree(text).plain() == found.tree.plain()


@pytest.mark.parametrize(
    "text",
    [
        "a: 'it''s'\n'b: c': [1, 'x: y', '# no', \"- z\"]\n",
        "a: |\n  two\n  lines\nb: ''\nc: ~\nd: {}\ne: []\n",
        "a: '1'\nb: 'true'\nc: 'null'\nd: 1e3\ne: 0x1f\n",
        "'*': '{{ x }}'\n'{{ k }}': '${env:X}'\n",
        "- [1, [2, {a: 3}]]\n- {b: [4]}\n",
        "a: '  spaces  '\nb: \"tab\\tand\\nline\"\nc: '漢字 😀'\n",
    ],
)
def test_every_value_survives_being_shown(text: str) -> None:
    node = tree(text)
    shown = "\n".join(line for line, _ in lines(node, 0))
    assert tree(shown).plain() == node.plain()
