"""`auth.from` and what stands beside it -> the route's roster: accounts, and how they are taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import inf
from pathlib import PurePosixPath
from typing import Self

from engine.auth import accounts_of, kind_of, union
from engine.auth.accounts import Account, Fetching
from engine.auth.formats import Bad, Entries, Entry
from engine.auth.granting import Login
from engine.auth.meter import Limit
from engine.auth.oauth import TIMES_AND_TOKENS, OAuth2
from engine.auth.pool import Roster, Rules
from engine.auth.sources import Accounts
from engine.errors import Problem

from .alike import alike
from .codes import CODES
from .fields import fields_of
from .hints import meant
from .logins import Logins
from .nodes import Mark, Node, read
from .places import Way, find, key_mark
from .references import Outside
from .spec import AuthSpec, LimitSpec, RouteSpec


class Reach:
    """What sources may ask, answered for one source of one route.

    outputs   name -> outputs of a value of scope account, None if there is no such value
    fetching  takes in what a source fetches; gives the value's name
    """

    def __init__(
        self,
        tree: Node,
        outside: Outside,
        problems: list[Problem],
        outputs: Callable[[str], tuple[str, ...] | None],
        fetching: Callable[[Fetching], str],
        logins: Logins,
        way: Way = ("auth", "from"),
    ) -> None:
        self.tree = tree
        self.outside = outside
        self.problems = problems
        self.value = outputs
        self.fetching = fetching
        self.logins = logins
        self.way = way
        self.absent: list[tuple[str, Problem]] = []  # (unset variable or "", problem)

    def at(self, *more: str | int) -> Reach:
        """The reach of a part of this one's place; what is missing there is missing here."""
        inner = Reach(
            self.tree,
            self.outside,
            self.problems,
            self.value,
            self.fetching,
            self.logins,
            (*self.way, *more),
        )
        inner.absent = self.absent
        return inner

    def inside(self, key: str, at: int) -> Self:
        return self.at(key, at)  # type: ignore[return-value] # there is no other kind

    def env(self, name: str) -> str:
        return self.outside.env.get(name, "")

    def read(self, path: str) -> str:
        if self.outside.read is None:
            raise OSError("files are not read here")
        self.outside.files.append(path)
        return self.outside.read(path)

    def yaml(self, path: str, text: str) -> Entries:
        """A map is one account, a list many. What is wrong is told by its code alone."""
        problems: list[Problem] = []
        root = read(text.encode(), path, problems)
        if root is None or problems:
            first = min(problems, default=None)
            yield Bad(first.line, CODES[first.code]) if first else Bad(1, "is not YAML")
            return
        for node in root.value if root.kind == "list" else [root]:
            yield Entry(node.mark.line, node.plain())

    def login(self, options: OAuth2, name: str) -> Login:
        return self.logins.add(options, name)

    def logged_in(self, login: Login) -> bool:
        kind, _, path = login.place.partition(":")
        alone = "first_of" not in self.way
        return alone or kind != "file" or not login.by_a_person or self.outside.exists(path)

    def _mark(self, key: str) -> Mark:
        node = find(self.tree, self.way).get(key)
        return node.mark if node is not None else key_mark(self.tree, self.way)

    def missing(self, code: str, message: str, key: str) -> None:
        mark = self._mark(key)
        unset = str(find(self.tree, (*self.way, key)).text) if code == "E201" else ""
        if hit := re.match(r"\$\{env:(\w+)", unset):
            self.wrong("E522", f"`{key}` is the name of a variable: write `{hit[1]}`", key)
            return
        self.absent.append((unset, mark.problem(code, message)))

    def wrong(self, code: str, message: str, key: str) -> None:
        self.problems.append(self._mark(key).problem(code, message))

    def bad_line(self, path: str, line: int, why: str) -> None:
        file = str(PurePosixPath(self.tree.mark.file).parent / path)
        self.problems.append(Problem(file, line, 1, "E207", f"this line {why}"))


def roster_of(spec: RouteSpec, reach: Reach) -> Roster:
    """The accounts of a route. What is wrong is noted; what is missing only if there is none."""
    sources = spec.auth.from_ or []
    if _is_misplaced(sources):
        reach.wrong("E522", _ALONE, "")
    if any(kind_of(each) == "client_key" for each in sources):
        return Roster(client=True, per_client=limit_of(spec.limits.per_client))
    many = find(reach.tree, reach.way).kind == "list"
    found: list[Account] = []
    for at, each in enumerate(sources):
        place = reach.at(at) if many else reach
        before = len(reach.absent)
        here = accounts_of(each, place)
        if here:
            del reach.absent[before:]  # what `first_of` passed over
        elif any(kind_of(last) == "client_key" for last in (each.first_of or [])[-1:]):
            return Roster(client=True, per_client=limit_of(spec.limits.per_client))
        found += here
    for unset, problem in reach.absent:
        reach.outside.unset += [unset] if unset else []
        reach.problems.append(problem)
    rules, per_client = alike(rules_of(spec)), alike(limit_of(spec.limits.per_client))
    roster = Roster(union(found), rules, per_client=per_client)
    return roster if found else alike(roster)


