"""Folders of route files -> compiled routes. Synchronous: the caller chooses the thread.

The only place where the text of routes, parents, transforms and `${file:}` is read from disk.

    scan    the route files, first hit by route name: folders in the order given, the bundle last
    load    one file, compiled, with all it refers to
    Table   which routes may serve side by side: one of a name, one of a model and priority
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from engine.errors import Problem
from engine.route.book import clashes
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.hints import did_you_mean
from engine.route.references import Outside
from engine.route.route import Route

from .bundle import bundled_presets, bundled_routes, bundled_transforms
from .files import Entry, Files

SUFFIXES = (".yaml", ".yml")
MAX_REFERENCED = 1024**2  # bytes of a `${file:}`, or of a file of accounts: hundreds of JWTs

_NAME = re.compile(
    rb"""^(?:\xef\xbb\xbf)?name:[ \t]*(?:"([^"\r\n]*)"|'([^'\r\n]*)'|([^\s#]+))""", re.M
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One file, read and compiled.

    digests     of every path looked at, own file first; "" stands for a file that was not there
    transforms  name -> (path, sha256) of those the route names
    folder      the routes folder the file came from
    whole       no file among them can be half-written
    """

    compiled: Compiled
    digests: Mapping[str, str]
    transforms: Mapping[str, tuple[str, str]]
    folder: str
    whole: bool

    def kept(self) -> Reading:
        """Without the tree, which is half of a route's memory and only there to be shown."""
        return dataclasses.replace(self, compiled=dataclasses.replace(self.compiled, tree=None))


class Library:
    """The route files of some folders.

    env             what `${env:}` sees
    bundled         the shipped routes come last among the folders (presets and examples do not)
    own_transforms  False: only shipped transforms are loaded
    servers         what `mcp` of the server file declares; None: there is none to look at
    execute         False: transforms are read from their syntax tree, no byte of them is run
    """

    def __init__(
        self,
        folders: Iterable[Path],
        *,
        env: Mapping[str, str],
        bundled: bool = False,
        own_transforms: bool = True,
        execute: bool = True,
        servers: Iterable[str] | None = None,
    ) -> None:
        shipped = [bundled_routes()] if bundled else []
        self.folders = list(dict.fromkeys([*folders, *shipped]))
        self.env = env
        self.own_transforms = own_transforms
        self.execute = execute
        self.servers = None if servers is None else frozenset(servers)
        self.files = Files()
        self.shadows: dict[str, tuple[str, ...]] = {}
        self.unlisted: list[str] = []
        self.walked: list[str] = []
        self._named: dict[str, tuple[Entry, str, Path]] = {}
        self._homes: dict[str, Path] = {}
        self.shipped_presets = str(bundled_presets())
        self.shipped_transforms = bundled_transforms()

    def scan(self) -> list[Path]:
        """The files that may be served, in order. Two of one name in one folder both count.

        Afterwards `shadows` has the files hidden by each, `unlisted` the folders that could not be
        listed, `walked` those that were.
        """
        self.shadows, self.unlisted, self.walked = {}, [], []
        owners: dict[str, tuple[Path, str]] = {}
        found: list[Path] = []
        before, self._named = self._named, {}
        for folder in self.folders:
            for path in self._walk(folder):
                entry, known = self.files.get(path), before.get(path)
                if known is None or known[0] is not entry:
                    known = (entry, self.name(path), Path(path))
                self._named[path] = known
                owner, file = owners.setdefault(known[1], (folder, path))
                if owner is folder:
                    found.append(known[2])
                elif file != path:
                    self.shadows[file] = (*self.shadows.get(file, ()), path)
        return found

    def same(self) -> bool:
        """Whether a scan would find what the last one found: no file came, went or changed."""
        walked, unlisted = self.walked, self.unlisted
        self.walked, self.unlisted = [], []
        listed = dict.fromkeys(path for folder in self.folders for path in self._walk(folder))
        told = self.walked == walked and self.unlisted == unlisted
        return told and [*listed] == [*self._named] and self.files.same()

    def name(self, path: str) -> str:
        """A route's name as its text shows at a glance: `name`, else the file's stem."""
        data = self.files.get(path).data
        hit = _NAME.search(data) if b"name:" in data else None
        written = next((group for group in hit.groups() if group), b"") if hit else b""
        return written.decode(errors="replace") or Path(path).stem

    def _walk(self, root: Path) -> Iterator[str]:
        skipped = _not_served(root)
        seen: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True, onerror=self._missed):
            identity = identify(folder)
            if identity is None or identity in seen:  # just gone, or a link that leads back
                folders.clear()
                continue
            seen.add(identity)
            self.walked.append(folder)
            top = skipped if folder == str(root) else frozenset[str]()
            folders[:] = sorted(name for name in folders if not _hidden(name) and name not in top)
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not _hidden(name):
                    yield os.path.join(folder, name)

    def _missed(self, error: OSError) -> None:
        """A folder inside that went away is gone; a root, or one that refuses, is only unread."""
        folder = str(error.filename)
        if not isinstance(error, FileNotFoundError) or folder in map(str, self.folders):
            self.unlisted.append(folder)

    def load(self, path: Path) -> Compiled:
        """Compile one file. Never raises for what stands in it or in what it refers to."""
        return self.read(path).compiled

    def read(self, path: Path) -> Reading:
        """Like `load`, with what was looked at on the way."""
        loading = _Loading(self, path)
        compiled = loading.compile()
        name = compiled.name if compiled.tree else self.name(str(path))
        digests = {name: entry.digest for name, entry in loading.entries.items()}
        files = tuple(name for name, digest in digests.items() if digest) or (str(path),)
        problems = sorted({*compiled.problems, *loading.transform.problems})
        return Reading(
            dataclasses.replace(compiled, name=name, files=files, problems=problems),
            digests,
            loading.transform.found,
            str(loading.home),
            all(entry.whole for entry in loading.entries.values()),
        )

    def there(self, path: str) -> bool:
        """Whether somebody has logged in there; `~` is the user's folder."""
        return os.path.exists(os.path.expanduser(path))

    def given(self, name: str) -> str | None:
        """The text of a file that stands for the one on disk. Raises OSError."""
        return None

    def home(self, path: Path) -> Path:
        """The routes folder a file came from."""
        folder = os.path.dirname(path)
        if folder not in self._homes:
            roots = (root for root in self.folders if path.is_relative_to(root))
            self._homes[folder] = next(roots, path.parent)
        return self._homes[folder]

    def beside(self, home: Path) -> Path | None:
        """The transforms folder beside a routes folder; None when it is the shipped one."""
        parent = home.parent if home.name not in ("", "..") else Path(os.path.abspath(home)).parent
        own = parent / "transforms"
        return None if _same(own, self.shipped_transforms) else own


