"""Each module can be imported first: nobody relies on what somebody else has imported before.

Each is imported in a process of its own, forked where the libraries and the floors below it, which
cannot import it, have been imported; they have had their own turn. So a circle, which can only be
within a floor, is met from each of its modules.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "engine").rglob("*.py")
    if path.name != "__main__.py"
)
DRIVER = """
import importlib, json, os, sys, traceback
import aiohttp.web, click, jinja2, orjson, prometheus_client, watchfiles, yaml, yarl

def loaded():
    return {name for name in sys.modules if name.partition(".")[0] == "engine"}

assert not loaded()
failed, known = 0, set()
for floor in json.loads(sys.argv[1]):
    for name in floor:
        child = os.fork()
        if not child:
            try:
                importlib.import_module(name)
            except BaseException:
                print(name, file=sys.stderr)
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        failed += os.waitpid(child, 0)[1] != 0
    if failed:
        break
    known.update(floor)
    for name in floor:
        importlib.import_module(name)
    assert loaded() <= known, f"imported by a lower floor: {sorted(loaded() - known)}"
sys.exit(failed > 0)
"""


def floors() -> list[list[str]]:
    """The modules of each floor, the lowest first, as the import contract has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["name"] == "floors")
    found = [["engine"]]
    for layer in reversed(layers):
        names = re.findall(r"\w+", layer)
        found.append([name for name in MODULES if name.partition(".")[2].split(".")[0] in names])
    return found


def imported(home: Path, given: list[list[str]]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, json.dumps(given)],
        cwd=home, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},  # else all is compiled in each process
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_each_module_can_be_imported_alone() -> None:
    given = floors()
    assert MODULES == sorted(name for floor in given for name in floor)
    done = imported(ROOT, given)
    assert done.returncode == 0, done.stderr


def test_a_circle_is_noticed_from_within(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import other\nX = 1\n")
    (tmp_path / "other.py").write_text("from one import X\n")
    done = imported(tmp_path, [["one", "other"]])
    assert done.returncode == 1
    assert "partially initialized module 'one'" in done.stderr


def test_a_module_that_cannot_be_imported_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    done = imported(tmp_path, [["broken"]])
    assert done.returncode == 1
    assert "no_such_module_at_all" in done.stderr
    assert len(MODULES) > 100
