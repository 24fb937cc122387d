"""The route files of tests/fixtures/good and tests/fixtures/bad, and how both are compiled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside
from engine.route.transforms import Loaded, load

ROOT = Path(__file__).resolve().parents[2]
GOOD = sorted((ROOT / "tests/fixtures/good").glob("*.yaml"))
BAD = sorted((ROOT / "tests/fixtures/bad").glob("*.bad.yaml"))
FOLDERS = (ROOT / "tests/fixtures/bad/transforms", ROOT / "transforms")
ENV = {"KEY": "a-key"}
SERVERS = frozenset({"time", "files"})

_EXPECT = re.compile(rb"# expect: ([EW]\d{3}) (\d+):(\d+) (.*)\n")


@dataclass(frozen=True, order=True)
class Expected:
    """One line `# expect: CODE LINE:COLUMN beginning of the message`."""

    line: int
    column: int
    code: str
    begins: str


def expected(source: bytes) -> list[Expected]:
    """What the first lines of a bad file say, in the order of places."""
    hits = []
    at = 0
    while hit := _EXPECT.match(source, at):
        at = hit.end()
        code, line, column, begins = (part.decode() for part in hit.groups())
        hits.append(Expected(int(line), int(column), code, begins))
    return sorted(hits)


class Find:
    """Transforms of the two folders, by name."""

    known = tuple(path.stem for folder in FOLDERS for path in sorted(folder.glob("*.py")))

    def __call__(self, name: str) -> tuple[bytes, str] | None:
        for folder in FOLDERS:
            path = folder / f"{name}.py"
            if path.is_file():
                return path.read_bytes(), f"transforms/{name}.py"
        return None


def own_transforms() -> list[Loaded]:
    """The two transforms that the bad files use."""
    return [load(path.stem, path.read_bytes(), path.name) for path in FOLDERS[0].glob("*.py")]


def compile_bytes(source: bytes, name: str, folder: Path) -> Compiled:
    """A route compiled from bytes; its other files are those of the folder with a leading `_`."""

    def parent(wanted: str, file: str) -> tuple[bytes, str] | str:
        path = folder / wanted
        return (path.read_bytes(), path.name) if path.is_file() else f"no parent `{wanted}`"

    def read(path: str) -> str:
        if not path.startswith("_"):
            raise FileNotFoundError(2, "No such file or directory")
        return (folder / path).read_text()

    sources = Sources(Outside(ENV, read), parent, Find(), servers=SERVERS)
    return compile_route(source, name, sources)


def compile_file(path: Path) -> Compiled:
    return compile_bytes(path.read_bytes(), path.name, path.parent)