class _Loading:
    """One file being loaded: answers the compiler, and notes every path it looks at."""

    def __init__(self, library: Library, path: Path) -> None:
        self.library = library
        self.path = path
        self.home = library.home(path)
        self.entries: dict[str, Entry] = {}
        self.transform = _FindTransform(self)

    def look(self, path: str) -> Entry:
        return self.entries.setdefault(path, self.library.files.get(path))

    def compile(self) -> Compiled:
        file = str(self.path)
        entry = self.look(file)
        if not entry.digest:
            problem = Problem(file, 0, 0, "E001", f"cannot read the file: {entry.error}")
            return Compiled(self.path.stem, None, [problem], (file,))
        sources = Sources(
            outside=Outside(env=self.library.env, read=self.referenced, exists=self.library.there),
            parent=self.parent,
            transform=self.transform,
            execute=self.library.execute,
            servers=self.library.servers,
        )
        try:
            return compile_route(entry.data, file, sources)
        except Exception as error:  # a bug met in one file must not keep the others from serving
            problem = Problem(file, 0, 0, "E599", f"the compiler failed: {error!r}")
            return Compiled(self.path.stem, None, [problem], (file,))

    def parent(self, name: str, file: str) -> tuple[bytes, str] | str:
        """`./x.yaml` is relative to the file that names it; anything else is a preset."""
        if name.startswith(("./", "../")):
            path = os.path.normpath(os.path.join(os.path.dirname(file), name))
            entry = self.look(path)
            return (entry.data, path) if entry.digest else f"cannot read `{name}`: {entry.error}"
        presets = self.library.shipped_presets
        path = os.path.join(presets, f"{name}.yaml")
        if re.fullmatch(r"[\w-]+", name) and (entry := self.look(path)).digest:
            return entry.data, path
        known = [file.stem for file in Path(presets).glob("*.yaml")]
        hint = "; a file is written `./…`" if "/" in name or name.endswith(SUFFIXES) else ""
        return f"no preset `{name}`{hint or did_you_mean(name, known)}"

    def referenced(self, name: str) -> str:
        """The text of a `${file:}` or of accounts, relative to the route's file. Raises OSError."""
        given = self.library.given(name)
        if given is not None:
            return given
        entry = self.look(os.path.join(os.path.dirname(self.path), os.path.expanduser(name)))
        if not entry.digest:
            raise OSError(entry.error)
        if len(entry.data) > MAX_REFERENCED:
            raise OSError(f"larger than {MAX_REFERENCED // 1024} KiB")
        try:
            return entry.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise OSError(f"not UTF-8: byte {error.start}") from error


