"""What several verbs need: finding routes, printing problems, exit codes."""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import Problem
from engine.route.compile import Compiled
from engine.shell.environment import environment
from engine.shell.shelf import Shelf, route_folders

__all__ = [
    "BAD", "GOOD", "WRONG_USE", "environment", "find", "library", "routes_option", "show_problems",
]  # fmt: skip

GOOD, BAD, WRONG_USE = 0, 1, 2


def library(
    folders: tuple[str, ...],
    *,
    bundled: bool = False,
    execute: bool = True,
    servers: frozenset[str] | None = None,
) -> Shelf:
    """The routes of --routes, PENSTOCK_ROUTES, ./routes or the bundle, in this order."""
    env = environment()
    return Shelf(
        route_folders([Path(folder) for folder in folders], env),
        env=env,
        bundled=bundled,
        execute=execute,
        servers=servers,
    )


def find(name: str, folders: tuple[str, ...]) -> Compiled:
    """A route by file or by name; presets as `preset:NAME`. Exits with 2 if there is none."""
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Shelf([Path(name).parent], env=environment()).load(Path(name))
    for shelf in (library(folders), library((), bundled=True)):
        found = shelf.find(name)
        if found is not None:
            return found
    what, shelf = "route", library(folders)
    paths = shelf.scan()
    if name.startswith("preset:"):
        what, name, paths = "preset", name.removeprefix("preset:"), shelf.presets()
    known = ", ".join(sorted({path.stem for path in paths}))
    click.echo(f"penstock: no {what} `{name}`; there are: {known or 'none'}", err=True)
    raise SystemExit(WRONG_USE)


def show_problems(problems: list[Problem]) -> None:
    for problem in problems:
        colour = "red" if problem.severity == "error" else "yellow"
        head, _, rest = str(problem).partition("\n")
        click.echo(click.style(head, fg=colour), err=False)
        if rest:
            click.echo(rest)


def routes_option(command: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--routes", "folders", multiple=True, type=click.Path(file_okay=False), metavar="DIR",
        help="A folder of routes; may be given several times.",
    )(command)  # fmt: skip
