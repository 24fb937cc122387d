"""penstock list: what there is."""

from __future__ import annotations

from collections.abc import Callable

import click

from engine.errors import OUTCOMES
from engine.route.filters import FILTERS, FUNCTIONS

from .common import library, routes_option

Row = tuple[str, ...]


@click.command(name="list")
@click.argument("what", default="routes")
@routes_option
@click.option("--bundled", is_flag=True, help="The routes that come along, too.")
def command(what: str, folders: tuple[str, ...], bundled: bool) -> None:
    """List WHAT: routes (default), presets, transforms, filters or classes."""
    rows = _LISTS.get(what)
    if rows is None:
        raise click.UsageError(f"unknown `{what}`; there are: {', '.join(_LISTS)}")
    _table(rows(folders, bundled))


def _routes(folders: tuple[str, ...], bundled: bool) -> list[Row]:
    shelf = library(folders, bundled=bundled)
    rows: list[Row] = []
    for path in shelf.scan():
        compiled = shelf.load(path)
        state = "ok" if compiled.route else "disabled" if compiled.only_unset else "broken"
        if compiled.spec is not None and compiled.spec.abstract:
            state = "abstract"
        models = ", ".join(sorted(compiled.route.offers)) if compiled.route else ""
        rows.append((compiled.name, state, str(path), models))
    return rows


def _presets(folders: tuple[str, ...], bundled: bool) -> list[Row]:
    shelf = library(folders)
    specs = [(path.stem, shelf.load(path).spec) for path in shelf.presets()]
    return [(name, (spec.description if spec else None) or "") for name, spec in specs]


def _transforms(folders: tuple[str, ...], bundled: bool) -> list[Row]:
    return [
        (loaded.name, " ".join(sorted(loaded.methods)), loaded.doc)
        for loaded in library(folders).transforms()
    ]


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


def _filters(folders: tuple[str, ...], bundled: bool) -> list[Row]:
    both = [("filter", FILTERS), ("function", FUNCTIONS)]
    return [
        (name, kind, _first_line(function))
        for kind, table in both
        for name, function in sorted(table.items())
    ]


def _classes(folders: tuple[str, ...], bundled: bool) -> list[Row]:
    return [(name, outcome.fault, outcome.doc) for name, outcome in OUTCOMES.items()]


_LISTS: dict[str, Callable[[tuple[str, ...], bool], list[Row]]] = {
    "routes": _routes,
    "presets": _presets,
    "transforms": _transforms,
    "filters": _filters,
    "classes": _classes,
}


def _table(rows: list[Row]) -> None:
    if not rows:
        click.echo("none")
        return
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
