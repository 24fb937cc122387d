"""Command-line clients, run headless: a clean environment, a home and a folder of their own.

They are what `package.json` pins; `make test-clients` installs them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIMIT = 90.0  # seconds a program may take


@dataclass(slots=True)
class Ran:
    """What a program came to."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Started:
    """A program that runs, with its children a process group of its own."""

    process: asyncio.subprocess.Process

    async def end(self) -> Ran:
        """Wait for its end. It is killed after LIMIT seconds: TimeoutError."""
        try:
            out, err = await asyncio.wait_for(self.process.communicate(), LIMIT)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()
            raise
        return Ran(self.process.returncode or 0, out.decode(), err.decode())

    def signal(self, number: signal.Signals) -> None:
        """To the whole group: a launcher may have started the real program."""
        os.killpg(self.process.pid, number)


@dataclass(slots=True)
class Machine:
    """A home and a working folder, kept from one run to the next. env: what programs need."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    async def run(self, name: str, *arguments: str) -> Ran:
        """Run a program to its end."""
        started = await self.start(name, *arguments)
        return await started.end()

    async def start(self, name: str, *arguments: str, needs: str | None = None) -> Started:
        """Start a client; or another program, where `needs` names the client it starts, or none.

        Skips the test, naming the client, if that is not installed.
        """
        clients = HERE / "node_modules/.bin"
        client = name if needs is None else needs
        if client and not (clients / client).exists():
            without(f"{client} is not installed: `make test-clients` does that")
        self.home.mkdir(exist_ok=True)
        self.work.mkdir(exist_ok=True)
        env = {"PATH": f"{clients}:{os.environ['PATH']}", "HOME": str(self.home), "TERM": "dumb",
               "LANG": "C.UTF-8", **self.env}  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            str(clients / name) if needs is None else name,
            *arguments,
            cwd=self.work,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return Started(process)


def without(reason: str) -> None:
    """Skip the test; fail it where nothing may be skipped."""
    if os.environ.get("PENSTOCK_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
