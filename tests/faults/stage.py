"""The gateway under test as a process of its own, in front of the fault upstream.

`penstock serve` with a server file and one route file for each kind of route. Timers are short:
the first event is due within FIRST seconds, the next within IDLE, all within TOTAL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .client import CLIENT_KEY
from .upstream import UPSTREAM_KEY, Script, Upstream, upstream

CONNECT, FIRST, IDLE, TOTAL = 1.5, 1.5, 1.5, 12.0
TRIES = 3
BODY_LIMIT = 16 * 1024**2
FRAME_LIMIT = 6 * 1024**2
WHOLE_LIMIT = 8 * 1024**2

_COMMON = f"""\
version: 1
auth: {{ bearer: "${{env:UPSTREAM_KEY}}" }}
timeouts:
  connect: {int(CONNECT * 1000)}ms
  first_byte: {int(FIRST * 1000)}ms
  idle: {int(IDLE * 1000)}ms
  total: {int(TOTAL * 1000)}ms
  early_headers: never
retry: {{ attempts: {TRIES}, backoff: {{ initial: 10ms, max: 20ms }}, budget: {{ least: 999 }} }}
limits: {{ event: {FRAME_LIMIT // 1024}KiB, answer: {WHOLE_LIMIT // 1024}KiB }}
"""

_CHAT = """\
extends: openai
base_url: "http://127.0.0.1:PORT/v1"
"""

_RULES = """\
base_url: "http://127.0.0.1:PORT"
request:
  path: /rules
  json: { model: "{{ model.upstream }}", prompt: "{{ req.prompt }}", stream: true }
stream:
  format: sse
  done: "[END]"
  events:
    - { match: { kind: word }, text: $.piece }
    - match: { kind: call }
      tool_calls: { index: $.at, id: $.id, name: $.name, arguments: $.args }
    - match: { kind: bye }
      finish: { path: $.why, map: { fini: stop, tools: tool_calls, "*": stop } }
    - { match: { kind: count }, usage: { input: $.in, output: $.out } }
    - match: { kind: error }
      error:
        message: $.message
        class: $.type
        map: { overloaded_error: overloaded, rate_limit_error: rate_limited, "*": retryable }
    - { match: { kind: thinking }, ignore: true }
"""

_NDJSON = """\
base_url: "http://127.0.0.1:PORT"
request:
  path: /ndjson
  json:
    model: "{{ model.upstream }}"
    messages: "{{ req.messages | as_openai }}"
    stream: "{{ req.stream }}"
stream:
  format: ndjson
  events: &rules
    - has: $.error
      error:
        message: $.error
        class: $.type
        map: { overloaded_error: overloaded, rate_limit_error: rate_limited, "*": retryable }
    - { text: $.message.content, continue: true }
    - has: $.call
      tool_calls: { id: auto, name: $.call.name, arguments: $.call.args }
      continue: true
    - match: { done: true }
      finish: { path: $.done_reason, map: { stop: stop, tools: tool_calls, "*": stop } }
      usage: { input: $.prompt_eval_count, output: $.eval_count }
    - { ignore: true }
response: { events: *rules }
"""

_PLAIN = """\
base_url: "http://127.0.0.1:PORT"
request:
  path: /plain
  json: { model: "{{ model.upstream }}", prompt: "{{ req.prompt }}" }
response:
  events:
    - match: { ok: false }
      error:
        message: $.message
        class: $.type
        map: { overloaded_error: overloaded, rate_limit_error: rate_limited, "*": retryable }
    - text: $.answer
      tool_calls: { id: auto, name: $.tool, arguments: $.args }
      usage: { input: $.read, output: $.written }
      continue: true
    - { has: $.answer, finish: stop }
    - { has: $.tool, finish: tool_calls }
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of route. form of its upstream's answers for a streaming and for a plain client.

    passes   answers go through on bytes
    sniffs   undeclared compression is recognised
    """

    lines: str
    stream: str
    plain: str
    passes: bool = False
    sniffs: bool = False


KINDS: dict[str, Kind] = {
    "passed": Kind(_CHAT, "sse", "whole", passes=True),
    "translated": Kind(_CHAT + "transforms: [think_tags]\n", "sse", "whole"),
    "rules": Kind(_RULES + "upstream: { sniff: true }\n", "sse", "sse", sniffs=True),
    "ndjson": Kind(_NDJSON, "ndjson", "whole"),
    "plain": Kind(_PLAIN, "whole", "whole"),
}

_SERVER = """\
version: 1
listen: {{ host: 127.0.0.1, port: 0 }}
clients: {{ keys: ["{key}"] }}
routes: [./routes]
state: ./state
log: {{ format: json, level: debug }}
limits: {{ request: {limit} }}
drain: {drain}
"""


@dataclass(slots=True)
class Gateway:
    """A running `penstock serve`."""

    process: asyncio.subprocess.Process
    port: int
    home: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return (self.home / "log").read_text()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    async def stop(self, limit: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(limit):
            return await self.process.wait()


@asynccontextmanager
async def gateway(
    home: Path, routes: Mapping[str, str], *, drain: str = "1s"
) -> AsyncIterator[Gateway]:
    """Serve these route files, by name; killed at the end unless stopped before."""
    folder = home / "routes"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in routes.items():
        (folder / f"{name}.yaml").write_text(text)
    server = _SERVER.format(key=CLIENT_KEY, limit=f"{BODY_LIMIT // 1024}KiB", drain=drain)
    (home / "penstock.yaml").write_text(server)
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "engine", "serve", "--strict-start"),
            cwd=home,
            env={**os.environ, "UPSTREAM_KEY": UPSTREAM_KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        said = (await process.stdout.readline()).decode()
        assert "http://" in said, f"it did not start: {said}{(home / 'log').read_text()}"
        url = said.partition("http://")[2].split("/")[0]
        yield Gateway(process, int(url.rpartition(":")[2]), home)
    finally:
        if process.returncode is None:
            process.kill()
            with suppress(ProcessLookupError):
                await process.wait()


def route(
    kind: str, port: int, models: Iterable[str], edits: Mapping[str, str] | None = None
) -> str:
    """The text of a route file, pieces of it exchanged. Clients name the fault `x` `KIND.x`."""
    names = sorted({"healthy", *models})
    listed = ", ".join(f"{{ id: {kind}.{name}, upstream: {name} }}" for name in names)
    text = f"{_COMMON}{KINDS[kind].lines}models: [{listed}]\n".replace("PORT", str(port))
    for old, new in (edits or {}).items():
        assert text.count(old) == 1, f"{old!r} in {text}"
        text = text.replace(old, new)
    return text


@dataclass(slots=True)
class Stage:
    gateway: Gateway
    upstream: Upstream


@asynccontextmanager
async def stage(
    home: Path,
    scripts: Mapping[str, Script],
    kinds: Iterable[str] = KINDS,
    *,
    drain: str = "1s",
    edits: Mapping[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Gateway and upstream, with a route of each kind."""
    async with upstream(scripts) as behind:
        routes = {kind: route(kind, behind.port, scripts, edits) for kind in kinds}
        async with gateway(home, routes, drain=drain) as before:
            yield Stage(before, behind)
