"""penstock show: what a route is after everything it inherits."""

from __future__ import annotations

from collections.abc import Iterator

import click

from engine.auth.sources import inlined
from engine.options import Secret
from engine.route.compile import Compiled
from engine.route.nodes import Node
from engine.wire import dumps

from .common import BAD, find, routes_option, show_problems


@click.command()
@click.argument("name")
@routes_option
@click.option("--origin", is_flag=True, help="Say for each value which file and line it is from.")
def command(name: str, folders: tuple[str, ...], origin: bool) -> None:
    """Print route NAME (a name, a file, or `preset:NAME`) with what it inherits.

    References such as `${env:X}` are shown as written, never as what they give; secrets that are
    written out are masked.
    """
    compiled = find(name, folders)
    if compiled.tree is None:
        show_problems(compiled.problems)
        raise SystemExit(BAD)
    hidden = _written_out(compiled)
    for line, node in lines(compiled.tree, 0):
        if node is not None and str(node.text) in hidden:
            line = line.removesuffix(scalar(node)) + repr(hidden[str(node.text)])
        where = f"  # {node.mark.file}:{node.mark.line}" if origin and node is not None else ""
        click.echo(f"{line:<60}{where}" if where else line)


def _written_out(compiled: Compiled) -> dict[str, Secret]:
    known: list[object] = [*compiled.route.references.values()] if compiled.route else []
    known += inlined(compiled.spec.auth.from_ or []) if compiled.spec else []
    return {secret.reveal(): secret for secret in known if isinstance(secret, Secret)}


def lines(node: Node, depth: int) -> Iterator[tuple[str, Node | None]]:
    """YAML lines of a tree, each with the node whose value it shows."""
    pad = "  " * depth
    if node.kind == "map":
        for key, child in node.value.items():
            yield from _entry(f"{pad}{_key(key)}:", child, depth)
    elif node.kind == "list":
        for child in node.value:
            yield from _entry(f"{pad}-", child, depth)
    else:
        yield pad + scalar(node), node


def _entry(head: str, child: Node, depth: int) -> Iterator[tuple[str, Node | None]]:
    if child.kind in ("map", "list") and child.value:
        yield head, None
        yield from lines(child, depth + 1)
    else:
        yield f"{head} {scalar(child)}", child


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else dumps(key).decode()


def scalar(node: Node) -> str:
    if node.kind == "map":
        return "{}"
    if node.kind == "list":
        return "[]"
    if node.kind == "str":
        plain = node.value and not node.quoted and "\n" not in node.value
        return node.value if plain else dumps(node.value).decode()
    return str(node.text) or "null"
