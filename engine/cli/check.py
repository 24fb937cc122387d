"""penstock check: every mistake of every file, at once, with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from engine.errors import ConfigError, Problem
from engine.route.checks import ignored
from engine.shell.mcp_settings import declared_servers
from engine.shell.settings import check_settings
from engine.shell.shelf import Shelf

from .common import BAD, GOOD, WRONG_USE, environment, library, routes_option, show_problems

_FENCE = re.compile(r"^```ya?ml[^\n]*\n(.*?)^```", re.M | re.S)
_SERVER_FILES = {"penstock.yaml", "penstock.yml"}


@click.command()
@click.argument("paths", nargs=-1)
@routes_option
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
@click.option("--deny-warnings", is_flag=True, help="Warnings fail, too.")
@click.option("--no-exec", is_flag=True, help="Read own transforms without running them.")
@click.option("--bundled", is_flag=True, help="Check the routes and presets that come along.")
def command(
    paths: tuple[str, ...],
    folders: tuple[str, ...],
    form: str,
    deny_warnings: bool,
    no_exec: bool,
    bundled: bool,
) -> None:
    """Check route files, folders (`DIR` or `DIR/...`), server files or Markdown with YAML fences.

    Without PATHS the routes that `serve` would load are checked. Exit code 0: clean, 1: problems,
    2: wrong use. A comment `# penstock: ignore W204` silences a code on its line.
    """
    problems: list[Problem] = []
    checked: set[Path] = set()
    servers = declared_servers(_server_files(paths))
    for path, found in _checked(paths, folders, servers, bundled=bundled, execute=not no_exec):
        checked.add(path)
        problems += _heard(path, found)
    if not checked:
        click.echo("penstock check: there is no file to check", err=True)
        raise SystemExit(WRONG_USE)
    _print(problems, form, len(checked))
    bad = any(p.severity == "error" or deny_warnings for p in problems)
    raise SystemExit(BAD if bad else GOOD)


def _checked(
    paths: tuple[str, ...],
    folders: tuple[str, ...],
    servers: frozenset[str] | None,
    *,
    bundled: bool,
    execute: bool,
) -> Iterator[tuple[Path, list[Problem]]]:
    if not paths:
        shelf = library(folders, bundled=bundled, execute=execute, servers=servers)
        for path in shelf.scan():
            yield path, shelf.load(path).problems
        if bundled:
            for path in shelf.presets():
                yield path, shelf.load(path).problems
        yield from ((path, found) for path, found in shelf.clashes())
    for name in paths:
        yield from _named(Path(name.removesuffix("...")), execute, servers)


def _server_files(paths: tuple[str, ...]) -> list[Path]:
    """The server files that tell which servers of tools there are."""
    named = [Path(name) for name in paths] or [Path("penstock.yaml")]
    return [path for path in named if path.name in _SERVER_FILES and path.is_file()]


def _named(
    path: Path, execute: bool, servers: frozenset[str] | None
) -> Iterator[tuple[Path, list[Problem]]]:
    if path.is_dir():
        shelf = Shelf([path], env=environment(), execute=execute, servers=servers)
        yield from ((file, shelf.load(file).problems) for file in shelf.scan())
        yield from ((file, _markdown(file)) for file in sorted(path.rglob("*.md")))
    elif not path.is_file():
        yield path, [Problem(str(path), 0, 0, "E001", "there is no such file")]
    elif path.suffix == ".md":
        yield path, _markdown(path)
    elif path.name in _SERVER_FILES:
        yield path, _server(path.read_bytes(), str(path), environment())
    else:
        shelf = Shelf([path.parent], env=environment(), execute=execute, servers=servers)
        yield path, shelf.load(path).problems


def _markdown(path: Path) -> list[Problem]:
    """The YAML fences of a page: routes, or server files when they say so in their first line."""
    text = path.read_text()
    shelf = Shelf([path.parent], env=environment())
    problems: list[Problem] = []
    for fence in _FENCE.finditer(text):
        before = text.count("\n", 0, fence.start(1))
        source = ("\n" * before + fence.group(1)).encode()
        first = fence.group(1).lstrip().partition("\n")[0]
        if first.startswith("# penstock.yaml"):
            problems += _server(source, str(path), {})
        elif not first.startswith("fixture:"):
            problems += shelf.compile(source, str(path)).problems
    return [problem for problem in problems if problem.code != "E201"]


def _server(source: bytes, name: str, env: Mapping[str, str]) -> list[Problem]:
    try:
        return check_settings(source, name, env)
    except ConfigError as error:
        return [*error.problems]


def _heard(path: Path, problems: list[Problem]) -> list[Problem]:
    """The problems that no comment in the file silences."""
    if not problems or not path.is_file():
        return problems
    quiet = ignored(path.read_text(errors="replace"))
    return [
        problem
        for problem in problems
        if problem.file != str(path) or problem.code not in quiet.get(problem.line, set())
    ]


def _print(problems: list[Problem], form: str, count: int) -> None:
    if form == "json":
        click.echo(json.dumps([_as_dict(problem) for problem in problems], indent=2))
        return
    if form == "github":
        for p in problems:
            click.echo(
                f"::{p.severity} file={p.file},line={p.line},col={p.column}::{p.code} {p.message}"
            )
        return
    show_problems(problems)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    click.echo(
        f"{_many(count, 'file')} checked: {_many(errors, 'error')}, {_many(warnings, 'warning')}"
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _as_dict(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
    }
