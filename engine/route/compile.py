"""The text of one route file -> one immutable Route, or every Problem that stands in the way.

read -> extends -> `${}` -> spec -> semantic checks -> compile. Nothing of YAML, templates or paths
is interpreted after this. The compiler knows no kind by name: kinds come from their tables.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from engine.auth.accounts import Fetching
from engine.auth.aws_sigv4 import EXTRA
from engine.auth.pool import Roster
from engine.dialects import DIALECTS
from engine.errors import ConfigError, Problem
from engine.options import OMIT, Condition, Env
from engine.parsers.frames import framing
from engine.transform import METHODS
from engine.wire import dumps

from .alike import NOTHING, alike
from .asking import asking
from .checks import check_nodes, check_spec, check_stages
from .classify import Classifier, classifier_of, told
from .edits import compile_patches
from .endpoint import whole_request
from .errands import discovery_of, errands_of
from .extends import Find, expand
from .hints import nearest, without_echoes
from .http_spec import HttpSpec, StepSpec
from .line_checks import check_lines
from .logins import Logins
from .mentions import (
    asked_for,
    mentioned,
    request_names,
    roots_of,
    value_names,
    wanted_values,
)
from .nodes import Mark, Node, read
from .offers import offers_of
from .places import key_mark
from .placing import fixed, held, placements
from .polling import compile_poll
from .profiles import profiles_of
from .reactions import policies_of
from .reader import WRONG, Reader
from .references import Outside, Resolver
from .render import Plan, compile_request, pairs
from .roads import no_road, passes, splitter, stream_road, whole_road
from .route import Route, SessionPlan
from .signing import Signer, compile_signer
from .sourcing import Reach, roster_of
from .spec import (
    RequestSpec,
    RouteSpec,
    SessionSpec,
    ValueSpec,
)
from .stages import Stage, context_of, make_transform
from .talking import TalkPlan, compile_talk, socket_plan
from .tool_checks import check_tools
from .transform_lint import NAME
from .transforms import Loaded, load
from .unseen import media_of
from .values import ValuePlan, compile_step, compile_ttl, fetch, fetched, produced

# Finds a transform: name -> (source, path), or None.
FindTransform = Callable[[str], tuple[bytes, str] | None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a route's other files come from, as functions: the compiler reads none itself."""

    outside: Outside = field(default_factory=Outside)
    parent: Find = lambda name, file: f"no parent `{name}` is known"
    transform: FindTransform = lambda name: None
    execute: bool = True
    servers: frozenset[str] | None = None  # names in `mcp` of the server file, where it is known


@dataclass(frozen=True, slots=True)
class Compiled:
    """What came of one file. route is None when there is an error, or the file is abstract.

    files   every file looked at, the route's own first
    unset   environment variables that were wanted and missing; `only_unset`: nothing else is wrong
    tree    the merged tree with its origins, for `show`
    """

    name: str
    route: Route | None
    problems: list[Problem]
    files: tuple[str, ...]
    spec: RouteSpec | None = None
    tree: Node | None = None
    unset: tuple[str, ...] = ()

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def only_unset(self) -> bool:
        return bool(self.unset) and all(problem.code == "E201" for problem in self.errors)


def compile_route(source: bytes, file: str, sources: Sources) -> Compiled:
    """Compile one route file. Never raises for what stands in it."""
    problems: list[Problem] = []
    stem = PurePosixPath(file).stem
    root = read(source, file, problems)
    if root is None:
        return Compiled(stem, None, problems, (file,))
    if root.kind != "map":
        problems.append(root.mark.problem("E102", "a route is a map of keys"))
        return Compiled(stem, None, problems, (file,))
    if root.get("fixture") is not None and root.get("version") is None:
        message = "this is a fixture, not a route: `penstock test` plays it"
        problems.append(root.keys["fixture"].problem("E102", message))
        return Compiled(stem, None, problems, (file,))
    tree, parents = expand(root, file, sources.parent, problems)
    return _Compiler(source, file, tree, parents, sources, problems).compile(stem)


_OWN = "; your own are files in the folder `transforms` beside that of the routes"


