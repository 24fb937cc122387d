"""What a recording notes beside the exchange; that it records as a whole, `tests/cli` shows."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from engine.masks import SHORTEST, forms
from engine.options import Secret
from engine.ports import PassingTokens, Upstream
from engine.shell.fixture_files import write
from engine.shell.loopback import Detour, Stage
from engine.shell.recorder import (
    HeldClock,
    Listening,
    NotedTokens,
    Notes,
    NotRecorded,
    Order,
    relative,
    run,
)
from engine.shell.settings import load_settings
from engine.shell.stub import listening, load_fixture
from engine.shell.testing import Bench, find_fixtures
from tests.shell.test_testing import ROUTE

ROUTES = Path("routes")


def played() -> list[Path]:
    """Recorded answers of the shipped routes that need no file, a few of each."""
    found: dict[str, list[Path]] = {}
    for path in find_fixtures([Path("tests/fixtures")]):
        if path.parent.name in ("bad", "good"):
            continue
        spec = load_fixture(path).spec
        client, ends = spec.client, {each.reply.end for each in spec.exchanges}
        whole = client is not None and not client.then and client.times == 1
        if (
            whole
            and spec.expect.status == 200
            and ends == {"eof"}
            and not (spec.files or spec.tokens)
        ):
            found.setdefault(spec.route, []).append(path)
    return [path for paths in found.values() for path in paths[:1]]


@pytest.mark.parametrize("file", played(), ids=lambda path: path.parent.name)
async def test_what_a_fixture_plays_is_recorded_and_holds(file: Path, tmp_path: Path) -> None:
    fixture, notes, out = load_fixture(file), Notes(), tmp_path / "f.yaml"
    spec = fixture.spec
    named = str((file.parent / spec.route).resolve()) if "/" in spec.route else spec.route
    shelf = notes.shelf([ROUTES], env=spec.env, bundled=True)
    compiled = shelf.load(Path(named)) if "/" in named else shelf.find(named)
    assert compiled is not None
    assert compiled.route is not None, compiled.problems
    assert spec.client is not None
    settings = load_settings(None, {}, {"clients.auth": "none"})
    allow = frozenset(f"env:{name}" for name, text in spec.env.items() if len(text) < SHORTEST)
    order = Order(compiled.route, named, spec.client, out, notes, [ROUTES], settings, allow=allow)

    def led(upstream: Upstream, url: str) -> Upstream:
        return Detour(upstream, url)

    async with listening(Stage(fixture).handle) as url:
        files = await write(order, await run(order, partial(led, url=url)))
    assert [] == (await Bench([ROUTES], depth="quick", http=True).attempt(out)).complaints
    written = b"".join(path.read_bytes() for path in files)
    secrets = [text for text in spec.env.values() if len(text) >= SHORTEST]
    assert [] == [text for text in secrets for form in forms(text) if form in written]


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


@pytest.mark.parametrize("file", played(), ids=lambda path: path.parent.name)
async def test_what_a_fixture_plays_is_recorded_without_its_texts(
    file: Path, tmp_path: Path
) -> None:
    fixture, notes, out = load_fixture(file), Notes(), tmp_path / "f.yaml"
    spec = fixture.spec
    shelf = notes.shelf([ROUTES], env=spec.env, bundled=True)
    named = str((file.parent / spec.route).resolve()) if "/" in spec.route else spec.route
    compiled = shelf.load(Path(named)) if "/" in named else shelf.find(named)
    assert compiled is not None
    assert compiled.route is not None, compiled.problems
    assert spec.client is not None
    allow = frozenset(f"env:{name}" for name, text in spec.env.items() if len(text) < SHORTEST)
    order = Order(
        compiled.route, named, spec.client, out, notes, [ROUTES],
        load_settings(None, {}, {"clients.auth": "none"}),
        allow=allow, synthetic=True,
    )  # fmt: skip
    async with listening(Stage(fixture).handle) as url:
        recording = await run(order, lambda upstream: Detour(upstream, url))
    if file.parent.name in ("path-patch-chat", "websocket-chat"):  # patches and messages: refused
        with pytest.raises(NotRecorded):
            await write(order, recording)
        return
    await write(order, recording)
    assert [] == (await Bench([ROUTES], depth="quick", http=True).attempt(out)).complaints
    old, new = recording.seen.reply.text, load_fixture(out).spec.expect.text or ""
    assert (len(old), len(old.encode())) == (len(new), len(new.encode()))
    assert not old or old != new
