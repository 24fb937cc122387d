"""Fixtures of the shipped routes against upstreams that play them: nothing has drifted."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from engine.ports import Upstream
from engine.replay.ablation import loose
from engine.replay.fixtures import Fixture
from engine.replay.synthetic import Synthetic
from engine.replay.taping import Taken
from engine.route.route import Route
from engine.shell.drifter import Inquiry, Unusable, inquire
from engine.shell.loopback import Detour, Stage
from engine.shell.recorder import Notes
from engine.shell.settings import load_settings
from engine.shell.stub import listening, load_fixture
from engine.wire import HttpRequest, HttpResponse
from tests.shell.test_recorder import ROUTES, played


def inquiry(file: Path, **more: object) -> Inquiry:
    """A route as its fixture's environment makes it."""
    spec, notes = load_fixture(file).spec, Notes()
    shelf = notes.shelf([ROUTES], env=spec.env, bundled=True)
    named = (file.parent / spec.route).resolve() if "/" in spec.route else None
    compiled = shelf.load(named) if named else shelf.find(spec.route)
    assert compiled is not None
    settings = load_settings(None, {}, {"clients.auth": "none"})
    return Inquiry(compiled, notes, settings, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("file", played(), ids=lambda path: path.parent.name)
async def test_an_upstream_that_plays_the_fixture_is_alike(file: Path) -> None:
    def led(upstream: Upstream, url: str) -> Upstream:
        return Detour(upstream, url)

    async with listening(Stage(loose(load_fixture(file))).handle) as url:
        (verdict,) = await inquire(inquiry(file, reach=partial(led, url=url)), [file])
    assert ("alike", "", []) == (verdict.state, verdict.why, verdict.differences)


def otherwise(fixture: Fixture, route: Route) -> Fixture:
    """The fixture with other texts in its answers, and the same forms."""
    known = {fixture.spec.expect.text or "", fixture.spec.expect.reasoning or ""}
    texts, bodies = Synthetic(7, frozenset(known)), []
    for each, body in zip(fixture.spec.exchanges, fixture.bodies, strict=True):
        head = HttpResponse(each.reply.status)
        taken = Taken(HttpRequest("POST", ""), 0.0, head, [(0, body)])
        bodies.append(texts.taken(taken, route).body if each.reply.frames is None else body)
    return dataclasses.replace(fixture, bodies=tuple(bodies))


# What they read in texts is more than words: patches, errors in a 200, pages with a nonce in them.
SAYING = [
    path
    for path in played()
    if path.parent.name not in ("path-patch-chat", "kimi-ai", "openwebui-guest", "bedrock")
]


@pytest.mark.parametrize("file", SAYING, ids=lambda path: path.parent.name)
async def test_an_upstream_that_says_something_else_in_the_same_form_is_alike(file: Path) -> None:
    asked = inquiry(file)
    said = otherwise(loose(load_fixture(file)), asked.route)
    async with listening(Stage(said).handle) as url:
        led = dataclasses.replace(asked, reach=lambda upstream: Detour(upstream, url))
        (verdict,) = await inquire(led, [file])
    assert ("alike", "", []) == (verdict.state, verdict.why, verdict.differences)


async def test_a_fixture_that_is_for_mock_alone_is_unusable(tmp_path: Path) -> None:
    file = next(path for path in played() if path.parent.name == "websocket-chat")
    made = tmp_path / "f.yaml"
    made.write_text("fixture: 1\nroute: websocket-chat\nexchanges: []\n")
    with pytest.raises(Unusable, match="it has no client"):
        await inquire(inquiry(file), [made])
