"""Codex, headless: how it is started, and what it tells of a turn.

Every setting is given on the command line; its state is in the machine's home.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .programs import Machine

_PROVIDER = (
    'model_providers.gw={{name="gw",base_url="{url}/v1",env_key="GWKEY",wire_api="responses",'
    "request_max_retries=0,stream_max_retries=0}}"
)


@dataclass(slots=True)
class Turn:
    """What one run of `codex exec --json` said."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Items of a type that were completed."""
        done = [e["item"] for e in self.events if e["type"] == "item.completed"]
        return [item for item in done if item["type"] == kind]

    @property
    def text(self) -> str:
        return "\n".join(item["text"] for item in self.items("agent_message"))

    @property
    def usage(self) -> dict[str, int]:
        (found,) = [e["usage"] for e in self.events if e["type"] == "turn.completed"]
        return dict(found)

    @property
    def error(self) -> str:
        failed = [e["error"]["message"] for e in self.events if e["type"] == "turn.failed"]
        return failed[0] if failed else ""


@dataclass(slots=True)
class Codex:
    """url, key: of the gateway."""

    url: str
    key: str
    machine: Machine

    async def run(self, model: str, prompt: str) -> Turn:
        return await self._exec([], model, prompt)

    async def resume(self, model: str, prompt: str) -> Turn:
        """A further turn of the last session."""
        return await self._exec(["resume", "--last"], model, prompt)

    async def _exec(self, verb: list[str], model: str, prompt: str) -> Turn:
        home = self.machine.home / ".codex"
        home.mkdir(parents=True, exist_ok=True)
        self.machine.env |= {"CODEX_HOME": str(home), "GWKEY": self.key}
        ran = await self.machine.run(
            "codex", "exec", *verb, "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox", "--json", "-c", "model_provider=gw",
            "-c", f"model={model}", "-c", _PROVIDER.format(url=self.url), "--", prompt,
        )  # fmt: skip
        lines = [json.loads(line) for line in ran.out.splitlines() if line.startswith("{")]
        return Turn(lines)
