"""Results of tools in several parts, towards APIs that take one text."""

from __future__ import annotations

from typing import Any

import pytest

from engine.wire import dumps

from .crossing import sent

PARTS: list[dict[str, Any]] = [{"type": "text", "text": "12 C"}, {"type": "text", "text": "rain"}]


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses", "gemini", "ollama"])
@pytest.mark.parametrize("failed", [False, True])
def test_parts_of_a_result_are_lines(upstream: str, failed: bool) -> None:
    """Servers of tools give back lists; "12 Crain" is nothing that one of them said."""
    called = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": PARTS, "is_error": failed}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [called]},
        {"role": "user", "content": [result]},
    ]
    assert rb"12 C\nrain" in dumps(sent("anthropic_messages", {"messages": turns}, upstream))
