"""Claude Code, headless: how it is started, and what it tells of a turn.

Its state is in the machine's home. Retries are off, so that a fault is seen and not repaired; it
sends a broken stream again all the same, so tests count what came to the upstream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .programs import Machine, Started

_ENV = {
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "IS_SANDBOX": "1",  # may run as root
}


@dataclass(slots=True)
class Answer:
    """What `claude -p --output-format json` said of a turn."""

    told: dict[str, Any]

    @property
    def text(self) -> str:
        return str(self.told["result"])

    @property
    def session(self) -> str:
        return str(self.told["session_id"])

    @property
    def usage(self) -> tuple[int, int, int]:
        """Input tokens that no cache had, input tokens from a cache, output tokens."""
        counts = self.told["usage"]
        names = ("input_tokens", "cache_read_input_tokens", "output_tokens")
        return counts[names[0]], counts[names[1]], counts[names[2]]


@dataclass(slots=True)
class Claude:
    """url, key: of the gateway. titles: whether it asks for a title of the session too."""

    url: str
    key: str
    machine: Machine
    titles: bool = False

    async def run(self, model: str, prompt: str, *more: str) -> Answer:
        self._prepare(model)
        ran = await self.machine.run("claude", *_arguments(prompt), *more)
        assert ran.out.startswith("{"), ran
        return Answer(json.loads(ran.out))

    async def start(self, model: str, prompt: str) -> Started:
        self._prepare(model)
        return await self.machine.start("claude", *_arguments(prompt))

    def _prepare(self, model: str) -> None:
        quiet = {} if self.titles else {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        self.machine.env = {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": self.key,
            "ANTHROPIC_MODEL": model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
            **_ENV,
            **quiet,
        }


def _arguments(prompt: str) -> tuple[str, ...]:
    allowed = ("--allowedTools", "Bash,Read,Edit,Write")
    return "-p", prompt, "--output-format", "json", *allowed
