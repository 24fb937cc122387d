"""The demo: a route of its own, and `penstock mock` beside it as the upstream.

The route is copied to ./demo/routes once, so that it can be edited; the mock runs as a process of
its own and ends with the demo.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .bundle import bundled_fixtures, bundled_routes

if TYPE_CHECKING:
    from .app import Gateway

FOLDER = Path("demo/routes")


class Demo:
    """A context manager: inside it the mock runs and `env` names its address."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._mock: subprocess.Popen[str] | None = None
        self.routes = FOLDER

    def __enter__(self) -> Demo:
        file = FOLDER / "demo.yaml"
        if not file.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundled_routes() / "examples" / "demo.yaml", file)
        self._mock = subprocess.Popen(
            [sys.executable, "-u", "-m", "engine.cli", "mock", str(bundled_fixtures() / "demo"),
             "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self._mock.stdout is not None
        line = self._mock.stdout.readline()
        if "http://" not in line:
            raise OSError("the mock upstream did not start")
        self._env["PENSTOCK_MOCK_URL"] = line.split()[-1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._mock is not None:
            self._mock.terminate()
            self._mock.wait(5)
            if self._mock.stdout is not None:
                self._mock.stdout.close()

    def say(self, gateway: Gateway) -> None:
        """What a newcomer needs: the address, two ways to call it, the file to edit."""
        sys.stdout.write(_WELCOME.format(url=gateway.url, file=self.routes / "demo.yaml"))
        sys.stdout.flush()


_WELCOME = """
Penstock is running. Base URL: {url}/v1

Ask it, streaming:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' -d '
    {{"model": "demo", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Or with the official OpenAI SDK for Python:

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="unused")
  for chunk in client.chat.completions.create(
      model="demo", stream=True, messages=[{{"role": "user", "content": "Hello"}}]
  ):
      print(chunk.choices[0].delta.content or "", end="", flush=True)

Then edit {file} (for instance `tone: pirate`), save it, and ask again.
Stop with Ctrl-C.

"""
