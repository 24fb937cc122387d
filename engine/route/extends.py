"""`extends`: one parent, merged under the child; every value keeps the place it came from.

Maps merge deeply, scalars and lists replace, `key: null` removes what was inherited. A list may
hold the literal item `- inherit`, which stands for the parent's list. What is personal to a route
(`name`, `models`, `abstract`, `auth.from` and the like) is not inherited.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache

from engine.errors import Problem

from .nodes import Made, Mark, Node, read

MAX_DEPTH = 5
PERSONAL = {
    "": {"name", "models", "abstract", "description", "enabled", "priority"},
    "auth": {"from"},
}

# Finds a parent: (name as written, file that names it) -> (text, file), or a message.
Find = Callable[[str, str], tuple[bytes, str] | str]


def expand(
    root: Node, file: str, find: Find, problems: list[Problem]
) -> tuple[Node, dict[str, str]]:
    """The route's whole tree, and the parents it was made of, the nearest first.

    Of each parent a digest of what it says: that of its tree, so that comments do not count.
    """
    files: dict[str, str] = {}
    tree, seen = root, [file]
    layers = [root]
    while (parent := tree.get("extends")) is not None and parent.kind == "str":
        loaded = _load(parent, seen, find, problems)
        if loaded is None:
            break
        tree, name, digest = loaded
        seen.append(name)
        files[name] = digest
        layers.append(tree)
    merged = layers.pop()
    while layers:
        merged = merge(merged, layers.pop(), "", problems)
    return merged, files


def _load(
    parent: Node, seen: list[str], find: Find, problems: list[Problem]
) -> tuple[Node, str, str] | None:
    found = find(parent.value, seen[-1])
    if isinstance(found, str):
        problems.append(parent.mark.problem("E204", found))
        return None
    text, name = found
    if name in seen:
        chain = " -> ".join([*seen, name])
        problems.append(parent.mark.problem("E205", f"`extends` goes in a circle: {chain}"))
        return None
    if len(seen) > MAX_DEPTH:
        problems.append(
            parent.mark.problem("E205", f"`extends` goes deeper than {MAX_DEPTH} files")
        )
        return None
    tree, digest = _parsed(text, name) or (read(text, name, problems), "")
    if tree is None or tree.kind != "map":
        problems.append(parent.mark.problem("E204", f"`{name}` cannot be read as a route"))
        return None
    return tree, name, digest or _digest(tree)


@lru_cache(maxsize=64)
def _parsed(text: bytes, name: str) -> tuple[Node, str] | None:
    """A parent's tree and digest, shared by its children: thousands may extend one preset.

    None for a parent that cannot be shared: it has problems, or lists still to be spliced.
    """
    problems: list[Problem] = []
    tree = read(text, name, problems)
    if tree is None or problems:
        return None
    lists = (node for node in tree.walk() if node.kind == "list")
    if any(any(map(_is_inherit, node.value)) for node in lists):
        return None
    _share(tree)
    return tree, _digest(tree)


def _share(node: Node) -> bool:
    """Let each map without a reference be read once; whether there is none in the node."""
    alike = node.kind != "str" or "${" not in node.value
    below = node.value.values() if node.kind == "map" else node.value if node.kind == "list" else ()
    for child in below:
        alike = _share(child) and alike
    if node.kind == "map" and alike:
        node.made = Made()
    return alike


def _digest(tree: Node) -> str:
    return hashlib.sha256(repr(tree.plain()).encode("utf-8", "backslashreplace")).hexdigest()


def merge(parent: Node, child: Node, place: str, problems: list[Problem]) -> Node:
    """The child over the parent."""
    if child.kind == "list":
        return _splice(parent, child, problems)
    if child.kind != "map" or parent.kind != "map":
        return child
    personal = PERSONAL.get(place, set())
    values = {key: node for key, node in parent.value.items() if key not in personal}
    keys = {key: parent.keys[key] for key in values}
    for key, node in child.value.items():
        if node.kind == "null" and key in values:
            del values[key], keys[key]
            continue
        inside = f"{place}.{key}" if place else key
        values[key] = merge(values[key], node, inside, problems) if key in values else node
        keys[key] = child.keys[key]
    return dataclasses.replace(child, value=values, keys=keys)


def _splice(parent: Node, child: Node, problems: list[Problem]) -> Node:
    if not any(_is_inherit(item) for item in child.value):
        return child
    items: list[Node] = []
    for item in child.value:
        if _is_inherit(item):
            items += parent.value if parent.kind == "list" else []
        else:
            items.append(item)
    return dataclasses.replace(child, value=items)


def _is_inherit(node: Node) -> bool:
    return node.kind == "str" and not node.quoted and node.value == "inherit"


def stray_inherit(nodes: Iterable[Node]) -> list[Mark]:
    """Takes out each `- inherit` for which there was nothing to inherit; says where they stood."""
    marks: list[Mark] = []
    for node in nodes:
        if node.kind == "list" and any(map(_is_inherit, node.value)):
            marks += [item.mark for item in node.value if _is_inherit(item)]
            node.value = [item for item in node.value if not _is_inherit(item)]
    return marks
