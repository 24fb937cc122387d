"""Documents made of texts and pictures: whole where they came from, both elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from engine.wire import dumps
from tests.dialects.crossing import sent

A = "anthropic_messages"
PNG = "iVBORw0KGgo="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
DOCUMENT = {"type": "document", "title": "T", "source": {"type": "content", "content": [
    {"type": "text", "text": "words"}, IMAGE]}}  # fmt: skip
CALL = {"type": "tool_use", "id": "c", "name": "look", "input": {}}
TOLD: list[dict[str, Any]] = [
    {"role": "user", "content": [DOCUMENT, {"type": "text", "text": "see"}]}
]
SEEN: list[dict[str, Any]] = [
    {"role": "user", "content": "look"},
    {"role": "assistant", "content": [CALL]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c",
                                  "content": [DOCUMENT]}]},
]  # fmt: skip


@pytest.mark.parametrize("turns", [TOLD, SEEN])
@pytest.mark.parametrize("target", ["openai_chat", "openai_responses", "gemini", "ollama"])
def test_the_pictures_of_a_document_go_along(turns: list[dict[str, Any]], target: str) -> None:
    held: list[Any] = []
    body = dumps(sent(A, {"messages": turns}, target, request=held))
    assert [True, True] == [part in body for part in (b"words", PNG.encode())]
    assert (1, []) == (body.count(PNG.encode()), held[0].dropped)


@pytest.mark.parametrize("turns", [TOLD, SEEN])
def test_the_api_itself_gets_the_document_as_it_came(turns: list[dict[str, Any]]) -> None:
    assert turns == sent(A, {"messages": turns}, A)["messages"]
