"""Templates where none is rendered: what was to be an expression would be sent as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.errors import Problem

from .nodes import Node
from .places import Way, dotted
from .spec import RouteSpec

_CONSTANT: tuple[Way, ...] = (("vars",), ("models",), ("variants",), ("auth", "from"))
_MEANT = re.compile(r"\{\{-?\s*(?:account|env|let|model|req|session|values|vars)\.\w")
_RENDERED = ("oauth2", "first_of")  # sources that take templates, or hold others


def check_literals(spec: RouteSpec, tree: Node) -> Iterator[Problem]:
    """Constants that read like a template; a mention of a variable tells one from other text."""
    for way in _CONSTANT:
        node: Node | None = tree
        for step in way:
            node = node.get(str(step)) if node is not None else None
        for leaf in _leaves(node) if node is not None else ():
            hit = _MEANT.search(leaf.value)
            if hit is not None:
                what = "write `${env:NAME}`" if "env" in hit[0] else "it is sent as it stands"
                message = f"`{dotted(way)}` holds constants; no template is rendered here: {what}"
                yield leaf.mark.problem("W509", message, "warning")


def _leaves(node: Node) -> Iterator[Node]:
    if node.kind == "str":
        yield node
    elif node.kind == "list":
        for item in node.value:
            yield from _leaves(item)
    elif node.kind == "map":
        for key, child in node.value.items():
            if key not in _RENDERED:
                yield from _leaves(child)
