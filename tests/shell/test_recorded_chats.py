"""From outside: `serve --record` and the OpenAI SDK, then `test` and `drift` on what was kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from engine.masks import forms
from engine.shell.stub import listening

ROOT = Path(__file__).resolve().parents[2]
KEY, OWN = "sk-live-Zx81+Qp/47hWc2", "gateway-key-0817-xyz"
ROUTE = """\
version: 1
dialect: openai_chat
base_url: SITE/v1
models: [m]
auth: { bearer: "${env:MADE_KEY}" }
"""
SERVER = """\
# penstock.yaml
version: 1
clients: { auth: keys, keys: ["${env:OWN_KEY}"] }
"""


class Upstream:
    """Streams Chat Completions; `field` is where it puts the text."""

    def __init__(self) -> None:
        self.field = "content"
        self.arrived: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.arrived.append(request.headers["Authorization"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in ("Grü", "ße ", "☃"):
            await self._say(response, {"delta": {self.field: piece}, "finish_reason": None})
            await asyncio.sleep(0.01)
        await self._say(response, {"delta": {}, "finish_reason": "stop"})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _say(self, response: web.StreamResponse, choice: dict[str, Any]) -> None:
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        data = json.dumps({**chunk, "choices": [{"index": 0, **choice}]}, ensure_ascii=False)
        await response.write(f"data: {data}\n\n".encode())


ENV = {**os.environ, "PYTHONPATH": str(ROOT), "MADE_KEY": KEY, "OWN_KEY": OWN}


@contextmanager
def served(home: Path, *more: str) -> Iterator[str]:
    """`penstock serve` as a process; gives its URL, stops it by SIGTERM."""
    command = [sys.executable, "-m", "engine", "serve", "--port", "0", *more]
    with (home / "log").open("wb") as log:
        run = subprocess.Popen(
            command, cwd=home, env=ENV, text=True, stdout=subprocess.PIPE, stderr=log
        )
        try:
            assert run.stdout is not None
            line = run.stdout.readline()
            found = re.search(r"http://[\w.:]+/v1", line)
            assert found is not None, line
            yield found[0]
        finally:
            run.send_signal(signal.SIGTERM)
            assert 0 == run.wait(timeout=30)


def penstock(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine", *args]
    return subprocess.run(command, cwd=home, env=ENV, capture_output=True, text=True, check=False)


def below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def ask(url: str) -> str:
    messages: Any = [{"role": "user", "content": "Hi"}]
    with openai.OpenAI(base_url=url, api_key=OWN, max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "routes").mkdir()
    (tmp_path / "penstock.yaml").write_text(SERVER)
    return tmp_path


async def test_what_the_sdk_streamed_is_replayed_and_compared_with_the_upstream_as_it_moves(
    home: Path,
) -> None:
    upstream = Upstream()

    def from_outside() -> list[str]:
        with served(home, "--record", "kept") as at:
            return [ask(at), ask(at)]

    async with listening(upstream.handle) as url:
        (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", url))
        assert ["Grüße ☃"] * 2 == await asyncio.to_thread(from_outside)
        names = [str(path.relative_to(home)) for path in below(home / "kept")]
        assert [("kept/made", ".yaml")] * 2 == [(name[:9], name[-5:]) for name in names]
        tried = await asyncio.to_thread(penstock, home, "test", "kept")
        assert "2 fixtures: 2 ok, 0 failed" in tried.stdout
        alike = await asyncio.to_thread(penstock, home, "drift", "made", *names)
        upstream.field = "contents"
        moved = await asyncio.to_thread(penstock, home, "drift", "made", *names)
    assert (0, [f"{name}: alike" for name in names]) == (
        alike.returncode,
        alike.stdout.splitlines(),
    )
    assert 1 == moved.returncode
    lost = "error vanished: POST /v1/chat/completions $.choices[*].delta.content: "
    assert f"{lost}the fixture has string, the upstream sends nothing" in moved.stdout
    assert "read by dialect openai_chat" in moved.stdout
    assert {f"Bearer {KEY}"} == set(upstream.arrived)
    told = [(home / "log").read_bytes(), moved.stdout.encode(), tried.stdout.encode()]
    kept = [path.read_bytes() for path in below(home / "kept")]
    assert [] == [form for secret in (KEY, OWN) for form in forms(secret)
                  for data in (*told, *kept) if form in data]  # fmt: skip
    assert {0o600} == {path.stat().st_mode & 0o777 for path in below(home / "kept")}
    assert 2 == (home / "log").read_text().count('"event":"recorded"')


async def test_without_record_nothing_of_it_is_there(home: Path) -> None:
    upstream = Upstream()

    def from_outside() -> str:
        with served(home) as at:
            return ask(at)

    async with listening(upstream.handle) as url:
        (home / "routes/made.yaml").write_text(ROUTE.replace("SITE", url))
        assert "Grüße ☃" == await asyncio.to_thread(from_outside)
    assert ["log", "penstock.yaml", "made.yaml"] == [path.name for path in below(home)]


def test_a_gateway_that_does_not_record_imports_none_of_what_does() -> None:
    code = "import sys, engine.cli.serve; print([m for m in sys.modules if 'engine.replay' in m])"
    run = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, check=True)
    assert b"[]" == run.stdout.strip()
