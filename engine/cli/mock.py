"""penstock mock: a recorded upstream, served."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from engine.errors import ConfigError
from engine.shell.stub import Stub, stub_server

from .common import BAD, show_problems


@click.command()
@click.argument("fixtures", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8081,
    help="Port to listen on; 0 takes a free one.",
)  # fmt: skip
def command(fixtures: tuple[str, ...], host: str, port: int) -> None:
    """Serve the upstream recorded in FIXTURES (files or folders), with its timing.

    Files that change are read anew. Point a route's `base_url` at the address that is printed.
    """
    try:
        stub = Stub([Path(name) for name in fixtures])
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(BAD) from None
    try:
        asyncio.run(_serve(stub, host, port))
    except KeyboardInterrupt:
        return
    except OSError as error:
        click.echo(f"penstock mock: {error.strerror or error}", err=True)
        raise SystemExit(BAD) from None


async def _serve(stub: Stub, host: str, port: int) -> None:
    async with stub_server(stub, host, port) as url:
        click.echo(f"Penstock mock on {url}")
        await asyncio.Event().wait()
