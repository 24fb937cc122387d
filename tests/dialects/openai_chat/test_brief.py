"""Which chunks say nothing but text."""

from __future__ import annotations

from typing import Any

import pytest

from engine.dialects.openai_chat.brief import only_text

Fields = dict[str, Any]


def chunk(delta: object, **choice: object) -> Fields:
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}]}


def test_a_chunk_with_a_text_alone_is_that_text() -> None:
    assert "é" == only_text(chunk({"content": "é"}))


@pytest.mark.parametrize(
    "value",
    [
        chunk({"content": ""}),
        chunk({"content": None}),
        chunk({"content": [{"type": "text", "text": "a"}]}),
        chunk({"content": "a", "reasoning": "b"}),
        chunk({}),
        chunk(None),
        chunk({"content": "a"}, finish_reason="stop"),
        chunk({"content": "a"}, index=1),
        chunk({"content": "a"}, logprobs={"content": []}),
        {**chunk({"content": "a"}), "usage": {"prompt_tokens": 1}},
        {**chunk({"content": "a"}), "error": {"message": "no"}},
        {**chunk({"content": "a"}), "citations": ["https://a.example"]},
        {"choices": []},
        {"choices": [1]},
        {"choices": ["a", "b"]},
        {"choices": None},
        [],
        "text",
        None,
        5,
    ],
)
def test_all_else_is_looked_at_with_care(value: object) -> None:
    assert "" == only_text(value)
