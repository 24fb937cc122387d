"""penstock explain: the exact upstream request for a client's request."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.chat import ChatRequest, Message, Text
from engine.dialects import DIALECTS, Target
from engine.dialects.profile import PROFILE
from engine.errors import ExchangeError, RequestError
from engine.replay.explain import FORMATS, explain
from engine.shell.clock import SystemClock
from engine.wire import dumps

from .common import BAD, WRONG_USE, find, routes_option, show_problems


@click.command()
@click.argument("name")
@routes_option
@click.option("--request", "file", metavar="FILE", help="The client's JSON body; `-` reads stdin.")
@click.option("--prompt", default="Hello", help="Without --request: ask this of the first model.")
@click.option(
    "--model", help="Ask this model; with --request, of a dialect that names it in the URL."
)
@click.option(
    "--stream", is_flag=True, help="Ask for a stream, where the body does not say whether."
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="openai_chat",
    help="The client's dialect.",
)
@click.option("--as", "form", type=click.Choice(list(FORMATS)), default="http")
def command(
    name: str,
    folders: tuple[str, ...],
    file: str | None,
    prompt: str,
    model: str | None,
    stream: bool,
    dialect: str,
    form: str,
) -> None:
    """Show what route NAME would send, in order, with every secret masked. No network."""
    compiled = find(name, folders)
    if compiled.route is None:
        show_problems(compiled.problems)
        raise SystemExit(BAD)
    route = compiled.route
    model = model or next(iter(route.offers), "MODEL")  # it may have none but those it finds
    body = read_request("explain", file) if file else _asking(dialect, model, prompt, stream)
    target, now = Target(model, stream), SystemClock().now()
    try:
        explanation = explain(route, body, dialect=dialect, target=target, now=now)
    except (RequestError, ExchangeError) as error:
        click.echo(f"penstock explain: the request would be refused: {error}", err=True)
        raise SystemExit(BAD) from None
    click.echo(FORMATS[form](explanation))


def _asking(dialect: str, model: str, prompt: str, stream: bool) -> bytes:
    """A question as a client of the dialect asks it."""
    messages = [Message("user", [Text(prompt)])]
    request = ChatRequest(dialect, model, messages, stream=stream)
    return dumps(DIALECTS[dialect].render(request, model, PROFILE))


def read_request(verb: str, file: str) -> bytes:
    """What is in a file, or on standard input if it is `-`. Exits with 2 if there is no file."""
    if file == "-":
        return sys.stdin.buffer.read()
    path = Path(file)
    if not path.is_file():
        click.echo(f"penstock {verb}: no file {file}", err=True)
        raise SystemExit(WRONG_USE)
    return path.read_bytes()
