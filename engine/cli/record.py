"""penstock record: one request to the real upstream, kept as a fixture."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NoReturn

import click

from engine.dialects import DIALECTS
from engine.errors import ConfigError, RequestError
from engine.replay.fixtures import ClientSpec
from engine.route.route import Route
from engine.shell.atomic import FileError
from engine.shell.fixture_files import write
from engine.shell.recorder import Notes, NotRecorded, Order, Recording, relative, run
from engine.shell.shelf import route_folders
from engine.shell.testing import Bench
from engine.wire import Headers, JsonError, loads

from .common import (
    BAD,
    GOOD,
    WRONG_USE,
    environment,
    find,
    is_file,
    routes_option,
    server_settings,
    show_problems,
)  # fmt: skip
from .explain import read_request


@click.command()
@click.argument("name")
@routes_option
@click.option(
    "--request", "file", metavar="FILE", required=True,
    help="The client's JSON body; `-` reads stdin.",
)  # fmt: skip
@click.option(
    "-o", "--output", "out", required=True, type=click.Path(dir_okay=False),
    help="The fixture to write.",
)  # fmt: skip
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="openai_chat",
    help="The client's dialect.",
)
@click.option(
    "--path", help="Where the client sends it, if its dialect names model and stream there."
)
@click.option(
    "--key-from", metavar="VARIABLE",
    help="The environment variable with the client's key, for routes that pass it on.",
)  # fmt: skip
@click.option("--note", help="What the fixture shows.")
@click.option(
    "--config", type=click.Path(dir_okay=False), help="Server file; default penstock.yaml."
)
@click.option(
    "--allow", multiple=True, metavar="PATTERN",
    help="Write this, as a refusal named it, or what it says; may be given several times.",
)  # fmt: skip
@click.option(
    "--synthetic-text", "synthetic", is_flag=True,
    help="Replace what was asked and answered by made-up text of the same lengths.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the fixture.")
def command(
    name: str, folders: tuple[str, ...], file: str, out: str, note: str | None, config: str | None,
    allow: tuple[str, ...], synthetic: bool, force: bool, **client: Any,
) -> None:  # fmt: skip
    """Send one request through route NAME to its real upstream, and keep all as a fixture.

    Secrets are replaced by made-up ones of the same shape; where one would be left, nothing is
    written. The fixture is then replayed. Exit code 0: it holds, 1: not so, or nothing was
    recorded, 2: wrong use.
    """
    place = Path(out)
    if place.exists() and not force:
        _wrong(f"{out} is there already; --force overwrites it")
    asked = _client(read_request("record", file), **client)
    notes = Notes()
    route = _route(name, folders, notes)
    _check(route, asked)
    named = relative(name, place) if is_file(name) else route.name
    homes = route_folders([Path(folder) for folder in folders], environment())
    settings = server_settings("record", config)
    order = Order(
        route, named, asked, place, notes, homes, settings,
        note=note, allow=frozenset(allow), synthetic=synthetic,
    )  # fmt: skip
    raise SystemExit(asyncio.run(_record(order)))


def _client(body: bytes, dialect: str, path: str | None, key_from: str | None) -> ClientSpec:
    """Exits with 2 if the request is none, or the key is not there."""
    try:
        found = loads(body)
    except JsonError as error:
        _wrong(f"the request is {error}")
    if not isinstance(found, dict):
        _wrong("the request is no JSON object")
    key = environment().get(key_from, "") if key_from else ""
    if key_from and not key:
        _wrong(f"environment variable `{key_from}` is not set")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return ClientSpec(dialect=dialect, path=path, json=found, headers=headers)


def _route(name: str, folders: tuple[str, ...], notes: Notes) -> Route:
    compiled = find(name, folders, make=notes.shelf)
    if compiled.route is None:
        show_problems(compiled.problems)
        raise SystemExit(BAD)
    notes.read(compiled.route.file)
    return compiled.route


def _check(route: Route, asked: ClientSpec) -> None:
    """Exits with 1 if the request would be refused before anything is sent."""
    try:
        chat = DIALECTS[asked.dialect].parse(asked.bodies()[0], Headers(), asked.target)
    except RequestError as error:
        _bad(f"the request would be refused: {error}")
    if route.offer(chat.model.removeprefix(f"{route.name}/")) is None:
        known = ", ".join(sorted(route.offers)) or "none before it has looked for them"
        _bad(f"route {route.name} has no model `{chat.model}`; it offers: {known}")


async def _record(order: Order) -> int:
    """The exit code."""
    try:
        recording = await run(order)
        files = await write(order, recording)
    except NotRecorded as error:
        click.echo(f"penstock record: nothing is written: {error}", err=True)
        return BAD
    except ConfigError as error:
        show_problems(error.problems)
        return BAD
    except FileError as error:
        click.echo(f"penstock record: {error}", err=True)
        return WRONG_USE
    _tell(recording, files)
    trial = await Bench(order.folders, depth="quick", http=True).attempt(order.out)
    if trial.complaints:
        click.echo(f"penstock record: the replay of {order.out} gives something else:", err=True)
        for complaint in map(recording.told, trial.complaints):
            click.echo("     " + complaint.replace("\n", "\n     "), err=True)
        return BAD
    click.echo("Replayed: as recorded")
    return GOOD


def _tell(recording: Recording, files: list[Path]) -> None:
    seen = recording.seen
    came = f"{seen.error.cls}: {seen.error.message}" if seen.error else seen.reply.finish
    beside = f", with {', '.join(path.name for path in files[1:])}" if files[1:] else ""
    count = len(recording.taken)
    exchanges = "1 exchange" if count == 1 else f"{count} exchanges"
    told = recording.told(f"{exchanges}, {seen.status} {came}")
    click.echo(f"Recorded {files[0]}{beside}: {told}")
    if recording.unanswered:
        click.echo(f"{recording.unanswered} requests that got no answer are left out")


def _wrong(message: str) -> NoReturn:
    click.echo(f"penstock record: {message}", err=True)
    raise SystemExit(WRONG_USE)


def _bad(message: str) -> NoReturn:
    click.echo(f"penstock record: {message}", err=True)
    raise SystemExit(BAD)
