"""What several verbs need: finding routes, printing problems, exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from engine.errors import ConfigError, Problem
from engine.route.compile import Compiled
from engine.shell.environment import environment
from engine.shell.settings import Settings, load_settings
from engine.shell.shelf import Shelf, route_folders

__all__ = [
    "BAD", "GOOD", "WRONG_USE", "environment", "find", "is_file", "library", "routes_option",
    "server_settings", "show_problems",
]  # fmt: skip

GOOD, BAD, WRONG_USE = 0, 1, 2


def library(
    folders: tuple[str, ...],
    *,
    bundled: bool = False,
    execute: bool = True,
    servers: frozenset[str] | None = None,
    make: Callable[..., Shelf] = Shelf,
) -> Shelf:
    """The routes of --routes, PENSTOCK_ROUTES, ./routes or the bundle, in this order."""
    env = environment()
    return make(
        route_folders([Path(folder) for folder in folders], env),
        env=env,
        bundled=bundled,
        execute=execute,
        servers=servers,
    )


def find(name: str, folders: tuple[str, ...], make: Callable[..., Shelf] = Shelf) -> Compiled:
    """A route by file or by name; presets as `preset:NAME`. Exits with 2 if there is none.

    make: the shelf, from its folders and options
    """
    if is_file(name):
        return make([Path(name).parent], env=environment()).load(Path(name))
    for shelf in (library(folders, make=make), library((), bundled=True, make=make)):
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


def is_file(name: str) -> bool:
    """Whether a route is named by its file."""
    return name.endswith((".yaml", ".yml")) and Path(name).is_file()


def server_settings(verb: str, config: str | None) -> Settings:
    """The server file, `penstock.yaml` if none is named. Exits with 2 if there is no such file."""
    path = Path(config or "penstock.yaml")
    if config and not path.is_file():
        click.echo(f"penstock {verb}: no file {config}", err=True)
        raise SystemExit(WRONG_USE)
    try:
        if path.is_file():
            return load_settings(path, environment())
        return load_settings(None, environment(), {"clients.auth": "none"})
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(BAD) from None


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
