"""aimock, a server with fixtures that speaks many dialects, and what it is told to say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.clients.cli.programs import HERE as CLI
from tests.clients.cli.programs import without

from .servers import free_port, serving

SAID = "Héllo, 世界 👩‍👩‍👧, the weather is fine"
RESULT = "21° in Oslo"
REFUSAL = "slow down, please"
_CALL: Any = {"name": "weather", "arguments": {"city": "Oslo"}}
_REFUSED: Any = {"message": REFUSAL, "type": "rate_limit_error"}
_FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": SAID}},
    {"match": {"userMessage": "weather", "hasToolResult": False},
     "response": {"toolCalls": [_CALL]}},
    {"match": {"userMessage": "weather", "toolResultContains": RESULT},
     "response": {"content": f"It is {RESULT}."}},
    {"match": {"userMessage": "too fast"}, "response": {"error": _REFUSED, "status": 429}},
]  # fmt: skip


@asynccontextmanager
async def aimock(home: Path) -> AsyncIterator[str]:
    """Runs in a folder; gives its URL."""
    program = CLI / "node_modules/.bin/llmock"
    if not program.exists():
        without("aimock is not installed: `make test-clients` does that")
    (home / "fixtures.json").write_text(json.dumps({"fixtures": _FIXTURES}))
    port = free_port()
    command = ["node", str(program), "-p", str(port), "-f", "fixtures.json"]
    async with serving(home, port, command, "/health") as url:
        yield url
