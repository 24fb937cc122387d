"""The demonstration of the README, typed as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = re.compile(r"^ask\b.*$", re.M)
# What a reader does with their eyes: look again until the edit, or the list of models, is in.
PATIENT = """\
until_seen() {
  for _ in $(seq 150); do
    seen=$(ask)
    case "$seen" in *"$1"*) echo "SEEN $seen"; return;; esac
    sleep 0.2
  done
  echo "NOT SEEN $1 in $seen"
}
"""


def script() -> str:
    page = (ROOT / "README.md").read_text("utf-8")
    section = page.partition("## When the upstream changes\n")[2].partition("\n## ")[0]
    hit = re.search(r"```sh\n(.*?)```", section, re.S)
    assert hit is not None
    return hit[1]


def free_ports() -> list[int]:
    places = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [place.getsockname()[1] for place in places]
    for place in places:
        place.close()
    return ports


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_newcomer_sees_the_route_break_and_mends_it(tmp_path: Path) -> None:
    for name in ("routes", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = script()
    for written, port in zip(("8091", "8092"), free_ports(), strict=True):
        text = text.replace(written, str(port))
    wanted = iter(("Here I am.", '"error"', "Here I am."))
    text = ASK.sub(lambda hit: f"until_seen '{next(wanted)}'" if hit[0][3] != "(" else hit[0], text)
    tool = f'penstock() {{ "{sys.executable}" -m engine "$@"; }}\n'
    run = subprocess.Popen(
        ["bash", "-c", tool + PATIENT + text], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert run.stdout is not None
        seen = [line for line in _lines(run) if "SEEN" in line]
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert ["NOT SEEN" in line for line in seen] == [False] * 3, seen
    assert next(wanted, None) is None
    assert "url should be" in seen[1]
    assert '"Here I am."' in seen[2]


def _lines(run: subprocess.Popen[str]) -> list[str]:
    """What it prints, until the third answer; its servers would go on."""
    assert run.stdout is not None
    found: list[str] = []
    for line in run.stdout:
        found.append(line.strip())
        if sum("SEEN" in each for each in found) == 3:
            break
    return found
