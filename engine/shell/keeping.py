"""What `serve --record` was asked for; whoever does it is imported only then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MOST = 200  # fixtures of a route


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the operator asked for. most: fixtures in the folder of a route; else as of Order."""

    folder: Path
    most: int = MOST
    allow: frozenset[str] = frozenset()
    synthetic: bool = False


class Writes(Protocol):
    """Whoever writes the fixtures (`engine/shell/scribe.py`)."""

    async def tend(self) -> None: ...
    async def close(self) -> None: ...
