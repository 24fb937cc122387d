"""A mistake of the engine itself: who asked is told, and so is the log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.exchange.loop import Exchange
from tests.upstreams.front import HELLO, front

ROUTE = """\
version: 1
extends: openai
base_url: http://127.0.0.1:9/v1
auth: { bearer: k }
limits: { concurrency: 1 }
models: [m]
"""


async def test_a_crash_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(self: Exchange, *given: Any) -> None:
        raise KeyError("sk-secret")

    monkeypatch.setattr(Exchange, "run", run)
    async with front(tmp_path, files={"m.yaml": ROUTE}) as on:
        for stream in (True, False):
            status, _, text = await on.raw({"model": "m", "messages": HELLO, "stream": stream})
            assert (500, "internal error") == (status, json.loads(text)["error"]["message"])
    lines = [json.loads(line) for line in on.log.splitlines() if line.startswith("{")]
    told = [(line["status"], line["outcome"]) for line in lines if line["event"] == "request"]
    assert [(500, "fatal")] * 2 == told
    assert 2 == sum(line["event"] == "crash" for line in lines)
    assert "sk-secret" not in on.log
