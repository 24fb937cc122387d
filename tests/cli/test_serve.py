"""penstock serve: what it says at first. While it serves: tests/shell/test_reload_live.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROUTE = "version: 1\ndialect: openai_chat\nbase_url: https://a.example\nmodels: [m]\n"


def said(home: Path, *options: str) -> list[str]:
    """The lines up to the one that it serves."""
    (home / "routes").mkdir()
    (home / "routes/a.yaml").write_text(ROUTE)
    command = [sys.executable, "-m", "engine", "serve", "--port", "0", *options]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            lines.append(line)
            if line.startswith("Penstock serves"):
                break
        run.terminate()
    return lines


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_gateway_that_is_open_to_other_machines_says_so(
    tmp_path: Path, host: str, warned: bool
) -> None:
    *before, last = said(tmp_path, "--open", "--host", host)
    assert last.startswith(f"Penstock serves 1 route on http://{host}:")
    assert warned == ("warning W601: no key is asked for" in "".join(before))
