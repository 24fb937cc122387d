"""A client of Chat that marks what Claude's prompt cache shall keep, over sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.security.stage import Echo, saying, staged

ROUTE = """
version: 1
name: marks
extends: %s
base_url: %%URL%%
models: [m1]
"""
MARK = {"type": "ephemeral"}
SAID: dict[str, dict[str, Any]] = {
    "anthropic": {"id": "m", "type": "message", "role": "assistant", "model": "m1",
                  "content": [{"type": "text", "text": "so"}], "stop_reason": "end_turn",
                  "usage": {"input_tokens": 1, "output_tokens": 1}},
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "so"}]},
                               "finishReason": "STOP", "index": 0}]},
}  # fmt: skip


@pytest.mark.parametrize("upstream", SAID)
async def test_marks_reach_claude_and_are_named_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str
) -> None:
    text = {"type": "text", "text": "Long.", "cache_control": MARK}
    asked = [{"role": "system", "content": [text]}, {"role": "user", "content": "Hi"}]
    routes, site = {"marks": ROUTE % upstream}, Echo(answer=saying(SAID[upstream]))
    async with staged(
        tmp_path, monkeypatch, routes, env={"ANTHROPIC_API_KEY": "k-0", "GEMINI_API_KEY": "k-0"},
        echo=site,
    ) as on:  # fmt: skip
        status, told = await on.ask("m1", "", messages=asked)
    (got,) = site.asked
    body = json.loads(got.body)
    named = "x-penstock-dropped: text.cache_control" in told.lower()
    assert (200, upstream != "anthropic") == (status, named)
    if upstream == "anthropic":
        assert [text] == body["system"]
