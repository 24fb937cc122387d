"""The framing of an answer, told from its bytes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.draft.framing import framed
from engine.wire import HttpResponse

WORDS = {"sse": {"text": True}}


def answer(body: str | bytes, kind: str = "text/plain") -> HttpResponse:
    raw = body.encode() if isinstance(body, str) else body
    return HttpResponse(200, (("Content-Type", kind),), raw)


@pytest.mark.parametrize(
    ("body", "kind", "format", "values", "done"),
    [
        ('data: {"a":1}\n\ndata: [DONE]\n\n', "text/plain", "sse", [{"a": 1}], ["[DONE]"]),
        (': hi\n\nevent: x\ndata: {"a":1}\n\n', "text/event-stream", "sse", [{"a": 1}], []),
        ("data: Hel\n\ndata: lo\n\n", "text/event-stream", WORDS, ["Hel", "lo"], []),
        ("data: Hi\n\ndata: [DONE]\n\n", "x/y", WORDS, ["Hi"], ["[DONE]"]),
        ('{"a":1}\n{"b":2}\n', "application/json", "ndjson", [{"a": 1}, {"b": 2}], []),
        ('[{"a":1}\n,{"b":2}]', "application/json", "json_array", [{"a": 1}, {"b": 2}], []),
        ('{"a":1}', "text/html", "json", [{"a": 1}], []),
        ('0:"a"\nd:{"b":1}\n', "text/plain", "lines", ["a", {"b": 1}], []),
        ("Well, hello.\nYou!", "text/plain", "text", ["Well, hello.\nYou!"], []),
    ],
)  # fmt: skip
def test_it_is_seen(body: str, kind: str, format: Any, values: list[Any], done: list[str]) -> None:
    found = framed(answer(body, kind))
    assert found is not None
    assert (format, values, done) == (found.format, [r.value for r in found.records], found.done)


def test_names_of_events_and_letters_of_lines_are_kept() -> None:
    named = framed(answer('event: word\ndata: {"a":1}\n\n'))
    lettered = framed(answer('0:"a"\nd:{"b":1}\n'))
    assert named is not None
    assert lettered is not None
    assert ["word"] == [record.event for record in named.records]
    assert (["0", "d"], True) == ([record.event for record in lettered.records], lettered.lettered)


@pytest.mark.parametrize("body", [b"", b" \n", b"<html></html>", b"\x00\x00\x00\x05hello", b"\xff"])
def test_what_cannot_be_told_is_none(body: bytes) -> None:
    assert framed(answer(body)) is None
