"""YAML with comments: it reads as what was meant, and as people write it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from engine.draft.layout import Noted, bare, notes, scalar, written

TREE: dict[str, Any] = {
    "version": 1,
    "models": [Noted({"id": "a", "upstream": "v/a"}, "guess: which?"), "b"],
    "auth": {"bearer": "${env:KEY}"},
    "request": {"json": {"a": 1, "b": [], "c": None, "d": {"e": "{{ req.prompt }}", "f": 0.5}}},
    "stream": {
        "done": "[DONE]",
        "events": [
            {"match": {"kind": "word"}, "text": "$.a[0]"},
            {"text": Noted(["$.b", "$.c"], "guess: or both"), "finish": "stop"},
        ],
    },
}


def test_short_maps_stand_on_one_line_and_comments_at_the_end() -> None:
    assert (
        written(TREE)
        == """\
version: 1
models:
  - { id: a, upstream: v/a } # guess: which?
  - b
auth: { bearer: "${env:KEY}" }
request:
  json: { a: 1, b: [], c: null, d: { e: "{{ req.prompt }}", f: 0.5 } }
stream:
  done: "[DONE]"
  events:
    - { match: { kind: word }, text: "$.a[0]" }
    - text: ["$.b", "$.c"] # guess: or both
      finish: stop
""".replace('["$.b", "$.c"]', "[$.b, $.c]")
    )


def test_what_was_written_is_read_again() -> None:
    assert bare(TREE) == yaml.safe_load(written(TREE))
    assert ["guess: which?", "guess: or both"] == list(notes(TREE))


@pytest.mark.parametrize(
    "value",
    [[[{}]], [[1, [2]], []], [[{"a": 1}], {"b": [{"c": {}}]}], {"a": {"b": {"c": {}}}}, [[]]],
)
def test_every_tree_survives(value: Any) -> None:
    assert {"x": value} == yaml.safe_load(written({"x": value}))


def test_a_comment_is_one_line() -> None:
    assert "a: 1 # x?y: 2\n" == written({"a": Noted(1, "x\ny: 2")})


@pytest.mark.parametrize(
    "text",
    [
        "plain", "", " a", "a ", "yes", "1e3", "012", "12:30", "a: b", "a # b", "{a}", "[a]",
        "a, b", "null", "*", "&a", "!x", "%", "@a", "`a`", '"q"', "it's", "it's \"q\" \\d",
        r"(\{.*?\});", "~",
        "a\nb", "tab\t", "\x07", "\x1f😀", "\x7f\x85",
        "\u2028", "é", "你好", "😀", "{{ x }}", "$.a[*]", "http://x:80/a",
    ],
)  # fmt: skip
def test_every_text_survives(text: str) -> None:
    assert [text] == yaml.safe_load(f"[{scalar(text)}]")
    assert {text: text} == yaml.safe_load(f"{{ {scalar(text)}: {scalar(text)} }}")
