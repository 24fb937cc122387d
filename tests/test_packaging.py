"""The wheel: what is in it, and that it works where nothing of the repository is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from engine import __version__

ROOT = Path(__file__).parents[1]
SITE = Path(sysconfig.get_paths()["purelib"])
VARIABLE = re.compile(r"\$\{env:(\w+)\}")


def run(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(arg) for arg in args], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.devnull, **env},
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", out, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of its own with the wheel; its libraries are ours."""
    home = tmp_path_factory.mktemp("installed")
    assert run(sys.executable, "-m", "venv", "--without-pip", home).returncode == 0
    python = home / "bin/python"
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps",
        "--no-index", "--no-cache-dir", wheel,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (site,) = home.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"{SITE}\n")
    return home


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def files(folder: str, pattern: str) -> set[str]:
    """The files below a folder of the repository, by their place in the bundle."""
    return {f"engine/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob(pattern)}


def test_routes_transforms_and_the_demo_come_along(wheel: Path) -> None:
    found = names(wheel)
    assert files("routes", "*.yaml") <= found
    assert files("transforms", "*.py") <= found
    demo = {path.name for path in (ROOT / "tests/fixtures/demo").iterdir() if path.is_file()}
    assert {f"engine/_bundled/fixtures/demo/{name}" for name in demo} <= found
    assert demo
    assert "engine/py.typed" in found


def test_nothing_else_comes_along(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in names(wheel)}
    assert top == {"engine", f"penstock-{__version__}.dist-info"}
    for name in names(wheel):
        assert not name.endswith((".pth", ".pyc", ".so"))
        assert "test_" not in Path(name).name
        assert (
            name.startswith(("engine/_bundled/fixtures/demo/", "penstock-"))
            or "fixtures/" not in name
        )


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"penstock-{__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "penstock = engine.cli:main" in scripts
    assert f"{info}/licenses/LICENSE" in names(wheel)


def test_the_installed_command_is_the_installed_package(home: Path, tmp_path: Path) -> None:
    python = home / "bin/python"
    done = run(python, "-P", "-c", "import engine; print(engine.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(home), done.stderr
    version = run(home / "bin/penstock", "--version")
    assert version.stdout == f"penstock, version {__version__}\n"


def test_what_comes_along_is_found_and_good(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    bundled = list(home.glob("lib/python*/site-packages/engine/_bundled/routes/*.yaml"))
    variables = {name for path in bundled for name in VARIABLE.findall(path.read_text())}
    env = {
        name: "https://made.example" if name.endswith(("URL", "ENDPOINT")) else "a-made-up-value"
        for name in variables
    }
    done = run(home / "bin/penstock", "check", "--bundled", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* files? checked", done.stdout), done.stdout


@pytest.mark.parametrize(
    ("what", "words"),
    [("presets", "openai"), ("transforms", "think_tags"), ("routes", "openai"), ("filters", "b64")],
)
def test_what_comes_along_is_listed(
    home: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    monkeypatch.chdir(home)
    done = run(home / "bin/penstock", "list", what, "--bundled")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_the_demo_fixtures_hold_as_installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (demo,) = home.glob("lib/python*/site-packages/engine/_bundled/fixtures/demo")
    done = run(home / "bin/penstock", "test", demo)
    assert done.returncode == 0, done.stdout + done.stderr
