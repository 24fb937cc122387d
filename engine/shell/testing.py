"""Fixtures, tried: in memory, delivered in every other way, and once through real sockets.

Each fixture has its route compiled with the fixture's own environment and nothing of the process's.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Literal

from engine.errors import ConfigError
from engine.ports import Clock, Store
from engine.replay.coverage import Coverage
from engine.replay.fixtures import Fixture
from engine.replay.fuzz import fuzz
from engine.replay.play import World, complaints, play
from engine.route.compile import Compiled
from engine.route.route import Route
from engine.route.transforms import Loaded, load

from .loopback import through_sockets
from .shelf import Shelf
from .store_memory import MemoryStore
from .stub import load_fixture

_FIXTURE = re.compile(rb"^fixture:", re.M)


@dataclass(slots=True)
class Trial:
    """What came of one fixture. complaints: [] when all was as expected."""

    file: Path
    route: str = ""
    note: str = ""
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Subject:
    """A route under test, its transforms and what was reached of it."""

    compiled: Compiled
    transforms: list[Loaded]
    coverage: Coverage


class Silent:
    """An observer that does not care."""

    def saw(self, name: str, **fields: object) -> None:
        """Nothing is kept."""


def _store(clock: Clock) -> Store:
    return MemoryStore(clock.monotonic)


WORLD = World(_store, Silent())


def find_fixtures(paths: list[Path]) -> list[Path]:
    """The fixture files among files and folders; of a folder's files those that say `fixture:`."""
    found: list[Path] = []
    for path in paths:
        found += _inside(path) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def _inside(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.y*ml")):
        if path.is_file() and _FIXTURE.search(path.read_bytes()):
            yield path


class Prepared(Shelf):
    """The shelf of one fixture: its environment, and its files and logins for those of the disk."""

    def __init__(self, folders: list[Path], fixture: Fixture, *, bundled: bool = False) -> None:
        super().__init__(folders, env=fixture.spec.env, bundled=bundled)
        self._files, self._logged_in = fixture.spec.files, bool(fixture.spec.tokens)

    def there(self, path: str) -> bool:
        return self._logged_in

    def given(self, name: str) -> str | None:
        if self._files and name not in self._files:
            raise FileNotFoundError("not among the files of the fixture")
        return self._files.get(name)


class Bench:
    """Tries fixtures on the routes of some folders; the shipped routes and examples come last."""

    def __init__(
        self, folders: list[Path], *, depth: Literal["off", "quick", "full"], http: bool
    ) -> None:
        self._folders = folders
        self._depth = depth
        self._http = http
        self._subjects: dict[tuple[str, ...], Subject | None] = {}
        self._coverage: dict[str, Coverage] = {}

    async def attempt(self, file: Path) -> Trial:
        """Try one fixture. Never raises for what stands in it."""
        trial, begun = Trial(file), perf_counter()
        try:
            fixture = load_fixture(file)
        except (ConfigError, OSError) as error:
            trial.complaints.append(str(error))
            return trial
        trial.route, trial.note = fixture.spec.route, fixture.spec.note or ""
        subject = self._subject(fixture)
        if isinstance(subject, str):
            trial.complaints.append(subject)
        elif fixture.spec.client is not None:
            trial.complaints += await self._complaints(subject, fixture)
        trial.seconds = perf_counter() - begun
        return trial

    def route(self, fixture: Fixture) -> Route | None:
        """The route of a fixture, None if there is none that works."""
        subject = self._subject(fixture)
        return None if isinstance(subject, str) else subject.compiled.route

    async def _complaints(self, subject: Subject, fixture: Fixture) -> list[str]:
        route, coverage = subject.compiled.route, subject.coverage
        assert route is not None
        with coverage.running(subject.transforms):
            out = complaints(fixture, await play(coverage.watched(route), fixture, WORLD))
        if out:
            return out  # all else would only say it again
        if self._depth != "off":
            out += await fuzz(route, fixture, WORLD, self._depth)
        if self._http and not _stalls(fixture):
            out += await _over_http(route, fixture)
        return out

    def _subject(self, fixture: Fixture) -> Subject | str:
        """The route of a fixture; or why there is none."""
        spec, beside = fixture.spec, Path(fixture.file).parent
        name, world = spec.route, (*sorted(spec.env.items()), *sorted(spec.files.items()))
        place = str(beside) if _is_file(name) else ""
        key = (place, name, str(bool(spec.tokens)), *map(repr, world))
        if key not in self._subjects:
            self._subjects[key] = self._compile(name, beside, fixture)
        subject = self._subjects[key]
        if subject is None:
            return f"there is no route `{name}`"
        if subject.compiled.route is None:
            return "\n".join(str(problem) for problem in subject.compiled.errors)
        return subject

    def _compile(self, name: str, beside: Path, fixture: Fixture) -> Subject | None:
        if _is_file(name):
            path = beside / name
            if not beside.is_dir():  # a fixture that is not written yet
                path = Path(os.path.normpath(path))
            found = Prepared([path.parent], fixture).load(path) if path.is_file() else None
        else:
            found = Prepared(self._folders, fixture, bundled=True).find(name)
        if found is None:
            return None
        coverage = self._coverage.setdefault(found.name, Coverage())
        return Subject(found, _transforms(found.route), coverage)

    def gaps(self) -> dict[str, list[str]]:
        """What no fixture has reached, by route. Complete once all its fixtures were tried."""
        out: dict[str, list[str]] = {}
        for subject in self._subjects.values():
            if subject is not None and subject.compiled.route is not None:
                found = subject.coverage.gaps(subject.compiled, subject.transforms)
                out[subject.compiled.name] = found
        return out


async def _over_http(route: Route, fixture: Fixture) -> list[str]:
    seen = await through_sockets(route, fixture, WORLD.observer)
    return [f"through sockets: {complaint}" for complaint in complaints(_told(fixture), seen)]


def _told(fixture: Fixture) -> Fixture:
    """The fixture without the usage, where a client has not asked to be told."""
    client, spec = fixture.spec.client, fixture.spec
    assert client is not None
    options = client.json.get("stream_options")
    if not client.json.get("stream") or (isinstance(options, dict) and options["include_usage"]):
        return fixture
    expect = dataclasses.replace(spec.expect, usage={})
    return dataclasses.replace(fixture, spec=dataclasses.replace(spec, expect=expect))


def _stalls(fixture: Fixture) -> bool:
    """Whether real time would have to pass."""
    return any(each.reply.end == "stall" for each in fixture.spec.exchanges)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _transforms(route: Route | None) -> list[Loaded]:
    """The transforms a route names anywhere, also in its values."""
    paths = [Path(file) for file in (route.files if route else ()) if file.endswith(".py")]
    return [load(path.stem, path.read_bytes(), str(path)) for path in paths]