class _FindTransform:
    """Finds transforms for one file: its own folder first, then the shipped ones.

    found     name -> (path, sha256)
    problems  what the compiler cannot know: an own file that shadows a shipped one, or may not load
    """

    def __init__(self, loading: _Loading) -> None:
        self._loading = loading
        self._shipped = loading.library.shipped_transforms
        self.found: dict[str, tuple[str, str]] = {}
        self.problems: list[Problem] = []

    @cached_property
    def _own(self) -> Path | None:
        return self._loading.library.beside(self._loading.home)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of all transforms this route could name."""
        own = self._own if self._loading.library.own_transforms else None
        folders = [folder for folder in (own, self._shipped) if folder]
        return tuple(sorted({file.stem for folder in folders for file in folder.glob("*.py")}))

    def __call__(self, name: str) -> tuple[bytes, str] | None:
        if not name.isidentifier():
            return None
        shipped = self._loading.look(str(self._shipped / f"{name}.py"))
        own = self._loading.look(str(self._own / f"{name}.py")) if self._own else None
        if own is None or not own.digest:
            return self._take(name, self._shipped, shipped)
        if not self._loading.library.own_transforms:
            if not shipped.digest:
                self._tell(
                    "E421", f"transform `{name}` is not shipped, and `transforms.own` is off"
                )
            return self._take(name, self._shipped, shipped)
        if shipped.digest:
            self._tell(
                "W401", f"transform `{name}` of this folder is used, not the shipped one", "warning"
            )
        assert self._own is not None
        return self._take(name, self._own, own)

    def _take(self, name: str, folder: Path, entry: Entry) -> tuple[bytes, str] | None:
        if not entry.digest:
            return None
        path = str(folder / f"{name}.py")
        self.found[name] = (path, entry.digest)
        return entry.data, path

    def _tell(
        self, code: str, message: str, severity: Literal["error", "warning"] = "error"
    ) -> None:
        self.problems.append(Problem(str(self._loading.path), 0, 0, code, message, severity))


@dataclass(slots=True)
class Table:
    """Routes that serve side by side."""

    names: dict[str, Route] = field(default_factory=dict)
    models: dict[tuple[str, int], Route] = field(default_factory=dict)

    def refuse(self, route: Route, instead: Route | None = None) -> list[Problem]:
        """Why a route cannot come in; `instead` is the one it would replace."""
        holder = self.names.get(route.name)
        if holder is not None and holder is not instead:
            message = f"route `{route.name}` is already defined in {holder.file}"
            return [Problem(route.file, 0, 0, "E502", message)]
        found = (self.models.get((model, route.priority)) for model in route.offers)
        rivals = {other.name: other for other in found if other and other is not instead}
        return clashes(route, rivals.values())

    def take(self, route: Route) -> bool:
        """Add a route unless it is refused."""
        free = not self.refuse(route)
        if free:
            self.add(route)
        return free

    def add(self, route: Route) -> None:
        self.names[route.name] = route
        self.models |= {(model, route.priority): route for model in route.offers}

    def drop(self, route: Route) -> None:
        del self.names[route.name]
        for model in route.offers:
            del self.models[model, route.priority]


def identify(folder: str) -> tuple[int, int] | None:
    """What tells a folder from another that has come to stand in its place."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _hidden(name: str) -> bool:
    """`.`, `..` (entries of a mounted ConfigMap), `_` (libraries for `extends`), `#` (editors)."""
    return name.startswith((".", "_", "#"))


def _not_served(root: Path) -> frozenset[str]:
    shipped = _same(root, bundled_routes())
    return frozenset({"presets", "examples"} if shipped else {"presets"})


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
