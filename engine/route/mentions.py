"""What a route's templates may read, and what they do read.

The variables of a route are what its keys declare. What no template mentions is never computed: a
value that nobody reads is not fetched, a field of the request that nobody reads is not looked up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.options import Condition, Template, Tree

from .fields import fields_of
from .hints import meant
from .http_spec import HttpSpec
from .nodes import Node
from .pieces import NAMES
from .places import Way, find, parts_of_kind
from .sourcing import parts_of
from .spec import RouteSpec, ValueSpec
from .stages import Stage
from .template import ONLY_HERE, Roots
from .values import ValuePlan
from .view import FIELDS


def roots_of(tree: Node) -> Roots:
    """The variables of this route's templates, as its keys declare them.

    None, which is anything, where a misspelt key may have been meant to declare them: that key is
    the mistake.
    """
    known = fields_of(RouteSpec)
    misspelt = {meant(key, known) for key in tree.value if key not in known}

    def keys(name: str) -> frozenset[str] | None:
        node = tree.get(name)
        if node is None:
            return None if name in misspelt else frozenset()
        return frozenset(node.value) if node.kind == "map" else None

    session = tree.get("session")
    state = session.get("state") if session else None
    named = frozenset(state.value) if state is not None and state.kind == "map" else frozenset()
    media: Roots = {"media": NAMES} if _uploads(tree) else {}
    job: Roots = {"poll": found} if (found := finds_of(tree)) is not None else {}
    rules: tuple[Way, Way] = (("stream", "events"), ("response", "events"))
    constants, learned = keys("vars"), _set(tree, *rules)
    whole = None if constants is None else constants | _set(tree, ("models",), ("variants",))
    return {
        **media,
        **job,
        "req": frozenset(FIELDS),
        "req.messages": _MESSAGE,
        "model": frozenset({"id", "upstream", "max_output"}),
        "account": None if "auth" in misspelt else parts_of(tree),
        "values": keys("values"),
        "session": None if "session" in misspelt else named | learned | {"id"},
        "vars": whole,
        "let": keys("let"),
        f"{ONLY_HERE}noted": _set(tree, *rules, key="note"),
        **_parts_of_values(tree),
    }


_MESSAGE = frozenset({"role", "text", "name", "parts", "extras"})


def _parts_of_values(tree: Node) -> Roots:
    """`values.NAME` -> the names of its outputs, none for one text; of those that say so."""
    values = tree.get("values")
    items = values.value.items() if values is not None and values.kind == "map" else ()
    found: dict[str, frozenset[str] | None] = {}
    for name, item in items:
        extract = item.get("extract") if item.kind == "map" else None
        if extract is None or item.get("each") is not None:
            continue
        if extract.kind == "map":
            found[f"values.{name}"] = frozenset(extract.value)
        elif extract.kind == "list" and not any(step.get("transform") for step in extract.walk()):
            found[f"values.{name}"] = frozenset()
    return found


def finds_of(tree: Node) -> frozenset[str] | None:
    """What is found in the answers of a job, by name; None if the request makes none."""
    poll = find(tree, ("request", "poll"))
    if "poll" not in find(tree, ("request",)).keys or poll.kind != "map":
        return None
    then = poll.get("then")
    blocks = [block.get("extract") for block in (poll, then) if block is not None]
    named = [block for block in blocks if block is not None and block.kind == "map"]
    return frozenset(name for block in named for name in block.value)


def _set(tree: Node, *ways: Way, key: str = "set") -> frozenset[str]:
    """The names that the items of some lists set: `set:` of a rule, a model, a variant."""
    lists = [node for node in (find(tree, way) for way in ways) if node.kind == "list"]
    sets = [item.get(key) for node in lists for item in node.value]
    return frozenset(name for node in sets if node and node.kind == "map" for name in node.value)


def _uploads(tree: Node) -> bool:
    """Whether some value has one for each picture or file."""
    values = tree.get("values")
    items = values.value.values() if values is not None and values.kind == "map" else ()
    return any(item.kind == "map" and item.get("each") is not None for item in items)


def mentioned(spec: Any) -> Iterator[str]:
    """Every dotted name that templates and conditions inside a spec read."""
    for value in _inside(spec):
        if isinstance(value, Template | Condition | Tree):
            yield from value.mentions


def _inside(spec: Any) -> Iterator[Any]:
    """What is compiled of a spec: its templates, conditions and trees, in order."""
    waiting = [spec]
    while waiting:
        value = waiting.pop()
        kind: type = type(value)
        if kind is dict:
            waiting += reversed(value.values())
        elif kind is list or kind is tuple:
            waiting += reversed(value)
        elif (parts := parts_of_kind(kind)) is None:
            yield value
        elif parts:
            waiting += [getattr(value, name) for name, _ in reversed(parts)]


def without_cleanups(values: Mapping[str, ValueSpec]) -> dict[str, ValueSpec]:
    """The values as requests need them: what only a clean-up reads is not fetched for it."""
    return {name: dataclasses.replace(value, cleanup=None) for name, value in values.items()}


def asked_for(spec: RouteSpec, request: HttpSpec, stages: Iterable[Stage]) -> frozenset[str]:
    """Every dotted name that the templates of a request read."""
    staged = [(stage.options, stage.when) for stage in stages]
    if spec.values:
        spec = dataclasses.replace(spec, values=without_cleanups(spec.values))
    return frozenset(mentioned((spec, request, staged)))


def mentioned_templates(spec: Any) -> Iterator[Template]:
    """Every template inside a spec."""
    return (value for value in _inside(spec) if isinstance(value, Template))


def value_names(mentions: Iterator[str] | frozenset[str]) -> Iterator[str]:
    return (name.split(".")[1] for name in mentions if name.startswith("values."))


def wanted_values(values: Mapping[str, ValuePlan], mentions: frozenset[str]) -> Iterator[str]:
    """The values a request needs, in the order of the file; needed ones stand before."""
    outside = set(value_names(mentions)) if "values" not in mentions else set(values)
    for name in values:
        if name in outside:
            yield name


def request_names(mentions: frozenset[str]) -> frozenset[str]:
    if "req" in mentions:
        return frozenset(FIELDS)
    return frozenset(name.split(".")[1] for name in mentions if name.startswith("req."))
