"""Routes and fixtures for tests, written down where they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from engine.replay.fixtures import Fixture, read_fixture
from engine.replay.play import Seen, complaints, play
from engine.replay.recorded import Recorded
from engine.route.compile import Sources, compile_route
from engine.route.route import Route
from engine.shell.testing import WORLD

SHIPPED = Path("transforms")
HI: list[dict[str, str]] = [{"role": "user", "content": "Hi"}]
ASKS: dict[str, Any] = {"json": {"model": "m", "stream": True, "messages": HI}}


def route(text: str, transforms: Mapping[str, str] | None = None) -> Route:
    """The route in a text. transforms: sources by name; shipped ones are found, too."""
    own = transforms or {}

    def find(name: str) -> tuple[bytes, str] | None:
        if name in own:
            return dedent(own[name]).encode(), f"{name}.py"
        path = SHIPPED / f"{name}.py"
        return (path.read_bytes(), str(path)) if path.is_file() else None

    head = "version: 1\nname: made\nbase_url: https://made.example\nmodels: [m]\n"
    compiled = compile_route((head + dedent(text)).encode(), "made.yaml", Sources(transform=find))
    assert compiled.route is not None, "\n".join(map(str, compiled.problems))
    return compiled.route


def fixture(*exchanges: dict[str, Any], **more: Any) -> Fixture:
    """A fixture; its client asks for a stream with one message unless `client` says otherwise."""
    spec = {"fixture": 1, "route": "made", "client": ASKS, "exchanges": list(exchanges), **more}
    return read_fixture(json.dumps(spec).encode(), "made.yaml", _no_sidecar)


def _no_sidecar(name: str) -> bytes:
    raise FileNotFoundError(name)


def sse(*values: object) -> str:
    """A stream of server-sent events: JSON, texts as they are."""
    lines = (value if isinstance(value, str) else json.dumps(value) for value in values)
    return "".join(f"data: {line}\n\n" for line in lines)


async def seen(made: Route, asked: Fixture) -> list[Seen]:
    """What the client sees, in memory."""
    return await play(made, asked, WORLD, Recorded(asked))


async def judged(made: Route, asked: Fixture) -> list[str]:
    """What it should have seen and did not."""
    return complaints(asked, await seen(made, asked))
