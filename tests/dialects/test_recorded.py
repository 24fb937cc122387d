"""Every recorded conversation, asked for by clients of every dialect, streamed and whole.

What each would have got is held against the grammar of its dialect, its SDK's types and the
published schemas, whatever the upstream of the fixture speaks, and however it fails.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine.dialects import DIALECTS
from engine.dialects.profile import Profile
from engine.dialects.written import write
from engine.errors import RequestError
from engine.events import fold
from engine.replay.fixtures import ClientSpec, ExpectRequest, Fixture
from engine.replay.play import Seen, play
from engine.replay.recorded import Recorded
from engine.route.route import Route
from engine.shell.stub import load_fixture
from engine.shell.testing import WORLD, Prepared, find_fixtures
from engine.wire import Headers, HttpResponse, dumps

from .crossing import judged
from .pairs import ALL

ANYTHING = Profile(on_unsupported="warn")
GEMINI = "/v1beta/models/{model}:{action}"
FIXTURES = [path for path in find_fixtures([Path("tests/fixtures")]) if "bad" not in path.parts]
# Nobody asks the upstream of the one; what the client of the other says nobody understands.
UNASKED = ("flowith/mock", "kimi-ai/no_messages")


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


ASKED = [path for path in FIXTURES if name_of(path) not in UNASKED]
ROUTES: dict[bytes, Route] = {}  # by all that a fixture gives its route


@cache
def loaded(path: Path) -> tuple[Route, Fixture]:
    fixture = load_fixture(path)
    spec = fixture.spec
    given = dumps([spec.route, spec.env, spec.files, bool(spec.tokens)])
    if given not in ROUTES:
        found = Prepared([Path("routes")], fixture, bundled=True).find(spec.route)
        assert found is not None, spec.route
        assert found.route is not None, found.errors
        ROUTES[given] = found.route
    return ROUTES[given], fixture


def asked_by(fixture: Fixture, client: str, *, stream: bool) -> ClientSpec | None:
    """The fixture's client, speaking another dialect; None if there is none that is understood."""
    spec = fixture.spec.client
    if spec is None:
        return None
    kind, headers = DIALECTS[spec.dialect], Headers.of(spec.headers)
    bodies: list[dict[str, Any]] = []
    model = ""
    for given in spec.bodies():
        try:
            chat = replace(kind.parse(given, headers, spec.target), stream=stream, want_usage=True)
        except RequestError:
            return None
        model = chat.model
        made = write(DIALECTS[client], chat, model, ANYTHING).body
        if client != "gemini":
            made["stream"] = stream
        bodies.append(made)
    action = "streamGenerateContent?alt=sse" if stream else "generateContent"
    path = GEMINI.format(model=model, action=action) if client == "gemini" else None
    first, *then = bodies
    return replace(spec, dialect=client, json=first, then=then, times=1, path=path)


def place(request: ExpectRequest) -> ExpectRequest:
    """What a recorded request says of where it went: its fields are those of one client."""
    return ExpectRequest(method=request.method, url=request.url)


def usage_asked(client: ClientSpec) -> bool:
    return (client.json.get("stream_options") or {}).get("include_usage") is True


def essence(answers: list[Seen]) -> list[tuple[object, ...]]:
    """What is said, whatever the dialect: texts, calls, the end, the class of a failure."""
    return [
        (answer.reply.text, answer.reply.reasoning, [c.args for c in answer.reply.calls],
         answer.reply.finish, answer.error and answer.error.cls)
        for answer in answers
    ]  # fmt: skip


@pytest.mark.parametrize("path", ASKED, ids=name_of)
async def test_every_client_gets_an_answer_of_its_dialect(path: Path) -> None:
    route, fixture = loaded(path)
    due = essence(await play(route, fixture, WORLD, Recorded(fixture)))
    for client in ALL:
        await gets_an_answer(client, route, fixture, due)


async def gets_an_answer(
    client: str, route: Route, fixture: Fixture, due: list[tuple[object, ...]]
) -> None:
    assert fixture.spec.client is not None
    streams = fixture.spec.client.streams
    # Bytes that pass through are the upstream's own: here all go by way of the model.
    route = replace(route, passthrough=False)
    for stream in (True, False):
        spec = asked_by(fixture, client, stream=stream)
        assert spec is not None
        exchanges = [replace(each, expect=place(each.expect)) for each in fixture.spec.exchanges]
        other = replace(fixture, spec=replace(fixture.spec, client=spec, exchanges=exchanges))
        found = await play(route, other, WORLD, Recorded(other))
        for answer in found:
            streamed = stream and answer.status < 300
            counted = usage_asked(spec) and stream
            judged(client, answer.raw, stream=streamed, usage=counted, status=answer.status)
        if stream == streams and route.session is None:
            assert due == essence(found), client


def test_all_others_are_asked_by_nobody() -> None:
    clients = [asked_by(loaded(path)[1], client, stream=True)
               for path in FIXTURES if path not in ASKED for client in ALL]  # fmt: skip
    assert [None] * len(UNASKED) * len(ALL) == clients


# ---- every place to cut ----


def understood(route: Route, head: HttpResponse, pieces: list[bytes], *, stream: bool) -> object:
    """What the route makes of an answer that arrives in these pieces."""
    ids = iter(range(1000))
    pipeline = route.pipeline(ENV, [], head, stream=stream, new_id=lambda: f"call_{next(ids)}")
    events = [event for piece in pieces for event in pipeline.feed(piece)]
    reply = fold([*events, *pipeline.finish()])
    return reply.parts, reply.annotations, pipeline.verdict(), pipeline.usage, pipeline.state


ENV: dict[str, object] = {"_random": Random(1), "_now": 0.0, "req": {}, "session": {}}
CUT: set[object] = set()  # answers that were cut everywhere: many fixtures have one in common


@pytest.mark.parametrize("path", FIXTURES, ids=name_of)
def test_it_does_not_matter_where_an_answer_is_cut(path: Path) -> None:
    route, fixture = loaded(path)
    for exchange, body in zip(fixture.spec.exchanges, fixture.bodies, strict=True):
        if exchange.reply.status >= 300 or not body:
            continue
        head = HttpResponse(200, tuple(exchange.reply.headers.items()))
        for stream in {route.streams(True), route.streams(False)}:
            answer = (fixture.spec.route, head.headers, body, stream)
            if answer in CUT:
                continue
            CUT.add(answer)
            due = understood(route, head, [body], stream=stream)
            for at in range(1, len(body)):
                assert due == understood(route, head, [body[:at], body[at:]], stream=stream), at
