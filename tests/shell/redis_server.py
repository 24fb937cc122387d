"""A redis-server of the tests' own, on a port that is free, with nothing on disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)


class RedisServer:
    """`start`, then `pause` (frozen), `resume`, `kill`; `url` stays the same over restarts."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.folder = folder
        self.password = password
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert PROGRAM is not None
        own = ["--requirepass", self.password] if self.password else []
        self.process = subprocess.Popen(
            [
                PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", str(self.folder), *own,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the redis-server does not come up")

    def pause(self) -> None:
        self._tell(signal.SIGSTOP)

    def resume(self) -> None:
        self._tell(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _tell(self, name: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(name)


def need_redis() -> None:
    """Skip, saying why, where there is no server; with PENSTOCK_TEST_NO_SKIP=1 that fails."""
    if PROGRAM is not None:
        return
    reason = "redis-server is not installed"
    if os.environ.get("PENSTOCK_TEST_NO_SKIP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
