"""penstock test: replay fixtures, deliver their answers otherwise, say what none has reached."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import click

from engine.shell.shelf import route_folders
from engine.shell.testing import Bench, Trial, find_fixtures

from .common import BAD, GOOD, WRONG_USE, environment, routes_option


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@routes_option
@click.option(
    "--fuzz",
    "depth",
    type=click.Choice(["quick", "off", "full"]),
    default="quick",
    help="Deliver each answer cut, rewritten and broken off, too.",
)
@click.option(
    "--http/--no-http", default=True, help="Play each fixture once through real sockets, too."
)
@click.option("--junit", type=click.Path(dir_okay=False), help="Write a JUnit report.")
def command(
    paths: tuple[str, ...],
    folders: tuple[str, ...],
    depth: Any,
    http: bool,
    junit: str | None,
) -> None:
    """Replay the fixtures in PATHS (files or folders) on the routes they name.

    Without PATHS: tests/fixtures, else `fixtures` beside the routes. A fixture has its own
    environment; no variable of the process reaches its route. Exit code 0: all as expected,
    1: not so, 2: wrong use.
    """
    routes = route_folders([Path(folder) for folder in folders], environment())
    places = [Path(path) for path in paths] or _default(routes)
    fixtures = find_fixtures(places)
    if not fixtures:
        looked = ", ".join(map(str, places)) or "fixtures"
        click.echo(f"penstock test: there is no fixture in {looked}", err=True)
        raise SystemExit(WRONG_USE)
    bench = Bench(routes, depth=depth, http=http)
    trials = asyncio.run(_try(bench, fixtures))
    for route, gaps in sorted(bench.gaps().items()):
        for gap in gaps:
            click.echo(f"{route}: {gap}")
    failed = sum(bool(trial.complaints) for trial in trials)
    click.echo(f"{len(trials)} fixtures: {len(trials) - failed} ok, {failed} failed")
    if junit:
        _report(Path(junit), trials)
    raise SystemExit(BAD if failed else GOOD)


def _default(routes: list[Path]) -> list[Path]:
    """tests/fixtures, else what stands beside the routes."""
    here = Path("tests/fixtures")
    if here.is_dir():
        return [here]
    beside = (folder.parent / name for folder in routes for name in ("fixtures", "tests/fixtures"))
    return [folder for folder in beside if folder.is_dir()]


async def _try(bench: Bench, fixtures: list[Path]) -> list[Trial]:
    trials = []
    for file in fixtures:
        trial = await bench.attempt(file)
        _show(trial)
        trials.append(trial)
    return trials


def _show(trial: Trial) -> None:
    """One line, and one more for each complaint."""
    mark = click.style("FAIL", fg="red") if trial.complaints else click.style("ok  ", fg="green")
    note = f": {trial.note}" if trial.note else ""
    click.echo(f"{mark} {trial.file}{note} ({trial.seconds:.2f} s)")
    for complaint in trial.complaints:
        click.echo("     " + complaint.replace("\n", "\n     "))


def _report(file: Path, trials: list[Trial]) -> None:
    """Write the report. Exits with 2 where that cannot be."""
    try:
        file.write_bytes(_junit(trials))
    except OSError as error:
        click.echo(f"penstock test: cannot write {file}: {error.strerror}", err=True)
        raise SystemExit(WRONG_USE) from None


def _junit(trials: list[Trial]) -> bytes:
    """The report in the form that build servers read."""
    failed = [trial for trial in trials if trial.complaints]
    suite = xml.Element(
        "testsuite", name="penstock", tests=str(len(trials)), failures=str(len(failed))
    )
    for trial in trials:
        case = xml.SubElement(
            suite,
            "testcase",
            classname=trial.route or "fixture",
            name=str(trial.file),
            time=f"{trial.seconds:.3f}",
        )
        if trial.complaints:
            failure = xml.SubElement(case, "failure", message=trial.complaints[0][:200])
            failure.text = "\n".join(trial.complaints)
    report: bytes = xml.tostring(suite, encoding="utf-8", xml_declaration=True)
    return report
