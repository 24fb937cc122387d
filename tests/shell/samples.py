"""Route files for tests of the shell: small, without a dialect, on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TextIO

from engine.shell.clock import SystemClock
from engine.shell.library import Library
from engine.shell.watch import RouteKeeper


def route_text(*models: str, lines: str = "", path: str = "/chat") -> str:
    """A route of these models; `lines` are added at the top level."""
    return (
        "version: 1\n"
        "base_url: https://chat.example.com\n"
        f"models: [{', '.join(models)}]\n"
        f"request: {{ method: POST, path: {path}, json: {{ q: '{{{{ req.prompt }}}}' }} }}\n"
        "stream: { format: sse, events: [ { text: $.t, finish: $.f } ] }\n"
        f"{lines}\n"
    )


def transform_text(word: str) -> str:
    return (
        '"""Adds a word."""\n\n'
        "from engine.transform import HttpRequest\n\n"
        "API = 1\n\n\n"
        "class Transform:\n"
        "    def patch(self, request: HttpRequest) -> HttpRequest:\n"
        f'        return request.with_headers({{"X-Word": "{word}"}})\n'
    )


def save(path: Path, text: str) -> None:
    """As an editor does that writes in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    """As an editor does that writes beside and renames."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text)
    os.replace(beside, path)


def point(link: Path, target: str | Path) -> None:
    """Make a symbolic link, or move one on in a single step."""
    beside = link.with_name(link.name + ".tmp")
    beside.symlink_to(target)
    os.replace(beside, link)


def begin(path: Path, text: str) -> TextIO:
    """Start to write a file; the text is on disk, the rest is up to the caller."""
    file = path.open("w")
    file.write(text)
    file.flush()
    return file


def age(path: Path, seconds: float = 60.0) -> None:
    """Make a file look as if it had been written long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, dict[str, object]]] = []

    def saw(self, name: str, **fields: object) -> None:
        self.notes.append((name, fields))

    def named(self, name: str) -> list[dict[str, object]]:
        return [fields for known, fields in self.notes if known == name]


def keep(*folders: Path, env: dict[str, str] | None = None, **options: object) -> RouteKeeper:
    library = Library(folders, env={} if env is None else env)
    options.setdefault("observer", Seen())
    return RouteKeeper(library, clock=SystemClock(), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def running(keeper: RouteKeeper) -> AsyncIterator[RouteKeeper]:
    """A keeper that has loaded its routes and watches them."""
    await keeper.start()
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0.1)
    try:
        yield keeper
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], object], seconds: float = 6.0) -> None:
    """Wait for something to be so; fails when it is not in time."""
    for _ in range(int(seconds * 100)):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not so within {seconds} s")


async def never(true: Callable[[], object], seconds: float) -> None:
    """Fails when something comes to be so within these seconds."""
    for _ in range(int(seconds * 100)):
        assert not true()
        await asyncio.sleep(0.01)
