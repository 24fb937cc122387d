"""Files of credentials, in every form they come in."""

from __future__ import annotations

import pytest

from engine.auth.formats import FORMATS, Bad, Entry


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("lines", "sk-1\n\n  sk-2  \n# note\n#sk-3\n", [Entry(1, "sk-1"), Entry(3, "sk-2")]),
        ("lines", "sk-1\r\nsk-2", [Entry(1, "sk-1"), Entry(2, "sk-2")]),
        ("lines", "", []),
        ("json", '{"key": "a"}', [Entry(1, {"key": "a"})]),
        ("json", '["a", {"key": "b"}]', [Entry(1, "a"), Entry(1, {"key": "b"})]),
        ("json", "[]", []),
        ("json", '{"key":\n "sk-1",\n}', [Bad(3, "is not JSON")]),
        ("jsonl", '{"a": 1}\n\n"b"\n', [Entry(1, {"a": 1}), Entry(3, "b")]),
        ("jsonl", '{"a": 1}\n{"b"\n"c"', [Entry(1, {"a": 1}), Bad(2, "is not JSON"),
                                          Entry(3, "c")]),
        ("env", "A=1\nexport B='two words'\n# C=3\nD=\"\"\n",
         [Entry(1, {"A": "1", "B": "two words", "D": ""})]),
        ("env", "A=1\nsk-secret\n", [Bad(2, "is not `NAME=value`")]),
        ("env", "\n", []),
    ],
)  # fmt: skip
def test_each_entry_is_given_with_its_line(name: str, text: str, entries: list[object]) -> None:
    assert entries == list(FORMATS[name](text))


def test_an_entry_shows_its_line_only() -> None:
    assert repr(Entry(3, "sk-secret")) == "Entry(line=3)"