_ALONE = "`client_key` stands alone, or last in a `first_of`: it cannot join other accounts"


def _is_misplaced(sources: list[Accounts]) -> bool:
    """Whether the clients' own keys stand among other accounts, or before some."""
    kinds = [[kind_of(one) for one in each.first_of or [each]] for each in sources]
    there = any("client_key" in group for group in kinds)
    return there and (len(kinds) > 1 or "client_key" in kinds[0][:-1])


def rules_of(spec: RouteSpec) -> Rules:
    auth, refresh = spec.auth, spec.auth.refresh_all
    refused = auth.park.refused
    return Rules(
        pick=auth.pick,
        after=auth.park.after,
        rest=float(auth.park.for_),
        refused=inf if isinstance(refused, str) else float(refused),
        refresh=refresh.after if refresh else None,
        min_pool=refresh.min_pool if refresh else 1,
        wait=float(auth.wait),
        limit=limit_of(spec.limits.per_account),
    )


def limit_of(spec: LimitSpec) -> Limit:
    return Limit(spec.rpm, spec.concurrency)


def many(spec: RouteSpec) -> bool:
    """Whether `auth.from` may give more than one account."""
    sources = spec.auth.from_ or []
    return len(sources) > 1 or any(_several(each) for each in sources)


def _several(source: Accounts) -> bool:
    kind = kind_of(source)
    if kind == "first_of":
        return any(map(_several, source.first_of or []))
    several = source.oauth2 is not None and len(source.oauth2.accounts) > 1
    return kind == "file" or source.split is not None or source.count > 1 or several


# ---- what templates may read ----


def parts_of(tree: Node) -> frozenset[str] | None:
    """The names of an account's parts; None where only the accounts themselves can say them."""
    auth, abstract = tree.get("auth"), tree.get("abstract")
    source = auth.get("from") if auth else None
    if source is None and auth is not None and auth.kind == "map":
        known = fields_of(AuthSpec)
        if "from" in {meant(key, known) for key in auth.value if key not in known}:
            return None  # a misspelt key is told by itself
    if source is None:
        return None if abstract is not None and abstract.value is True else frozenset()
    found = frozenset[str]()
    for names in _parts(source, tree):
        if names is None:
            return None
        found |= names
    return found


def _parts(source: Node, tree: Node) -> Iterator[frozenset[str] | None]:
    if source.kind == "list":
        for each in source.value:
            yield from _parts(each, tree)
        return
    if (inner := source.get("first_of")) is not None:
        yield from _parts(inner, tree)
        return
    yield next((known(source, tree) for key, known in _KNOWN.items() if source.get(key)), None)


def _of_inline(source: Node, tree: Node) -> frozenset[str] | None:
    inline = source.value["inline"]
    return frozenset(inline.value) if inline.kind == "map" else None


def _of_file(source: Node, tree: Node) -> frozenset[str] | None:
    take, word = source.get("take"), source.get("format")
    if take is not None and take.kind == "map" and take.value:
        return frozenset(take.value)
    return frozenset({"key"}) if word is None or word.value == "lines" else None


def _of_value(source: Node, tree: Node) -> frozenset[str] | None:
    extract = find(tree, ("values", str(source.value["value"].text), "extract"))
    if extract.kind == "list":
        return frozenset({"key"})
    return None


def _of_oauth2(source: Node, tree: Node) -> frozenset[str] | None:
    found = {"access_token"}
    for way in (("oauth2", "take"), ("oauth2", "exchange", "take")):
        node: Node | None = source
        for key in way:
            node = node.get(key) if node is not None else None
        found |= set(node.value) if node is not None and node.kind == "map" else set()
    return frozenset(found - set(TIMES_AND_TOKENS)) | {"access_token"}


_KNOWN: dict[str, Callable[[Node, Node], frozenset[str] | None]] = {
    "env": lambda source, tree: frozenset({"key"}),
    "client_key": lambda source, tree: frozenset({"key"}),
    "inline": _of_inline,
    "file": _of_file,
    "value": _of_value,
    "oauth2": _of_oauth2,
}
