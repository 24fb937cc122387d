"""The example routes on their fixtures: as recorded, otherwise cut, through sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.shell.testing import Bench, find_fixtures
from tests.upstreams.front import EXAMPLES

ROUTES = ("k2think", "k2think-guest", "zenmux-kimi", "iflow", "flowith", "replicate")
FIXTURES = [file for name in ROUTES for file in sorted(Path("tests/fixtures", name).glob("*.yaml"))]
WORDS = ("documented", "quoted", "derived", "shape that parsers accept")


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_a_fixture_holds_however_its_answers_come(file: Path) -> None:
    trial = await Bench([], depth="quick", http=True).attempt(file)
    assert trial.complaints == []
    assert any(word in trial.note for word in WORDS), "say where the answer is known from"


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.yaml").read_text("utf-8").splitlines()) <= 100


@pytest.mark.parametrize("file", sorted(Path("tests/fixtures/kimi-ai").glob("*.yaml")), ids=str)
async def test_a_fixture_of_the_first_example_holds(file: Path) -> None:
    assert (await Bench([], depth="quick", http=False).attempt(file)).complaints == []


@pytest.mark.parametrize("name", ["flowith", "kimi-ai", "replicate"])
async def test_every_rule_of_a_route_is_reached(name: str) -> None:
    bench = Bench([], depth="off", http=False)
    for file in find_fixtures([Path("tests/fixtures", name)]):
        await bench.attempt(file)
    assert bench.gaps() == {name: []}
