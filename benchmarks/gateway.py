"""The processes of a run: compile the two tools, start and stop the mock and the gateways, measure.

A gateway is a command line and a folder of files; its CPU time and resident memory are read from
/proc for its whole process tree. Nothing is set in its environment: what is measured is shipped.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from compileall import compile_dir
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from cases import CHAT_PATH, CUSTOM_PATH, HEADERS, MESSAGES_PATH, Case, request_bytes

HERE = Path(__file__).parent
BIN = HERE / "bin"
ROUTES = HERE / "routes"
COMPILER = ("-O2", "-Wall", "-Wextra", "-Wshadow")
START_LIMIT = 300.0
TICK = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Failure(Exception):
    """A gateway did not start, or did not answer; the text is for the result."""


def build() -> None:
    """Compile what is older than its source: the two tools, and the engine as an install does."""
    engine = find_spec("engine")
    for place in (engine and engine.submodule_search_locations) or ():
        compile_dir(place, quiet=1)
    BIN.mkdir(exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    for name in ("mock", "load"):
        sources = [HERE / f"{name}.c", HERE / "bench.h"]
        target = BIN / name
        newest = max(source.stat().st_mtime for source in sources)
        if not target.exists() or target.stat().st_mtime < newest:
            subprocess.run([compiler, *COMPILER, "-o", target, sources[0]], check=True)


CORES = sorted(os.sched_getaffinity(0))


def leave_a_core() -> None:
    """Keep this process, and so mock and load generator, off the core that the gateways get.

    One that moves between cores loses its caches, and how often it does is chance.
    """
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Process:
    """A child with its own group and log; leaving the block ends the whole group."""

    command: list[str]
    folder: Path
    started: float = 0.0
    child: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        with (self.folder / "log.txt").open("wb") as log:
            self.started = time.monotonic()
            self.child = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, sign)
                self.child.wait(5)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.child.wait()

    def last_words(self) -> str:
        lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "no output"

    def tree(self) -> list[list[str]]:
        """The fields of /proc/PID/stat after the name, of the child and all below it."""
        rows: dict[int, list[str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                rows[int(entry)] = text[text.rindex(")") + 2 :].split()
        known = [self.child.pid]
        for parent in known:
            known += [pid for pid, row in rows.items() if int(row[1]) == parent]
        return [rows[pid] for pid in known if pid in rows]

    def cpu(self) -> float:
        """Seconds of CPU so far: user and system, with the children already reaped."""
        return sum(int(ticks) for row in self.tree() for ticks in row[11:15]) / TICK

    def rss_kb(self) -> int:
        return sum(int(row[21]) * PAGE_KB for row in self.tree())


@dataclass
class Gateway(Process):
    """A gateway under load on `port`, on a core of its own; `first_answer`: s from its start."""

    port: int = 0
    paths: tuple[str, str, str] = (CHAT_PATH, CHAT_PATH, MESSAGES_PATH)  # chat, custom, pair
    first_answer: float = 0.0

    def __enter__(self) -> Self:
        super().__enter__()
        os.sched_setaffinity(self.child.pid, CORES[:1])
        return self

    def path(self, case: Case) -> str:
        return self.paths[2 if case.pair else case.custom]

    def wait_ready(self, case: Case) -> None:
        """Ask until the first good answer to a plain request of this case."""
        body = request_bytes(case, path="/", events=0).partition(b"\r\n\r\n")[2]
        while not self._answers(self.path(case), body):
            if self.child.poll() is not None:
                raise Failure(f"ended with {self.child.returncode}: {self.last_words()}")
            if time.monotonic() - self.started > START_LIMIT:
                raise Failure(f"no answer in {START_LIMIT:.0f} s: {self.last_words()}")
            time.sleep(0.005)
        self.first_answer = time.monotonic() - self.started

    def _answers(self, path: str, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", path, body, HEADERS)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def mock(folder: Path, port: int) -> Process:
    (folder / "mock").mkdir()
    return Process([str(BIN / "mock"), str(port)], folder / "mock")


def gateway(name: str, folder: Path, case: Case, upstream: int) -> Gateway:
    """A gateway that is ready to be started, with its files in `folder`."""
    folder.mkdir(parents=True)
    return STARTERS[name](folder, case, upstream)


def bare(folder: Path, _: Case, upstream: int) -> Gateway:
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(upstream)]
    return Gateway(command, folder, port=port, paths=(CHAT_PATH, CUSTOM_PATH, CHAT_PATH))


def penstock(folder: Path, case: Case, upstream: int) -> Gateway:
    port = free_port()
    routes = folder / "routes"
    routes.mkdir()
    words = {"UPSTREAM_PORT": str(upstream), "LISTEN_PORT": str(port)}
    _fill("penstock.yaml", folder / "penstock.yaml", words)
    if case.routes is None:
        for name in ("openai.yaml", "custom.yaml"):
            _fill(name, routes / name, words)
    for number in range(case.routes or 0):
        digits = f"{number:05d}"
        _fill("many.yaml", routes / f"route-{digits}.yaml", {**words, "NUMBER": digits})
    command = shutil.which("penstock", path=str(Path(sys.executable).parent))
    if not command:
        raise Failure("there is no command `penstock` beside this Python")
    return Gateway([command, "serve", "--config", str(folder / "penstock.yaml")], folder, port=port)


def _fill(template: str, target: Path, words: dict[str, str]) -> None:
    text = (ROUTES / template).read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    target.write_text(text)


STARTERS = {"bare": bare, "penstock": penstock}