class _Compiler:
    """One compilation; its methods each make one part of the Route."""

    def __init__(
        self,
        source: bytes,
        file: str,
        tree: Node,
        parents: dict[str, str],
        sources: Sources,
        problems: list[Problem],
    ) -> None:
        self.file = file
        self.tree = tree
        self.sources = sources
        self.problems = problems
        self.files = [file, *parents]
        self.resolver = Resolver(sources.outside, tree, problems)
        self.roots = roots_of(tree)
        self.reader = Reader(self.resolver, self.roots, problems)
        self.digests = [hashlib.sha256(source).hexdigest(), *parents.values()]
        self.loaded: dict[str, Loaded | None] = {}
        self.fetched: dict[str, ValuePlan] = {}
        self.logins = Logins("", file)

    def compile(self, stem: str) -> Compiled:
        nodes = [*self.tree.walk()]
        self.resolver.resolve(nodes)
        check_nodes(nodes, self.problems)
        spec = self.reader.options(self.tree, RouteSpec, "")
        name = self._name(stem)
        self.logins = Logins(name, self.file)
        if spec is WRONG:
            return self._result(name, None, None)
        check_spec(spec, self.tree, self.problems)
        check_lines(spec, self.tree, self.reader.references, self.problems)
        check_tools(spec, self.tree, self.sources.servers, self.problems)
        route = self._route(name, spec) if not self._failed() and not spec.abstract else None
        return self._result(name, None if self._failed() else route, spec)

    def _name(self, stem: str) -> str:
        node = self.tree.get("name")
        return str(node.text) if node is not None and node.kind == "str" else stem

    def _failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)

    def _result(self, name: str, route: Route | None, spec: RouteSpec | None) -> Compiled:
        outside = self.sources.outside
        files = tuple(dict.fromkeys([*self.files, *outside.files]))
        unset = tuple(dict.fromkeys(outside.unset))
        problems = sorted(set(map(self.resolver.hide, without_echoes(self.problems))))
        return Compiled(name, route, problems, files, spec, self.tree, unset)

    # ---- the route ----

    def _route(self, name: str, spec: RouteSpec) -> Route | None:
        dialect = DIALECTS[spec.dialect] if spec.dialect else None
        stages = tuple(self._stages(spec))
        check_stages(spec, self.tree, [stage.loaded for stage in stages], self.problems)
        roster = self._roster(spec)
        values = {key: self._value(key, value, spec, roster) for key, value in spec.values.items()}
        if self._failed():
            return None
        request, faults = whole_request(spec.request, dialect), spec.errors
        mentions, classifier = asked_for(spec, request, stages), classifier_of(faults, not dialect)
        placed, profile_of = placements(spec.auth), profiles_of(spec, self.tree, self.reader)
        return Route(
            name=name,
            file=self.file,
            digest=self._digest(roster),
            files=tuple(dict.fromkeys([*self.files, *self.sources.outside.files])),
            spec=spec,
            offers=offers_of(name, spec, profile_of),
            dialect=dialect,
            plan=_plan(spec, request),
            talk=self._talk(request, classifier, int(spec.limits.event)),
            poll=compile_poll(request.poll, spec, self._finder("request.poll.extract")),
            patch=compile_patches(request.patch) if request.patch else None,
            placements=placed,
            placed=held(spec, placed, self.reader.references),
            fixed=fixed(spec, request, placed, self.reader.references),
            queries=pairs(spec.auth.query, "query parameter"),
            cookies=pairs(spec.auth.cookie, "cookie"),
            signer=self._signer(spec),
            roster=roster,
            logins=tuple(self.logins.found),
            values=values | self.fetched or NOTHING,
            wanted=tuple(wanted_values(values, mentions)),
            names=alike(request_names(mentions)),
            let=tuple((key, tree.render) for key, tree in spec.let.items()),
            session=self._session(spec.session, any(plan.cleanup for plan in values.values())),
            stages=stages,
            classifier=classifier,
            policies=alike(policies_of(spec, values | self.fetched)),
            stream_road=stream_road(spec, dialect),
            whole_road=whole_road(spec, dialect),
            no_road=no_road(spec),
            references=self.reader.references or NOTHING,
            passthrough=passes(spec, dialect, stages),
            splitter=splitter(spec, dialect),
            errands=errands_of(spec) or NOTHING,
            discovery=discovery_of(name, spec, profile_of),
            media=alike(media_of(spec, request, stages, request_names(mentions))),
            hosts=tuple(host for stage in stages for host in stage.loaded.hosts),
        )

    def _talk(self, request: RequestSpec, classifier: Classifier, limit: int) -> TalkPlan | None:
        if request.websocket is None:
            return None
        steps = self._finder("request.websocket.take")
        return compile_talk(request.websocket, steps, classifier, limit)

    def _digest(self, roster: Roster) -> str:
        parts = [each.digest + each.id for each in roster.accounts]
        parts += [*self.digests, *self.resolver.texts()]
        parts += [loaded.digest for loaded in self.loaded.values() if loaded]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _fingerprint(self, *keys: str) -> str:
        """A digest of the subtree that defines a piece of live state (language.md 3.1, rule 6)."""
        node: Node | None = self.tree
        for key in keys:
            node = node.get(key) if node else None
        base = self.tree.get("base_url")
        parts = [_resolved(part, self.resolver) for part in (node, base) if part]
        return hashlib.sha256(dumps(parts)).hexdigest()[:16]

    def _owner(self, spec: ValueSpec, roster: Roster) -> str:
        """A digest of the accounts a shared value depends on, so that others do not inherit it."""
        reads = any(name.partition(".")[0] == "account" for name in mentioned(spec))
        if spec.scope != "route" or not (reads or spec.transform is not None):
            return ""
        return "".join(each.digest for each in roster.accounts[:1])

    # ---- transforms ----

    def _stages(self, spec: RouteSpec) -> Iterator[Stage]:
        for node in spec.transforms:
            stage = self._stage(node)
            if stage is not None:
                yield stage

    def _stage(self, node: Node) -> Stage | None:
        when = None
        if node.kind == "map" and "when" in node.value:
            when = self.reader.read(node.value["when"], Condition, "transforms.when")
            value = {key: child for key, child in node.value.items() if key != "when"}
            node = dataclasses.replace(node, value=value)
        built = self._transform(node, "transforms")
        if built is None or when is WRONG:
            return None
        loaded, options = built
        if not loaded.methods & _LIST_METHODS:
            message = (
                f"transform `{loaded.name}` has no method for this place: it belongs in `values`"
            )
            self.problems.append(node.mark.problem("E422", message))
            return None
        return Stage(loaded, options, when)

    def _transform(self, node: Node, place: str) -> tuple[Loaded, object] | None:
        """The transform a node names (`name` or `{name: options}`), its options built."""
        named = self._named_transform(node, place)
        if named is None:
            return None
        name, mark, options_node = named
        loaded = self._load(name, mark)
        if loaded is None:
            return None
        if loaded.options is None:
            if options_node is not None and options_node.value not in (None, {}):
                message = f"transform `{name}` takes no options"
                self.problems.append(options_node.mark.problem("E423", message))
                return None
            return loaded, None
        empty = Node("map", {}, mark)
        written = options_node if options_node and options_node.kind != "null" else empty
        options = self.reader.anew(written, loaded.options, f"{place}.{name}")
        return None if options is WRONG else (loaded, options)

    def _named_transform(self, node: Node, place: str) -> tuple[str, Mark, Node | None] | None:
        if node.kind == "str":
            return node.value, node.mark, None
        if node.kind == "map" and len(node.value) == 1:
            (name, options), mark = next(iter(node.value.items())), next(iter(node.keys.values()))
            return name, mark, options
        message = f"`{place}` takes a transform's name, or one name with its options"
        self.problems.append(node.mark.problem("E102", message))
        return None

    def _load(self, name: str, mark: Mark) -> Loaded | None:
        if name in self.loaded:
            return self.loaded[name]
        self.loaded[name] = None
        found = self.sources.transform(name) if NAME.fullmatch(name) else None
        if found is None:
            known = getattr(self.sources.transform, "known", ())
            message = f"no transform `{name}`{nearest(name, known) or _OWN}"
            self.problems.append(mark.problem("E421", message))
            return None
        source, path = found
        self.files.append(path)
        self.digests.append(hashlib.sha256(source).hexdigest())
        try:
            self.loaded[name] = load(name, source, path, execute=self.sources.execute)
        except ConfigError as error:
            self.problems += error.problems
        return self.loaded[name]

    # ---- values, accounts, sessions ----

    def _value(self, name: str, spec: ValueSpec, route: RouteSpec, roster: Roster) -> ValuePlan:
        return ValuePlan(
            name=name,
            scope=spec.scope,
            flow=self._flow(name, spec, route),
            refresh_for=frozenset(spec.refresh_for),
            refresh_before=float(spec.refresh_before),
            refresh_after=spec.refresh_after,
            prefetch=spec.prefetch,
            persist=spec.persist,
            when=spec.when,
            secret=spec.secret and spec.ask is None and not spec.each,
            needs=frozenset(value_names(mentioned(dataclasses.replace(spec, cleanup=None)))),
            fingerprint=self._fingerprint("values", name) + self._owner(spec, roster),
            outputs=tuple(spec.extract) if isinstance(spec.extract, dict) else (),
            parallel=spec.parallel,
            asks=spec.ask is not None,
            skips=spec.on_error == "skip",
            each=frozenset(spec.each),
            item=spec.item,
            proxy=spec.request.proxy if spec.request else None,
            cleanup=compile_request(spec.cleanup, route.base_url or "", route.upstream.headers)
            if spec.cleanup
            else None,
            undone_with=frozenset(value_names(mentioned(spec.cleanup))),
        )

    def _flow(self, name: str, spec: ValueSpec, route: RouteSpec) -> Callable[[Env], Any]:
        if spec.transform is not None:
            built = self._transform(spec.transform, f"values.{name}.transform")
            constant = float(spec.ttl) if isinstance(spec.ttl, float) else None
            maker = self._maker(built, "produce", spec.transform)
            hosts = built[0].hosts if built else ()
            return produced(name, maker, constant, route.base_url or "", hosts)
        if spec.ask is not None:
            return asking(name, spec.ask)
        request = spec.request or HttpSpec()
        plan = compile_request(request, route.base_url or "", route.upstream.headers)
        steps: Any
        if isinstance(spec.extract, dict):
            steps = {key: self._steps(name, each) for key, each in spec.extract.items()}
        else:
            steps = self._steps(name, spec.extract or [])
        judge = Classifier(route.errors).whole if spec.each else None
        login = spec.scope == "account" and judge is None
        words = partial(told, route.errors)
        return fetch(name, plan, steps, compile_ttl(spec), login=login, judge=judge, told=words)

    def _steps(self, name: str, specs: list[StepSpec]) -> list[Any]:
        return [*map(self._finder(f"values.{name}.extract"), specs)]

    def _finder(self, place: str) -> Callable[[StepSpec], Any]:
        """Compiles a step that stands there."""
        return lambda spec: compile_step(spec, self._extractor(place, spec))

    def _extractor(self, place: str, spec: StepSpec) -> Callable[[Env], Any] | None:
        inner: StepSpec | None = spec
        while inner is not None and inner.transform is None:
            inner = inner.then
        if inner is None or inner.transform is None:
            return None
        built = self._transform(inner.transform, place)
        return self._maker(built, "extract", inner.transform)

    def _maker(
        self, built: tuple[Loaded, object] | None, method: str, node: Node
    ) -> Callable[[Env], Any]:
        if built is None:
            return lambda env: None
        loaded, options = built
        if method not in loaded.methods:
            message = f"transform `{loaded.name}` has no `{method}`, which this place needs"
            self.problems.append(node.mark.problem("E422", message))

        def make(env: Env) -> Any:
            made = make_transform(loaded, options, env, context_of(env))
            return made.produce() if method == "produce" else made.extract

        return make

    def _signer(self, spec: RouteSpec) -> Signer | None:
        if spec.auth.sign is None:
            return None
        try:
            return compile_signer(spec.auth.sign)
        except ImportError:
            mark = key_mark(self.tree, ("auth", "sign", "aws_sigv4"))
            self.problems.append(mark.problem("E532", EXTRA))
            return None

    def _roster(self, spec: RouteSpec) -> Roster:
        def outputs(name: str) -> tuple[str, ...] | None:
            value = spec.values.get(name)
            if value is None or value.scope != "account" or value.each:
                return None
            return tuple(value.extract) if isinstance(value.extract, dict) else ()

        def fetching(found: Fetching) -> str:
            name = f"auth.from[{len(self.fetched)}]"
            self.fetched[name] = fetched(name, found)
            return name

        outside = self.sources.outside
        reach = Reach(self.tree, outside, self.problems, outputs, fetching, self.logins)
        return roster_of(spec, reach)

    def _session(self, spec: SessionSpec | None, touches: bool) -> SessionPlan | None:
        if spec is None:
            return None
        state = dict(spec.state)
        return SessionPlan(
            keys=tuple(spec.key),
            ttl=float(spec.ttl),
            limit=spec.max,
            server_history=spec.history == "server",
            max_messages=spec.max_messages,
            persist=spec.persist,
            state=lambda env: {
                name: value
                for name, tree in state.items()
                if (value := tree.render(env)) is not OMIT
            },
            fingerprint=self._fingerprint("session", "state"),
            touches=touches,
        )


def _plan(spec: RouteSpec, request: RequestSpec) -> Plan:
    plan = compile_request(request, spec.base_url or "", spec.upstream.headers, "POST")
    if request.frames is not None:
        return dataclasses.replace(plan, frame=framing(request.frames))
    return plan if request.websocket is None else socket_plan(plan)


_LIST_METHODS = frozenset(METHODS) - {"extract", "produce"}


def _resolved(node: Node, resolver: Resolver) -> Any:
    """Plain values with references replaced: what fingerprints are made of."""
    if node.kind == "map":
        return {key: _resolved(child, resolver) for key, child in node.value.items()}
    if node.kind == "list":
        return [_resolved(child, resolver) for child in node.value]
    return resolver.text(node) if resolver.of(node) else str(node.text)
