"""Keeps the routes of a library up to date while the engine runs.

read -> compile -> look again -> admit -> swap, and the last good route stays where a file is wrong.
Events of the file system only say that a look is worth while; contents decide, and a look is taken
every few seconds anyway, because there are changes that no event tells: a link's far end edited, a
mount replaced, a network drive. Work is done in a worker thread; the loop only swaps one reference.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watchfiles import Change, awatch

from engine.errors import ConfigError
from engine.ports import Clock, Observer
from engine.route.book import RouteBook

from .library import Library, Reading, identify
from .roster import Outcome, Record, Roster, RouteState

STEADY = 0.1  # seconds between two reads that must agree
RETRY = 0.1  # seconds until a file that may be half-written is looked at again
# Milliseconds without events, and at most, before a batch is told. As often as the first the thread
# of watchfiles wants the interpreter for itself, whether there is anything to tell or not.
QUIET, GATHER = 100, 300
MOUNTS = Path("/proc/self/mountinfo")
_JUNK = ("~", ".swp", ".swx", ".tmp", ".pyc", "4913")  # what editors leave for a moment


@dataclass(slots=True)
class _Look:
    """One look at the files: what is there, what was read anew, what has to wait."""

    listed: set[str]
    readings: dict[str, Reading]
    unlisted: list[str]
    waiting: set[str] = field(default_factory=set)


def _nothing(old: RouteBook, new: RouteBook) -> None:
    return None


class RouteKeeper:
    """The routes now serving: `book` is replaced as a whole, never changed; so is `states`.

    on_swap  called on the loop after each swap, with the book before and after
    watch    "poll": no events are asked for (network mounts)
    poll     seconds between looks without an event
    """

    def __init__(
        self,
        library: Library,
        *,
        clock: Clock,
        observer: Observer,
        on_swap: Callable[[RouteBook, RouteBook], None] = _nothing,
        watch: Literal["auto", "poll"] = "auto",
        poll: float = 5.0,
    ) -> None:
        self.book = RouteBook()
        self.states: Mapping[str, RouteState] = {}
        self._library = library
        self._clock = clock
        self._observer = observer
        self._on_swap = on_swap
        self._notified = watch == "auto"
        self._poll = poll
        self._roster = Roster()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._due: float | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._folders: tuple[str, ...] = ()
        self._moved = False
        self._inside: frozenset[str] = frozenset()
        self._names: frozenset[str] = frozenset()

    def generations(self, name: str) -> int:
        """How many routes of this name are in use: the one that serves, and those requests hold."""
        return self._roster.generations.live(name)

    async def start(self, *, strict: bool = False) -> None:
        """The first load. Good routes serve, bad ones are listed in `states`.

        Raises ConfigError with all problems when `strict` and a file is broken.
        """
        await self.rescan(force=True)
        for folder in self._library.unlisted:
            self._observer.saw("folder_unread", folder=folder, level="warning")
        for file in await asyncio.to_thread(_mounted_alone, list(self.states)):
            self._observer.saw("route_mounted_alone", file=file, level="warning")
        broken = [state for state in self.states.values() if state.state == "broken"]
        if strict and broken:
            raise ConfigError([problem for state in broken for problem in state.problems])

    async def rescan(self, force: bool = False) -> dict[str, str]:
        """Look at all files; take in what changed. Gives file -> result.

        Results: ok (new and serving), unchanged, stale, broken, disabled, removed. force: no stamp
        is trusted, what failed is tried again, and no doubtful file is given time.
        """
        async with self._lock:
            self._due = None
            look = await asyncio.to_thread(self._look, force)
            if any(_doubtful(reading) for reading in look.readings.values()):
                await self._clock.sleep(STEADY)
                await asyncio.to_thread(self._look_again, look, force)
            outcome = await asyncio.to_thread(self._settle, look, force)
            self._publish(outcome)
            self._plan(look)
            return outcome.results

    async def _glance(self) -> None:
        """A look for which there is no cause: of thousands of files hardly one has changed."""
        async with self._lock:
            same = self._due is None and await asyncio.to_thread(self._same)
            for notice in self._roster.generations.tell(self._clock.monotonic()) if same else ():
                self._observer.saw(notice.name, **notice.fields)
        if not same:
            await self.rescan()

    def _same(self) -> bool:
        return self._library.same() and _identified(self._folders) == self._places

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            places, stop = self._places, asyncio.Event()
            self._moved = False
            async with asyncio.TaskGroup() as group:
                if self._notified and places:
                    group.create_task(self._listen(places, stop))
                    await asyncio.sleep(0)  # the listener stands before the first look is taken
                await self._attend(places)
                stop.set()

    # ---- a look, in a worker thread ----

    def _look(self, force: bool) -> _Look:
        library = self._library
        library.files.look(self._clock.now(), anew=force)
        listed = library.scan()
        look = _Look(set(map(str, listed)), {}, library.unlisted)
        for path in listed:
            record = self._roster.records.get(str(path))
            if record is None or self._changed(record) or (force and not record.good):
                look.readings[str(path)] = library.read(path).kept()
        return look

    def _changed(self, record: Record) -> bool:
        files = self._library.files
        return any(files.get(path).digest != was for path, was in record.reading.digests.items())

    def _look_again(self, look: _Look, force: bool) -> None:
        """Keep back what changed meanwhile, and what fails but may be half of a good file."""
        files = self._library.files
        doubtful = {file: each for file, each in look.readings.items() if _doubtful(each)}
        files.look_again(
            (path for each in doubtful.values() for path in each.digests), self._clock.now()
        )
        for file, reading in doubtful.items():
            moving = any(files.get(path).digest != was for path, was in reading.digests.items())
            if moving or (reading.compiled.errors and not force):
                del look.readings[file]
                look.waiting.add(file)

    def _settle(self, look: _Look, force: bool) -> Outcome:
        missing = {
            file
            for file in self._roster.records
            if file not in look.listed and not _within(file, look.unlisted)
        }
        outcome = self._roster.settle(
            look.readings,
            missing,
            self._library.shadows,
            expected={self._library.name(file) for file in look.waiting},
            now=(now := self._clock.monotonic()),
            wall=self._clock.now(),
            force=force,
        )
        outcome.notices += self._roster.generations.tell(now)
        self._places = self._find_places()
        return outcome

    def _find_places(self) -> dict[str, tuple[int, int]]:
        """The folders to watch, absolute, and what tells each from another put in its place.

        Every folder inside the roots, the transforms beside them, and what is around: the parents
        of the roots (a root may be replaced) and of all files referred to, as named and as linked.
        """
        library = self._library
        beside = [own for root in library.folders if (own := library.beside(root))]
        inside = {os.path.abspath(folder) for folder in (*library.walked, *map(str, beside))}
        ends = [*library.files.ends(), *map(str, library.folders), *map(str, beside)]
        split = [end.rpartition(os.sep) for end in ends]  # os.path.split would take the most of it
        around = {os.path.abspath(each) for each in {head or root for head, root, _ in split}}
        self._inside = frozenset(inside)
        self._names = frozenset(name for _, _, name in split)
        self._folders = tuple(sorted(inside | around))
        return _identified(self._folders)

    # ---- on the loop ----

    def _publish(self, outcome: Outcome) -> None:
        old, self.book, self.states = self.book, outcome.book, outcome.states
        if outcome.book is not old:
            self._on_swap(old, outcome.book)
        for notice in outcome.notices:
            self._observer.saw(notice.name, **notice.fields)

    def _plan(self, look: _Look) -> None:
        """When the next look is needed, whatever events say."""
        times = [self._clock.monotonic() + RETRY] if look.waiting else []
        due = self._roster.due()
        self._due = min([*times, due]) if due is not None else next(iter(times), None)

    async def _attend(self, places: dict[str, tuple[int, int]]) -> None:
        """Look whenever there is cause to, until other folders have to be watched."""
        called = True
        while True:
            self._wake.clear()
            await (self.rescan() if called else self._glance())
            if self._moved or self._places != places:
                return
            pause = self._poll
            if self._due is not None:
                pause = min(pause, max(0.0, self._due - self._clock.monotonic()))
            try:
                async with self._clock.deadline(pause):
                    called = await self._wake.wait()
            except TimeoutError:
                called = False

    async def _listen(self, places: dict[str, tuple[int, int]], stop: asyncio.Event) -> None:
        """Wake the keeper at each batch of events that may matter."""
        try:
            batches = awatch(
                *places,
                watch_filter=self._matters,
                debounce=GATHER,
                step=QUIET,
                stop_event=stop,
                recursive=False,
                ignore_permission_denied=True,
            )
            async with aclosing(batches):
                async for _ in batches:
                    self._wake.set()
        except (OSError, RuntimeError) as error:  # a folder just gone, or no watches left: we poll
            self._observer.saw("watch_failed", error=str(error), level="warning")

    def _matters(self, change: Change, path: str) -> bool:
        folder, name = os.path.split(path)
        if path in self._places and change != Change.modified:
            self._moved = True  # perhaps with the inode of the old one, which shows no difference
        if name in self._names or name.startswith(".."):
            return True
        return folder in self._inside and not name.startswith(".") and not name.endswith(_JUNK)


def _identified(folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Those that are there."""
    found = ((folder, identify(folder)) for folder in folders)
    return {folder: identity for folder, identity in found if identity}


def _doubtful(reading: Reading) -> bool:
    return not reading.whole


def _within(file: str, folders: list[str]) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _mounted_alone(files: list[str]) -> list[str]:
    """Files that are mount points of their own: such a file never changes inside a container."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return []
    mounts = {line.split()[4] for line in lines}
    return [file for file in files if os.path.abspath(file) in mounts]
