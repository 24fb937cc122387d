"""Each module can be imported first: nobody relies on what somebody else has imported before.

The libraries are imported once, then each module in a process of its own, forked from there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in (ROOT / "engine").rglob("*.py")
    if path.name != "__main__.py"
)
DRIVER = """
import importlib, os, sys, traceback
import aiohttp.web, click, jinja2, orjson, prometheus_client, watchfiles, yaml, yarl
assert not [name for name in sys.modules if name.partition(".")[0] == "engine"]
failed = 0
for name in sys.argv[1:]:
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
sys.exit(failed > 0)
"""


@pytest.mark.parametrize("part", range(8))
def test_each_module_can_be_imported_alone(part: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, *MODULES[part::8]],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_module_that_cannot_be_imported_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "broken"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no_such_module_at_all" in done.stderr
    assert len(MODULES) > 100
