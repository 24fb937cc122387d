"""penstock new: the first draft of a route, out of what a browser recorded, or of a preset."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import NoReturn

import click

from engine.draft.curl import DraftError, read_curl
from engine.draft.har import chat_of, read_har
from engine.draft.opaque import Exchange
from engine.draft.sketch import Draft, sketch
from engine.draft.starters import is_transform_name, over_preset, transform
from engine.errors import ConfigError
from engine.route.compile import Compiled
from engine.route.route import Route
from engine.route.transforms import load
from engine.shell.atomic import FileError
from engine.shell.drafting import compiled, keep_out, preset_names, record, shipped_over, write_all
from engine.shell.recorder import NotRecorded
from engine.shell.testing import Bench
from engine.wire import HttpResponse

from .common import BAD, GOOD, WRONG_USE, show_problems


@click.command()
@click.option("--from-curl", "curl", metavar="COMMAND", help="A curl command; `-` reads stdin.")
@click.option("--from-har", "har", metavar="FILE", help="A HAR file with the chat in it.")
@click.option("--preset", metavar="NAME", help="A route over a preset.")
@click.option("--transform", "python", metavar="NAME", help="A transform and its test.")
@click.option("--answer", metavar="FILE", help="With --from-curl: the body of its answer.")
@click.option("--prompt", metavar="TEXT", default="", help="The words that were typed.")
@click.option("--name", default="", help="The route's name; default: from its host.")
@click.option(
    "-o", "--output", "out", metavar="PATH",
    help="The route's file, or its folder; default `routes`.",
)  # fmt: skip
@click.option(
    "--allow", multiple=True, metavar="NAME",
    help="Write this, as a refusal named it; may be given several times.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def command(
    curl: str | None, har: str | None, preset: str | None, python: str | None, answer: str | None,
    prompt: str, name: str, out: str | None, allow: tuple[str, ...], force: bool,
) -> None:  # fmt: skip
    """Write the first draft of a route: exactly one of the first four options says of what.

    The draft is checked, and its fixture replayed, if an answer was recorded. No secret is written:
    variables stand for them, and are named. Exit code 0: it holds, 1: not so, 2: wrong use.
    """
    given = [each for each in (curl, har, preset, python) if each is not None]
    if len(given) != 1:
        _wrong("give one of --from-curl, --from-har, --preset, --transform")
    if answer is not None and curl is None:
        _wrong("--answer goes with --from-curl")
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", name):
        _wrong("a route's name may only hold letters, digits, `_`, `.` and `-`")
    try:
        if python is not None:
            _transform(python, Path(out or "."), force)
        elif preset is not None:
            _preset(preset, name or preset, out, force)
        else:
            draft = _from_curl(curl, answer, name, prompt) if curl else _from_har(har, name, prompt)
            _route(draft, _place(out, draft.name), frozenset(allow), force)
    except DraftError as error:
        _wrong(str(error))
    except NotRecorded as error:
        click.echo(f"penstock new: nothing is written: {error}", err=True)
        raise SystemExit(BAD) from None
    except FileError as error:
        _wrong(str(error))


def _place(out: str | None, name: str) -> Path:
    path = Path(out or "routes")
    return path if path.suffix in (".yaml", ".yml") else path / f"{name}.yaml"


# ---- what is drafted ----


def _from_curl(curl: str, answer: str | None, name: str, prompt: str) -> Draft:
    command = sys.stdin.read() if curl == "-" else curl
    found = read_curl(command)
    body = _read(answer) if answer else b""
    came = HttpResponse(200, (), body) if body else None
    draft = sketch(
        [Exchange(found.request(), came)], 0, name=name, prompt=prompt, insecure=found.insecure
    )
    if found.proxy:
        draft.remarks.append("the proxy is left out: `upstream.proxy` names one")
    return draft


def _from_har(har: str | None, name: str, prompt: str) -> Draft:
    exchanges = read_har(_read(har or ""))
    at = chat_of(exchanges, prompt)
    draft = sketch(exchanges, at, name=name, prompt=prompt)
    if not draft.env and "values" not in draft.tree:
        draft.remarks.append(
            "the HAR file has no credentials: if the service wants some, save sensitive data, too"
        )
    answer = exchanges[at].answer
    if answer is None or not answer.body:
        draft.remarks.append(
            "the HAR file has no answer of the chat (some browsers leave streams out): "
            "copy the request as cURL, save its answer and give it by --answer"
        )
    return draft


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        _wrong(f"cannot read {file}: {error.strerror}")


# ---- what is written ----


def _free(paths: list[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            _wrong(f"{path} is there already; --force overwrites it")


def _route(draft: Draft, place: Path, allow: frozenset[str], force: bool) -> None:
    home = place.parent
    fixture = (home.parent if home.name else home) / "fixtures" / f"{draft.name}.yaml"
    answer = draft.exchanges[-1].answer
    recorded = answer is not None and bool(answer.body) and answer.status < 400
    _free([place, fixture] if recorded else [place], force)
    keep_out(draft, allow)
    write_all({place: draft.file})
    click.echo(f"Wrote {place}")
    found, good = _checked(place, draft)
    if recorded and not draft.is_read:
        good = False
    elif recorded and found.route is not None:
        good = asyncio.run(_fixture(draft, found.route, fixture, allow)) and good
    _tell(draft, place)
    raise SystemExit(GOOD if good else BAD)


def _checked(place: Path, draft: Draft | None = None) -> tuple[Compiled, bool]:
    """The route that was written; whether `check` finds nothing in it."""
    found, problems = compiled(place, draft)
    show_problems(problems)
    click.echo("Checked: " + (f"{len(problems)} problems" if problems else "no mistake"))
    return found, not problems


async def _fixture(draft: Draft, route: Route, out: Path, allow: frozenset[str]) -> bool:
    """Write the fixture and replay it; whether all is as recorded."""
    try:
        files, recording = await record(draft, route, out, allow)
    except NotRecorded as error:
        click.echo(f"penstock new: no fixture is written: {error}", err=True)
        return False
    except ConfigError as error:
        show_problems(error.problems)
        return False
    beside = f", with {', '.join(path.name for path in files[1:])}" if files[1:] else ""
    click.echo(f"Wrote {files[0]}{beside}")
    trial = await Bench([Path(route.file).parent], depth="quick", http=True).attempt(out)
    for complaint in map(recording.told, trial.complaints):
        click.echo("     " + complaint.replace("\n", "\n     "), err=True)
    click.echo("Replayed: " + ("something else" if trial.complaints else "as recorded"))
    return not trial.complaints


def _tell(draft: Draft, place: Path) -> None:
    """What is left to do by hand."""
    for name in draft.env:
        click.echo(f"export {name}=…")
    for number, line in enumerate(draft.file.splitlines(), 1):
        _, mark, guess = line.partition("# guess: ")
        if mark:
            click.echo(f"{place}:{number}: a guess: {guess}")
    for remark in draft.remarks:
        click.echo(f"look at: {remark}")
    click.echo(f"then: penstock explain {place}")


def _preset(preset: str, name: str, out: str | None, force: bool) -> None:
    if preset not in preset_names():
        _wrong(f"no preset `{preset}`; there are: {', '.join(preset_names())}")
    place = _place(out, name)
    _free([place], force)
    text = over_preset(name, preset, shipped_over(preset))
    write_all({place: text})
    click.echo(f"Wrote {place}")
    good = _checked(place)[1]
    for variable in dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", text)):
        click.echo(f"export {variable}=…")
    raise SystemExit(GOOD if good else BAD)


def _transform(name: str, home: Path, force: bool) -> None:
    if not is_transform_name(name):
        _wrong("a transform's name has a-z, 0-9 and _, a letter first")
    files = {home / path: text for path, text in transform(name).items()}
    _free(list(files), force)
    write_all(files)
    for path, text in files.items():
        click.echo(f"Wrote {path}")
        if path.parent.name == "transforms":
            try:
                load(name, text.encode(), str(path))
            except ConfigError as error:
                show_problems(error.problems)
                raise SystemExit(BAD) from None


def _wrong(message: str) -> NoReturn:
    click.echo(f"penstock new: {message}", err=True)
    raise SystemExit(WRONG_USE)
