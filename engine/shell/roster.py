"""Which route of each file serves: what the keeper decides, without time, threads or files.

A file's record holds its newest reading and the last good route. A reading becomes a candidate; a
candidate is admitted when its name is free and no route of equal priority offers one of its models,
else the last good route of its file stays. So a clash only ever refuses the newer definition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import Problem
from engine.route.book import RouteBook, make_book
from engine.route.route import Route
from engine.route.transforms import release

from .generations import Generations, Notice
from .library import Reading, Table

State = Literal["ok", "stale", "broken", "disabled", "abstract"]
GRACE = 1.0  # seconds a file may be missing before its route goes: saving by rename deletes first


@dataclass(frozen=True, slots=True)
class RouteState:
    """What is known of one route file.

    state       ok; stale: the file is wrong, its last good route serves; broken: it is wrong and
                nothing serves; disabled: by itself, or only an environment variable is missing
    generation  counts the routes that served under this name, 0 when none did
    sha256      digest of the route that serves and of all it was made of, "" when none does
    loaded_at   epoch seconds when that route came in
    problems    of the file as it stands now, warnings too
    transforms  name -> sha256, of the route that serves
    folder      the routes folder it came from
    shadows     files of later folders with the same route name
    """

    file: str
    name: str
    state: State
    generation: int
    sha256: str
    loaded_at: float
    problems: tuple[Problem, ...]
    transforms: Mapping[str, str]
    folder: str
    shadows: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Record:
    """One route file. missing: monotonic seconds since when it is gone, None while it is there."""

    file: str
    reading: Reading
    candidate: Route | None = None
    serving: Route | None = None
    refused: list[Problem] = field(default_factory=list)
    generation: int = 0
    loaded_at: float = 0.0
    transforms: dict[str, str] = field(default_factory=dict)
    missing: float | None = None

    def take(self, reading: Reading) -> None:
        """A new reading. One that gives the very route that serves changes nothing."""
        self.reading, self.refused = reading, []
        route, old = reading.compiled.route, self.serving
        if route is not None and not route.spec.enabled:
            route = None
        same = route and old and (route.name, route.digest) == (old.name, old.digest)
        self.candidate = old if same else route
        if route is None and not reading.compiled.errors:  # abstract or switched off
            self.serving = None

    def succeed(self, gone: Record) -> None:
        """The file was renamed (or a folder before it now has the route): keep what served."""
        self.serving, self.generation = gone.serving, gone.generation
        self.loaded_at, self.transforms = gone.loaded_at, gone.transforms
        self.take(self.reading)

    def enter(self, table: Table) -> bool:
        """Serve the candidate, if the others leave room for it."""
        assert self.candidate is not None
        self.refused = table.refuse(self.candidate, self.serving)
        if self.refused:
            return False
        if self.serving is not None:
            table.drop(self.serving)
        table.add(self.candidate)
        self.serving = self.candidate
        return True

    def begin(self, generations: Generations, now: float, wall: float) -> None:
        assert self.serving is not None
        found = self.reading.transforms
        self.transforms = {name: digest for name, (_, digest) in found.items()}
        self.generation = generations.begin(self.serving, self.transforms.values(), now)
        self.loaded_at = wall

    def expired(self, expected: Collection[str], before: float) -> bool:
        """It has been missing for long enough, and no file being written will go on with it."""
        if self.missing is None or self.missing > before:
            return False
        return self.serving is None or self.serving.name not in expected

    @property
    def waits(self) -> bool:
        """There is a candidate that does not serve yet."""
        new = self.candidate is not None and self.candidate is not self.serving
        return new and self.missing is None

    @property
    def problems(self) -> list[Problem]:
        return [*self.refused, *self.reading.compiled.problems]

    @property
    def withdrawn(self) -> bool:
        """The file itself says that it is not to serve."""
        return self.candidate is None and not self.reading.compiled.errors

    @property
    def state(self) -> State:
        compiled = self.reading.compiled
        if compiled.errors or self.refused:
            if self.serving is not None:
                return "stale"
            return "disabled" if compiled.only_unset else "broken"
        if compiled.spec is not None and compiled.spec.abstract:
            return "abstract"
        return "ok" if self.serving is not None else "disabled"

    @property
    def good(self) -> bool:
        return self.state in ("ok", "abstract")

    def failed(self, notice: str, level: str) -> Notice:
        fields: dict[str, object] = {
            "route": self.reading.compiled.name,
            "file": self.file,
            "state": self.state,
            "problems": [_plain(problem) for problem in self.problems],
            "level": level,
        }
        return Notice(notice, fields)

    def tell(self, shadows: tuple[str, ...]) -> RouteState:
        """The record for others to read."""
        serving = self.serving
        return RouteState(
            file=self.file,
            name=serving.name if serving else self.reading.compiled.name,
            state=self.state,
            generation=self.generation,
            sha256=serving.digest if serving else "",
            loaded_at=self.loaded_at,
            problems=tuple(self.problems),
            transforms=self.transforms if serving else {},
            folder=self.reading.folder,
            shadows=shadows,
        )


@dataclass(slots=True)
class Outcome:
    """What a settlement gave. results: file -> ok unchanged stale broken removed disabled."""

    book: RouteBook
    states: dict[str, RouteState]
    results: dict[str, str]
    notices: list[Notice]


class Roster:
    """The records of all files, in the order in which they were first seen."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.generations = Generations()
        self.book = RouteBook()
        self._modules: set[str] = set()

    def settle(
        self,
        readings: Mapping[str, Reading],
        missing: Collection[str],
        shadows: Mapping[str, tuple[str, ...]],
        *,
        expected: Collection[str],
        now: float,
        wall: float,
        force: bool = False,
    ) -> Outcome:
        """Take new readings in and let files go.

        missing  files that have a record and are not there
        shadows  file -> the files of later folders that it hides
        expected names of routes in files that are being written: who goes may have an heir there
        now      monotonic seconds; wall: epoch seconds
        force    files that are missing are gone at once
        """
        for file, reading in readings.items():
            self.records.setdefault(file, Record(file, reading)).take(reading)
        removed = self._let_go(missing, expected, now, 0.0 if force else GRACE)
        self._admit()
        loaded = {record: None for record in self.records.values() if self._is_new(record)}
        for record in loaded:
            record.begin(self.generations, now, wall)
        notices = [*map(_loaded, loaded), *self._failures(readings)]
        book = self._book()
        gone = self.book.routes.keys() - book.routes.keys()
        notices += [
            Notice("route_removed", {"route": name, "level": "info"}) for name in sorted(gone)
        ]
        results = dict.fromkeys(removed, "removed")
        for file, record in self.records.items():
            fresh = record in loaded or (record.state == "abstract" and file in readings)
            results[file] = record.state if not record.good else "ok" if fresh else "unchanged"
        self.book = book
        self._release()
        states = {file: each.tell(shadows.get(file, ())) for file, each in self.records.items()}
        return Outcome(book, states, results, notices)

    def due(self) -> float | None:
        """Monotonic seconds when the next missing file is gone for good."""
        times = [each.missing for each in self.records.values() if each.missing is not None]
        return min(times) + GRACE if times else None

    def _let_go(
        self, missing: Collection[str], expected: Collection[str], now: float, grace: float
    ) -> list[str]:
        for file, record in self.records.items():
            if file not in missing:
                record.missing = None
            elif record.missing is None:
                record.missing = now
        gone = [record for record in self.records.values() if record.missing is not None]
        succeeded = self._hand_over(gone) if gone else []
        expired = [each for each in gone if each.expired(expected, now - grace)]
        removed = list(dict.fromkeys(record.file for record in [*succeeded, *expired]))
        for file in removed:
            del self.records[file]
        return removed

    def _hand_over(self, gone: list[Record]) -> list[Record]:
        """A missing file's route goes on in another file that has the same name."""
        leaving = {record.serving.name: record for record in gone if record.serving}
        succeeded = []
        for record in self.records.values():
            waits = record.missing is None and record.serving is None and not record.withdrawn
            if waits and (old := leaving.pop(record.reading.compiled.name, None)):
                record.succeed(old)
                succeeded.append(old)
        return succeeded

    def _admit(self) -> None:
        """Let candidates in until none can come in any more: one may make room for another."""
        table = Table()
        waiting = []
        for record in self.records.values():
            if record.serving is not None:
                table.add(record.serving)
            if record.waits:
                waiting.append(record)
        while waiting:
            left = [record for record in waiting if not record.enter(table)]
            if len(left) == len(waiting):
                _exchange(left, table)
                return
            waiting = left

    def _is_new(self, record: Record) -> bool:
        route = record.serving
        return route is not None and self.book.routes.get(route.name) is not route

    def _failures(self, files: Iterable[str]) -> Iterator[Notice]:
        for record in (self.records[file] for file in files if file in self.records):
            if record.refused:
                yield record.failed("route_clash", "error")
            elif record.reading.compiled.errors:
                level = "warning" if record.state == "disabled" else "error"
                yield record.failed("route_failed", level)

    def _book(self) -> RouteBook:
        """The book of what serves: the same one when nothing changed, else in the same order."""
        serving = [record.serving for record in self.records.values() if record.serving is not None]
        routes = {route.name: route for route in serving}
        old = self.book.routes
        if routes.keys() == old.keys() and all(old[name] is routes[name] for name in routes):
            return self.book
        order = [name for name in old if name in routes]
        return make_book(routes[name] for name in dict.fromkeys([*order, *routes]))

    def _release(self) -> None:
        """Forget the modules of transforms that no file and no living generation uses."""
        used = self.generations.transforms()
        for record in self.records.values():
            used.update(digest for _, digest in record.reading.transforms.values())
        for digest in self._modules - used:
            release(digest)
        self._modules = used


def _exchange(group: list[Record], table: Table) -> None:
    """Let files that wait for one another's models or names change together, or not at all."""
    while group:
        trial = Table(dict(table.names), dict(table.models))
        for record in group:
            if record.serving is not None:
                trial.drop(record.serving)
        fitting = [each for each in group if each.candidate and trial.take(each.candidate)]
        if len(fitting) == len(group):
            for record in group:
                record.serving, record.refused = record.candidate, []
            return
        group = fitting


def _loaded(record: Record) -> Notice:
    assert record.serving is not None
    fields = {
        "route": record.serving.name,
        "file": record.file,
        "generation": record.generation,
        "sha256": record.serving.digest,
        "level": "info",
    }
    return Notice("route_loaded", fields)


def _plain(problem: Problem) -> str:
    """A problem without the line of the file, which may hold a secret."""
    return str(dataclasses.replace(problem, excerpt=""))
