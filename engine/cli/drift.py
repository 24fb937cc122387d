"""penstock drift: whether an upstream still answers in the form that fixtures have recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NoReturn

import click

from engine.replay.drifting import Difference
from engine.replay.readings import Reading
from engine.shell.drifter import Inquiry, Unusable, Verdict, inquire
from engine.shell.recorder import Notes

from .common import (
    BAD,
    GOOD,
    WRONG_USE,
    environment,
    find,
    routes_option,
    server_settings,
    show_problems,
)

_HAS = "the fixture has {before}, the upstream sends {after}"
_WORDS = dict.fromkeys(("status", "content", "vanished", "retyped", "appeared", "renamed"), _HAS)
_STATES = {"alike": "green", "drifted": "red", "unasked": "yellow"}


@click.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@routes_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text",
    help="For people, or for programs.",
)  # fmt: skip
@click.option(
    "--key-from", metavar="VARIABLE",
    help="The environment variable with the client's key, for routes that pass it on.",
)  # fmt: skip
@click.option(
    "--config", type=click.Path(dir_okay=False), help="Server file; default penstock.yaml."
)
def command(
    name: str, files: tuple[str, ...], folders: tuple[str, ...], form: str,
    key_from: str | None, config: str | None,
) -> None:  # fmt: skip
    """Send what the clients of FILES (fixtures) ask through route NAME to its real upstream.

    The forms of the answers are compared with those recorded: paths, types, kinds of events.
    Exit code 0: alike, 1: the upstream has drifted, 2: wrong use, or it could not be asked.
    """
    key = environment().get(key_from, "") if key_from else ""
    if key_from and not key:
        _wrong(f"environment variable `{key_from}` is not set")
    notes = Notes()
    compiled = find(name, folders, make=notes.shelf)
    if compiled.route is None:
        show_problems(compiled.problems)
        raise SystemExit(WRONG_USE)
    notes.read(compiled.route.file)
    inquiry = Inquiry(compiled, notes, server_settings("drift", config), key)
    try:
        verdicts = asyncio.run(inquire(inquiry, [Path(file) for file in files]))
    except Unusable as error:
        _wrong(str(error))
    click.echo(_json(name, verdicts) if form == "json" else _text(verdicts))
    raise SystemExit(_code(verdicts))


def _code(verdicts: list[Verdict]) -> int:
    states = {verdict.state for verdict in verdicts}
    return BAD if "drifted" in states else WRONG_USE if "unasked" in states else GOOD


def _text(verdicts: list[Verdict]) -> str:
    lines = []
    for verdict in verdicts:
        state = click.style(verdict.state, fg=_STATES[verdict.state])
        why = f": the upstream could not be asked: {verdict.why}" if verdict.why else ""
        lines.append(f"{verdict.file}: {state}{why}")
        lines += [f"  {line}" for each in verdict.differences for line in _lines(each)]
    return "\n".join(lines)


def _lines(found: Difference) -> list[str]:
    """Where it is and what, and where the route reads it."""
    kind = f"[{found.kind}]" if found.kind else ""
    place = " ".join(part for part in (found.call, kind, found.path) if part)
    told = _WORDS.get(found.what, "was {before}, is {after}") if found.before else "{after}"
    words = told.format(before=found.before, after=found.after)
    first = ": ".join(part for part in (f"{found.severity} {found.what}", place, words) if part)
    return [first, *(f"      read by {_place(each)}" for each in found.readings)]


def _place(reading: Reading) -> str:
    line = f":{reading.line}" if reading.line else ""
    return f"{reading.place} ({reading.file}{line})"


def _json(name: str, verdicts: list[Verdict]) -> str:
    found = [
        {
            "file": str(verdict.file),
            "state": verdict.state,
            "why": verdict.why,
            "differences": [_tree(each) for each in verdict.differences],
        }
        for verdict in verdicts
    ]
    return json.dumps({"route": name, "fixtures": found}, indent=2, ensure_ascii=False)


def _tree(found: Difference) -> dict[str, Any]:
    return {
        "severity": found.severity,
        "what": found.what,
        "call": found.call,
        "kind": found.kind,
        "path": found.path,
        "fixture": found.before,
        "upstream": found.after,
        "read_by": [
            {"place": each.place, "file": each.file, "line": each.line} for each in found.readings
        ],
    }


def _wrong(message: str) -> NoReturn:
    click.echo(f"penstock drift: {message}", err=True)
    raise SystemExit(WRONG_USE)
