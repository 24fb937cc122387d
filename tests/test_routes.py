"""The routes that are shipped: short, right, switched off until their keys are there, proved."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.replay.fixtures import Fixture, read_fixture
from engine.replay.play import complaints, play
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.references import Outside
from engine.shell.testing import WORLD
from tests.kit import compiled, route_of

ROUTES = sorted(Path("routes").glob("*.yaml"))
PRESETS = Path("routes/presets")
FIXTURES = sorted(
    file for route in ROUTES for file in Path("tests/fixtures", route.stem).glob("*.yaml")
)
NAMES = re.compile(r"\$\{env:(\w+)\}")
# Written before there were fixtures for shipped routes; the dialects' own suites prove them.
UNPROVED = {"anthropic", "openai", "openai-responses"}
by_name = pytest.mark.parametrize("path", ROUTES, ids=lambda path: path.stem)


def built(path: Path, env: dict[str, str]) -> Compiled:
    def parent(name: str, file: str) -> tuple[bytes, str] | str:
        preset = PRESETS / f"{name}.yaml"
        return preset.read_bytes(), str(preset)

    def transform(name: str) -> tuple[bytes, str]:
        own = Path("transforms", f"{name}.py")
        return own.read_bytes(), str(own)

    return compile_route(path.read_bytes(), str(path), Sources(Outside(env), parent, transform))


def keys(path: Path) -> dict[str, str]:
    """Values for the variables that a route cannot do without."""
    names = NAMES.findall(path.read_text())
    return {
        name: "https://made.example/v1" if name.endswith(("URL", "ENDPOINT")) else "made-up-0001"
        for name in names
    }


def read(file: Path) -> Fixture:
    return read_fixture(
        file.read_bytes(), str(file), lambda name: (file.parent / name).read_bytes()
    )


@by_name
def test_a_route_is_right_and_short(path: Path) -> None:
    found = built(path, keys(path))
    assert found.problems == []
    assert found.route is not None
    assert found.route.name == path.stem
    assert len(path.read_text().splitlines()) <= 10


@by_name
def test_a_route_is_off_until_its_keys_are_there(path: Path) -> None:
    if not keys(path):
        assert path.stem == "ollama"
        return
    found = built(path, {})
    assert (found.route, found.only_unset) == (None, True)


@by_name
def test_a_route_is_proved_by_fixtures(path: Path) -> None:
    names = {file.stem for file in FIXTURES if file.parent.name == path.stem}
    wanted = {"stream", "tools", "truncated"}
    assert wanted <= names or path.stem in UNPROVED


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: f"{file.parent.name}-{file.stem}")
async def test_a_fixture_holds(file: Path) -> None:
    fixture = read(file)
    found = built(Path("routes", f"{fixture.spec.route}.yaml"), dict(fixture.spec.env))
    assert found.route is not None, found.problems
    assert [] == complaints(fixture, await play(found.route, fixture, WORLD))


# ---- what a fixture does not show ----

BEDROCK = """
version: 1
extends: bedrock-converse
base_url: https://bedrock-runtime.eu-west-1.amazonaws.com
auth:
  from: { inline: { access_key: AKIDEXAMPLE, secret_key: wJalrXUtnFEMI-EXAMPLEKEY } }
  sign:
    aws_sigv4:
      service: bedrock
      region: eu-west-1
      credentials:
        access_key: "{{ account.access_key }}"
        secret_key: "{{ account.secret_key }}"
models: [m]
"""


def test_bedrock_takes_access_keys_as_well() -> None:
    pytest.importorskip("botocore")
    assert compiled(BEDROCK).errors == []
    assert route_of(BEDROCK).signer is not None
