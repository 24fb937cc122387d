"""penstock serve: serve the routes; `--demo` serves a demo of its own."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import click

from engine.errors import ConfigError, Problem
from engine.shell.app import Gateway, serve
from engine.shell.demo import Demo
from engine.shell.environment import read_env_file
from engine.shell.keeping import MOST, Keeping
from engine.shell.settings import Settings, load_settings
from engine.shell.shelf import Shelf, route_folders
from engine.shell.tune import tune

from .common import BAD, WRONG_USE, environment, routes_option, show_problems


@click.command()
@routes_option
@click.option(
    "--config", type=click.Path(dir_okay=False), help="Server file; default penstock.yaml."
)
@click.option(
    "--env-file", type=click.Path(dir_okay=False), help="A file of variables; set ones win."
)
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--open", "open_", is_flag=True, help="Serve without client keys.")
@click.option("--bundled", is_flag=True, help="Serve the routes that come along, too.")
@click.option("--strict-start", is_flag=True, help="Do not start with a broken route.")
@click.option("--no-own-transforms", is_flag=True, help="Load shipped transforms only.")
@click.option(
    "--record", "record", type=click.Path(file_okay=False), metavar="DIR",
    help="Keep each exchange as a fixture in DIR, in a folder for each route.",
)  # fmt: skip
@click.option(
    "--record-most", "most", type=click.IntRange(min=1), default=MOST, show_default=True,
    metavar="NUMBER", help="With --record: fixtures of one route.",
)  # fmt: skip
@click.option(
    "--record-allow", "allow", multiple=True, metavar="PATTERN",
    help="With --record: write this, as a refusal in the log named it.",
)  # fmt: skip
@click.option(
    "--synthetic-text", "synthetic", is_flag=True,
    help="With --record: replace what was asked and answered by made-up text.",
)  # fmt: skip
@click.option("--demo", is_flag=True, help="Serve a demo: no key and no network needed.")
def command(
    folders: tuple[str, ...],
    config: str | None,
    env_file: str | None,
    host: str | None,
    port: int | None,
    open_: bool,
    bundled: bool,
    strict_start: bool,
    no_own_transforms: bool,
    record: str | None,
    most: int,
    allow: tuple[str, ...],
    synthetic: bool,
    demo: bool,
) -> None:
    """Serve the routes of --routes, PENSTOCK_ROUTES, ./routes or the bundle.

    SIGHUP looks at all route files anew; SIGTERM lets requests finish, then stops.
    """
    given: dict[str, object] = {
        "listen.host": host,
        "listen.port": port,
        "clients.auth": "none" if open_ or demo else None,
        "transforms.own": False if no_own_transforms else None,
    }
    keeping = Keeping(Path(record), most, frozenset(allow), synthetic) if record else None
    env = _environment(env_file)
    settings = _settings(config, given, env, alone=demo)
    named = [Path(folder) for folder in folders or settings.routes]
    with contextlib.ExitStack() as stack:
        started = _say
        if demo:
            shown = stack.enter_context(Demo(env))
            named, started = [shown.routes], shown.say
        shelf = Shelf(
            route_folders(named, env),
            env=env,
            bundled=bundled,
            own_transforms=settings.transforms.own,
            servers=settings.mcp,
        )
        _run(settings, shelf, strict_start, started, keeping)


def _environment(file: str | None) -> dict[str, str]:
    try:
        return {**(read_env_file(Path(file)) if file else {}), **environment()}
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(BAD) from None


def _settings(
    config: str | None, given: dict[str, object], env: dict[str, str], *, alone: bool
) -> Settings:
    path = Path(config) if config else Path("penstock.yaml")
    if config and not path.is_file():
        click.echo(f"penstock serve: no file {config}", err=True)
        raise SystemExit(WRONG_USE)
    overrides = {key: value for key, value in given.items() if value is not None}
    notes: list[Problem] = []
    try:
        file = path if path.is_file() and not alone else None
        settings = load_settings(file, env, overrides, notes)
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(BAD) from None
    show_problems(notes)
    return settings


def _run(
    settings: Settings, shelf: Shelf, strict: bool, started: Any, keeping: Keeping | None
) -> None:
    tune()
    main = serve(settings, shelf, strict=strict, started=started, record=keeping)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main)
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(BAD) from None
    except OSError as error:
        click.echo(f"penstock serve: {error.strerror or error}", err=True)
        raise SystemExit(BAD) from None


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _say(gateway: Gateway) -> None:
    """What is served and what is not."""
    states = gateway.keeper.states.values()
    good = sorted(gateway.keeper.book.routes)
    count = "1 route" if len(good) == 1 else f"{len(good)} routes"
    click.echo(f"Penstock serves {count} on {gateway.url}/v1: {', '.join(good) or 'none'}")
    for state in sorted(states, key=lambda state: state.name):
        if state.state in ("broken", "disabled"):
            why = next((str(p).partition("\n")[0] for p in state.problems), "")
            click.echo(f"  {state.name}: {state.state}: {why}")
