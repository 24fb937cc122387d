"""What a route means, checked: everything that no single field can tell.

`check_nodes` looks at the merged tree, before there is a spec; `check_spec` at the spec, with the
tree for places; `check_stages` once the transforms are known. Each check is a generator of
Problems; all of them run, so that one mistake does not hide another.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from jinja2 import nodes as jinja

from engine.errors import Problem
from engine.masks import BEGINS, MARKED

from .codes import CODES
from .extends import stray_inherit
from .hints import did_you_mean
from .http_spec import CallSpec
from .literals import check_literals
from .media_checks import check_media, misplaced_media, wrong_upload
from .nodes import Node
from .oauth_checks import oauth_keys, oauth_urls
from .places import Way, dotted, expressions, find, key_mark, mention_mark
from .poll_checks import asked_of, check_jobs
from .rule_checks import RULE_CHECKS, check_stages
from .sandbox import PLAIN
from .socket_checks import check_sockets
from .sourcing import many
from .spec import RequestSpec, RouteSpec, ValueSpec
from .urls import HTTP, SOCKET, wrong_url
from .view import FIELDS

Check = Callable[[RouteSpec, Node], Iterator[Problem]]

# ---- the tree ----


def check_nodes(nodes: list[Node], problems: list[Problem]) -> None:
    """Checks of the nodes of the merged tree, after references were resolved."""
    strays = stray_inherit(nodes)
    if not _orphan(problems):
        message = "`- inherit` stands for a parent's list; no parent has one here"
        problems += [mark.problem("E511", message) for mark in strays]
    for node in nodes:
        if node.kind == "str" and _EITHER.search(node.value):
            problems += _references(node)
            problems += _secrets(node)


_SECRET = re.compile(MARKED, re.ASCII)
_PEM = "-----BEGIN "
_PLACEHOLDER = re.compile(
    r"test|bench|example|sample|demo|dummy|fake|mock|placeholder|your|change|secret|xxx|\.\.\."
    r"|0000|1234|abcd",
    re.I,
)
_REFERENCE_INSIDE = re.compile(r"\{\{(?:(?!\}\}).)*(?<!\$)\$\{", re.S)
_EITHER = re.compile(rf"\{{\{{|{BEGINS}")  # how what is looked for begins


def _references(node: Node) -> Iterator[Problem]:
    if _REFERENCE_INSIDE.search(node.value):
        message = "a reference cannot stand inside `{{ }}`: name it in `vars` and write `vars.…`"
        yield node.mark.problem("E206", message)


def _secrets(node: Node) -> Iterator[Problem]:
    """Known beginnings with a random-looking rest: a digit in it, many characters, no usual word.

    Of a key in a PEM block the first line tells all.
    """
    hit = None if "${" in node.value else _SECRET.search(node.value)
    if hit is None or hit.lastindex is None:
        return
    begin, random = hit[hit.lastindex], re.search(r"\d", hit[0]) and len(set(hit[0])) >= 10
    if begin == _PEM or (random and not _PLACEHOLDER.search(hit[0])):
        message = f"this looks like a secret (`{begin}…`): keep it outside, as `${{env:NAME}}`"
        yield node.mark.problem("W505", message, "warning")


# ---- identity ----


def _name(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if spec.name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", spec.name):
        message = f"the name `{spec.name}` may only hold letters, digits, `_`, `.` and `-`"
        yield find(tree, ("name",)).mark.problem("E517", message)


def _urls(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if spec.base_url is not None:
        node = find(tree, ("base_url",))
        yield from _url(node, "base_url", spec.base_url)
        if mark := re.search("[?#]", spec.base_url):
            message = (
                f"`base_url` ends before `{mark[0]}`: paths follow it; `request` takes a `query`"
            )
            yield node.mark.problem("E506", message)
    elif not spec.abstract:
        yield tree.mark.problem("E506", "`base_url` is missing: scheme and host of the upstream")
    for way, request in requests_of(spec):
        if isinstance(request.url, str):
            node, speaks = find(tree, (*way, "url")), _schemes(request)
            yield from _url(node, dotted((*way, "url")), request.url, speaks)
        if request.url is not None and request.path is not None:
            message = f"`{dotted(way)}` takes `path` or `url`, not both"
            yield key_mark(tree, (*way, "path")).problem("E518", message)


def _schemes(request: CallSpec) -> tuple[str, ...]:
    socket = isinstance(request, RequestSpec) and request.websocket is not None
    return SOCKET if socket else HTTP


def _url(node: Node, place: str, url: str, schemes: tuple[str, ...] = HTTP) -> Iterator[Problem]:
    wrong = wrong_url(url, schemes)
    if wrong:
        yield node.mark.problem("E506", f"`{place}` {wrong}")


def _models(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if not spec.models and spec.discover is None and not spec.abstract:
        yield key_mark(tree, ("models",)).problem("E507", "`models` is missing or empty")
    seen: set[str] = set()
    for way, name in _offered(spec):
        if name in seen:
            message = f"`{name}` is offered twice by this route"
            yield find(tree, way).mark.problem("E501", message)
        seen.add(name)


def _offered(spec: RouteSpec) -> Iterator[tuple[Way, str]]:
    for at, model in enumerate(spec.models):
        yield ("models", at, "id"), model.id
        for place, alias in enumerate(model.aliases):
            yield ("models", at, "aliases", place), alias
    for at, variant in enumerate(spec.variants):
        for model in spec.models:
            yield ("variants", at, "suffix"), model.id + variant.suffix


def _complete(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if spec.abstract or spec.dialect is not None:
        return
    request = spec.request
    bodies = ("path", "url", "json", "form", "multipart", "raw", "websocket")
    asks = request and any(getattr(request, key) is not None for key in bodies)
    rules = (spec.stream and spec.stream.events) or (spec.response and spec.response.events)
    missing = [
        word
        for word, there in (
            ("`request` with a path or a body", asks),
            ("rules in `stream.events` or `response.events`", rules),
        )
        if not there
    ]
    if missing:
        message = f"a route without `dialect` needs {' and '.join(missing)}"
        yield tree.mark.problem("E508", message)


# ---- numbers ----

_LEAST: tuple[tuple[tuple[str, ...], float], ...] = (
    (("retry", "attempts"), 1),
    (("retry", "backoff", "factor"), 1),
    (("retry", "budget", "share"), 0),
    (("retry", "budget", "least"), 0),
    (("breaker", "after"), 1),
    (("breaker", "probe"), 0.001),
    (("request", "websocket", "ping"), 0.001),
    (("request", "poll", "every"), 0.001),
    (("request", "poll", "every", "initial"), 0.001),
    (("request", "poll", "every", "factor"), 1),
    (("request", "poll", "tolerate"), 0),
    (("continuation", "max"), 1),
    (("media", "most"), 1),
    (("media", "largest"), 1),
    (("media", "timeout"), 0.001),
    (("tools", "max_rounds"), 1),
    (("tools", "timeout"), 0.001),
    (("tools", "parallel"), 1),
    (("limits", "concurrency"), 1),
    (("limits", "request"), 1),
    (("limits", "answer"), 1),
    (("limits", "event"), 1),
    (("session", "max"), 1),
    (("session", "max_messages"), 1),
    (("stream", "min_text"), 0),
    (("response", "min_text"), 0),
    (("discover", "every"), 0.001),
    (("limits", "per_account", "rpm"), 1),
    (("limits", "per_account", "concurrency"), 1),
    (("limits", "per_client", "rpm"), 1),
    (("limits", "per_client", "concurrency"), 1),
    (("auth", "park", "after"), 1),
    (("auth", "refresh_all", "after"), 1),
    (("auth", "refresh_all", "min_pool"), 1),
    (("timeouts", "connect"), 0.001),
    (("timeouts", "first_byte"), 0.001),
    (("timeouts", "idle"), 0.001),
    (("timeouts", "total"), 0.001),
)


def _numbers(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    found: list[tuple[Way, object, float]] = [
        (way, _read(spec, way), least) for way, least in _LEAST
    ]
    found += [
        (("models", at, "max_output"), model.max_output, 1) for at, model in enumerate(spec.models)
    ]
    found += [
        (("values", name, key), getattr(value, key), 1)
        for name, value in spec.values.items()
        for key in ("refresh_after", "parallel")
    ]
    for way, value, least in found:
        if isinstance(value, int | float) and value < least:
            told = "more than 0" if 0 < least < 1 else f"at least {least}"
            yield find(tree, way).mark.problem("E515", f"`{dotted(way)}` must be {told}")


def _read(spec: object, way: tuple[str, ...]) -> object:
    for name in way:
        spec = getattr(spec, name, None)
    return spec


# ---- values and sessions ----


def _values(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for name, value in spec.values.items():
        wrong = _wrong_value(value)
        if wrong:
            yield key_mark(tree, ("values", name)).problem("E513", f"`values.{name}` {wrong}")
        if value.scope in ("route", "account"):
            yield from _shared(name, value, spec, tree)


def _wrong_value(value: ValueSpec) -> str | None:
    made = [way for way in ("request", "transform", "ask") if getattr(value, way) is not None]
    if not made:
        return "needs `request` with `extract`, or `transform`, or `ask`"
    if len(made) > 1:
        return f"takes `{made[0]}` or `{made[1]}`, not both"
    if value.ask is not None:
        return _wrong_question(value)
    if value.transform is not None:
        return "has nothing to extract: `transform` makes the value" if value.extract else None
    if value.each or value.item is not None:
        wrong = wrong_upload(value)
        if wrong is not None:
            return wrong
    steps = value.extract.values() if isinstance(value.extract, dict) else [value.extract]
    if not steps or not all(steps):
        return "lacks `extract`: where in the answer the value stands"
    return None


def _wrong_question(value: ValueSpec) -> str | None:
    if value.extract:
        return "has nothing to extract: the model's answer is the value"
    return None if value.scope == "request" else "asks a model: that takes `scope: request`"


def _shared(name: str, value: ValueSpec, spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if value.each:  # whether it is wanted, and what stands in its list, each request says
        value = dataclasses.replace(value, when=None, item=None)
    for way, mentions in _asking(name, value):
        wrong = next((m for m in sorted(mentions) if _is_narrow(m, spec)), None)
        of = next((m for m in sorted(mentions) if _of_an_account(m, spec)), None)
        if of is not None and value.scope == "route" and many(spec):
            message = (
                f"`{of}` differs from account to account, but `values.{name}` is shared by all of "
                f"them (scope route): use `scope: account`"
            )
            yield mention_mark(tree, way, of).problem("E514", message)
        if wrong is not None:
            message = (
                f"`{wrong}` differs from request to request, but `values.{name}` is shared "
                f"(scope {value.scope}): use `scope: session` or `scope: request`"
            )
            yield mention_mark(tree, way, wrong).problem("E514", message)


def _of_an_account(mention: str, spec: RouteSpec) -> bool:
    root, _, name = mention.partition(".")
    value = spec.values.get(name) if root == "values" else None
    return root == "account" or (value is not None and value.scope == "account")


def _accounts(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if spec.auth.pick == "sticky" and spec.session is None:
        message = "`pick: sticky` keeps a session on one account: `session` is missing"
        yield find(tree, ("auth", "pick")).mark.problem("E523", message)


def _is_narrow(mention: str, spec: RouteSpec) -> bool:
    root, _, name = mention.partition(".")
    if root == "values" and name in spec.values:
        return spec.values[name].scope in ("session", "request")
    return root in ("req", "session", "model")


def _order(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """A value may need those above it. Every circle has an edge that leads down, or to itself."""
    names = list(spec.values)
    edges = {name: list(_needs(name, value)) for name, value in spec.values.items()}
    graph = {name: {other for _, other in found} for name, found in edges.items()}
    for at, name in enumerate(names):
        for way, other in edges[name]:
            if other not in names[at:]:
                continue
            message = f"`values.{name}` needs `values.{other}`, which is declared below it"
            if name in _reached(other, graph):
                message = f"`values.{name}` needs itself"
                message += "" if other == name else f", by way of `values.{other}`"
            yield mention_mark(tree, way, "values").problem("E516", message)


def _asking(name: str, value: ValueSpec) -> Iterator[tuple[Way, frozenset[str]]]:
    """What is read to fetch a value; its clean-up comes later."""
    return expressions(dataclasses.replace(value, cleanup=None), ("values", name))


def _needs(name: str, value: ValueSpec) -> Iterator[tuple[Way, str]]:
    for way, mentions in _asking(name, value):
        for mention in sorted(mentions):
            if mention.startswith("values."):
                yield way, mention.removeprefix("values.")


def _reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Everything that is needed by way of `start`, itself included."""
    known, waiting = {start}, [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - known
        known |= new
        waiting += new
    return known


def _cleanups(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for name, value in spec.values.items():
        if value.cleanup is None:
            continue
        place: Way = ("values", name, "cleanup")
        if value.scope in ("route", "account"):
            message = (
                f"`values.{name}` is shared (scope {value.scope}), and others may still use it: "
                "`cleanup` needs `scope: session` or `scope: request`"
            )
            yield key_mark(tree, place).problem("E525", message)
            continue
        for way, mentions in expressions(value.cleanup, place):
            gone = next((m for m in sorted(mentions) if _is_gone(m, value.scope, spec)), None)
            if gone is not None:
                message = f"`{gone}` is gone when `values.{name}` is cleaned up"
                yield mention_mark(tree, way, gone).problem("E525", message)


def _is_gone(mention: str, scope: str, spec: RouteSpec) -> bool:
    root, _, name = mention.partition(".")
    if root == "values" and name.partition(".")[0] in spec.values:
        other = spec.values[name.partition(".")[0]]
        return bool(other.each) or (scope == "session" and other.scope == "request")
    return root in ("req", "model", "let")


def _session(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for at, word in enumerate(spec.session.key if spec.session else []):
        wrong = _wrong_key(word)
        if wrong is not None:
            message = f"`session.key` takes `req.…`, `header.…` or `fingerprint`, not `{word}`"
            yield find(tree, ("session", "key", at)).mark.problem("E512", message + wrong)


def _wrong_key(word: str) -> str | None:
    root, _, rest = word.partition(".")
    if (word == "fingerprint") or (root == "header" and rest):
        return None
    if root == "req" and rest.partition(".")[0] in FIELDS:
        return None
    return did_you_mean(word, ["fingerprint", "header", *(f"req.{name}" for name in FIELDS)])


# ---- requests ----


def requests_of(spec: RouteSpec) -> Iterator[tuple[Way, CallSpec]]:
    """Every request that a route describes, with its place."""
    if spec.request is not None:
        yield ("request",), spec.request
        yield from asked_of(spec.request)
    for name, value in spec.values.items():
        if value.request is not None:
            yield ("values", name, "request"), value.request
        if value.cleanup is not None:
            yield ("values", name, "cleanup"), value.cleanup


def _paths(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    for way, request in requests_of(spec):
        if request.path is None or request.path.constant:
            continue
        for name in dict.fromkeys(_unencoded(PLAIN.environment.parse(request.path.source))):
            message = f"`{name}` goes into a path as it is: write `{name} | urlpath`"
            yield find(tree, (*way, "path")).mark.problem("W506", message, "warning")


_ENCODED = {"urlpath", "urlquery", "sha256", "md5", "hmac_sha256", "int", "float", "length"}
_NO_TEXT = {"stream", "temperature", "top_p", "max_tokens", "seed", "n"}


def _unencoded(node: jinja.Node) -> Iterator[str]:
    """Names from outside whose text comes out of an expression; conditions only choose."""
    if isinstance(node, jinja.Filter) and node.name in _ENCODED:
        return
    if isinstance(node, jinja.Compare | jinja.Test | jinja.Not):
        return
    if isinstance(node, jinja.Getattr) and isinstance(node.node, jinja.Name):
        if node.node.name in ("media", "poll", "req", "values") and node.attr not in _NO_TEXT:
            yield f"{node.node.name}.{node.attr}"
        return
    for child in node.iter_child_nodes(exclude=("test",)):
        yield from _unencoded(child)


def _bearer(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    bearer = spec.auth.bearer
    if bearer is not None and re.match(r"bearer\b", bearer.source.lstrip(), re.I):
        message = "`Bearer` is typed twice: `auth.bearer` puts it before the value by itself"
        yield find(tree, ("auth", "bearer")).mark.problem("W508", message, "warning")


def _fallback(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    if not spec.fallback:
        return
    known = {spec.name or PurePosixPath(tree.mark.file).stem}
    for at, fallback in enumerate(spec.fallback):
        if fallback.to in known:
            message = f"`fallback` leads to `{fallback.to}`, which has had the request by then"
            yield find(tree, ("fallback", at)).mark.problem("E526", message)
        known.add(fallback.to)


# ---- all of them ----

_CHECKS: tuple[Check, ...] = (
    _name,
    _urls,
    oauth_keys,
    oauth_urls,
    _models,
    _complete,
    _numbers,
    _values,
    _accounts,
    _order,
    _cleanups,
    _session,
    _paths,
    _bearer,
    _fallback,
    check_media,
    misplaced_media,
    *RULE_CHECKS,
    check_sockets,
    check_jobs,
    check_literals,
)
_UNRESOLVED = {"E201", "E202", "E203"}
_ORPHANED = {"E204", "E205"}
_INHERITED = {"E506", "E508"}


def check_spec(spec: RouteSpec, tree: Node, problems: list[Problem]) -> None:
    """Checks of the spec, without what only follows from problems that are noted already.

    A reference that failed makes its line wrong, a parent that is not there leaves keys out.
    """
    unresolved = any(problem.code in _UNRESOLVED for problem in problems)
    orphan = _orphan(problems)
    for check in _CHECKS:
        problems += [
            found
            for found in check(spec, tree)
            if not (unresolved and "${" in found.excerpt)
            and not (orphan and found.code in _INHERITED)
        ]


def _orphan(problems: list[Problem]) -> bool:
    return any(problem.code in _ORPHANED for problem in problems)


# ---- comments ----


_IGNORE = re.compile(r"(?:^|\s)#\s*penstock:\s*ignore\s+(W\d{3}(?:[\s,]+W\d{3})*)")


def ignored(source: str) -> dict[int, set[str]]:
    """Warnings that comments switch off, by line: `# penstock: ignore W505`. Errors stay."""
    found: dict[int, set[str]] = {}
    for number, line in enumerate(source.splitlines(), 1):
        hit = _IGNORE.search(line)
        if hit:
            found[number] = set(re.findall(r"W\d{3}", hit[1]))
    return found


__all__ = ["CODES", "check_nodes", "check_spec", "check_stages", "ignored"]
