"""A Library as the command line uses it: routes by name, presets, transforms, clashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.errors import ConfigError, Problem
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside
from engine.route.transforms import Loaded, load

from .bundle import bundled_presets, bundled_routes, bundled_transforms
from .library import Library, Table


def route_folders(named: list[Path], env: Mapping[str, str]) -> list[Path]:
    """--routes, else PENSTOCK_ROUTES (separated by `:`), else ./routes, else the bundle."""
    if named:
        return named
    if env.get("PENSTOCK_ROUTES"):
        return [Path(part) for part in env["PENSTOCK_ROUTES"].split(":") if part]
    here = Path("routes")
    return [here] if here.is_dir() else [bundled_routes()]


class Shelf(Library):
    """Everything of `Library`, and the questions of check, list, show and explain."""

    def presets(self) -> list[Path]:
        return sorted(bundled_presets().glob("*.yaml"))

    def find(self, name: str) -> Compiled | None:
        """A route by name, an example by name, or a preset as `preset:NAME`."""
        if name.startswith("preset:"):
            path = bundled_presets() / f"{name.removeprefix('preset:')}.yaml"
            return self.load(path) if path.is_file() else None
        for path in self.scan():
            if self.name(str(path)) == name:
                return self.load(path)
        example = bundled_routes() / "examples" / f"{name}.yaml"
        return self.load(example) if example.is_file() else None

    def compile(self, source: bytes, file: str) -> Compiled:
        """Text that stands in no route file of its own (a fence in a page)."""
        return compile_route(
            source, file, Sources(Outside(self.env), self._parent, self._transform)
        )

    def _parent(self, name: str, file: str) -> tuple[bytes, str] | str:
        path = bundled_presets() / f"{name}.yaml"
        return (path.read_bytes(), str(path)) if path.is_file() else f"no preset `{name}`"

    def _transform(self, name: str) -> tuple[bytes, str] | None:
        path = bundled_transforms() / f"{name}.py"
        return (path.read_bytes(), str(path)) if path.is_file() else None

    def transforms(self) -> list[Loaded]:
        """The shipped transforms and those beside the folders, by name."""
        own = [folder.parent / "transforms" for folder in self.folders]
        paths = {
            path.stem: path for home in (bundled_transforms(), *own) for path in home.glob("*.py")
        }
        found = []
        for name, path in sorted(paths.items()):
            try:
                found.append(load(name, path.read_bytes(), str(path), execute=self.execute))
            except ConfigError:
                continue  # `check` names it where a route uses it
        return found

    def clashes(self) -> list[tuple[Path, list[Problem]]]:
        """Routes that cannot serve beside those before them."""
        table = Table()
        out = []
        for path in self.scan():
            route = self.load(path).route
            if route is None:
                continue
            problems = table.refuse(route)
            if problems:
                out.append((path, problems))
            else:
                table.add(route)
        return out
