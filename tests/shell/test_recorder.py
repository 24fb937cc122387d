"""What a recording notes beside the exchange; that it records as a whole, `tests/cli` shows."""

from __future__ import annotations

import time
from pathlib import Path

from engine.options import Secret
from engine.ports import PassingTokens
from engine.shell.recorder import HeldClock, Listening, NotedTokens, Notes, relative
from tests.shell.test_testing import ROUTE


async def test_the_clock_stands_at_a_second_but_for_waits() -> None:
    before = time.time()
    clock = HeldClock()
    begun = clock.now()
    assert (int(before), begun) == (int(begun), clock.monotonic())
    await clock.sleep(0.01)
    assert (begun + 0.01, begun + 0.01) == (clock.now(), clock.monotonic())
    await clock.sleep(-1)
    assert begun + 0.01 == clock.now()


def test_variables_and_files_that_a_route_takes_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "routes"
    folder.mkdir()
    (folder / "key.txt").write_text("\ufeffthe-key\n")
    (folder / "made.yaml").write_text(
        ROUTE + 'auth: { bearer: "${file:key.txt}" }\nupstream: { headers: { X: "${env:X:-d}" } }\n'
    )
    notes = Notes()
    env = {"SITE": "https://b.example", "OTHER": "not read"}
    compiled = notes.shelf([folder], env=env).load(folder / "made.yaml")
    assert compiled.route is not None, compiled.problems
    assert ({"SITE": "https://b.example"}, {"key.txt": ""}) == (notes.env, notes.files)
    notes.read(compiled.route.file)
    assert {"key.txt": "the-key\n"} == notes.files


def test_a_route_file_is_named_from_where_the_fixture_is(tmp_path: Path) -> None:
    assert "../routes/made.yaml" == relative(
        str(tmp_path / "routes/made.yaml"), tmp_path / "fixtures/f.yaml"
    )


def test_secrets_are_heard_of_whatever_happens() -> None:
    listening = Listening()
    listening.saw("value_fetched", value="token", secrets=[Secret("one"), Secret("two")])
    listening.saw("retry", attempt=2)
    assert [Secret("one"), Secret("two")] == listening.secrets


async def test_of_logins_the_first_is_kept_and_all_are_secret() -> None:
    inner, listening = PassingTokens(), Listening()
    inner.kept["store:a"] = {"access_token": "at-1", "token_type": "Bearer", "expires_at": 5}
    tokens = NotedTokens(inner, listening)
    assert inner.kept["store:a"] == await tokens.load("store:a")
    assert None is await tokens.load("store:b")
    async with tokens.alone("store:a"):
        await tokens.save("store:a", {"access_token": "at-2", "parts": {"key_token": "k-3"}})
    await tokens.load("store:a")
    assert {"store:a": {"access_token": "at-1", "token_type": "Bearer", "expires_at": 5}} == (
        tokens.first
    )
    assert {"at-1", "at-2", "k-3"} == {secret.reveal() for secret in listening.secrets}
