"""What fixtures have reached of a route."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

from engine.replay.coverage import Coverage
from engine.replay.play import play
from engine.replay.recorded import Recorded
from engine.route.compile import Compiled, Sources, compile_route
from engine.route.transforms import Loaded, load
from engine.shell.testing import WORLD
from tests.replaying import ASKS, HI, fixture, sse

TEXT = """\
version: 1
base_url: https://made.example
models: [m]
request: { path: /, json: {} }
transforms:
  - think_tags
  - system_prompt: { prepend: hm }
    when: req.user
stream:
  format: sse
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: note }, annotation: $.word }
    - { match: { kind: bye }, finish: stop }
response:
  events:
    - { text: $.word, finish: stop }
errors:
  rules:
    - { status: 418, as: fatal }
    - { match: { bad: true }, as: invalid_request }
"""
WORD, BYE = {"kind": "word", "word": "Hi"}, {"kind": "bye"}


def made(text: str = TEXT) -> tuple[Compiled, list[Loaded]]:
    def find(name: str) -> tuple[bytes, str]:
        path = Path("transforms") / f"{name}.py"
        return path.read_bytes(), str(path)

    compiled = compile_route(dedent(text).encode(), "made.yaml", Sources(transform=find))
    assert compiled.route is not None, compiled.problems
    loaded = [load(name, *find(name)) for name in ("think_tags", "system_prompt")]
    return compiled, loaded


async def gaps_after(*exchanges: dict[str, Any], text: str = TEXT, **client: object) -> list[str]:
    compiled, loaded = made(text)
    coverage = Coverage()
    assert compiled.route is not None
    asked = fixture(*exchanges, client={**ASKS, **client, "times": len(exchanges)})
    with coverage.running(loaded):
        await play(coverage.watched(compiled.route), asked, WORLD, Recorded(asked))
    return [gap.removeprefix("made.yaml:") for gap in coverage.gaps(compiled, loaded)]


async def test_what_was_not_reached_is_told_with_its_place() -> None:
    assert await gaps_after({"reply": {"body": sse(WORD, BYE)}}) == [
        "20: errors.rules[0] was never hit",
        "21: errors.rules[1] was never hit",
        "13: stream.events[1] was never hit",
        "17: response.events[0] was never hit",
        " transform `system_prompt` never ran",
    ]


async def test_each_part_counts_once_it_is_reached() -> None:
    good = {"reply": {"body": sse(WORD, {**WORD, "kind": "note"}, BYE)}}
    tea, bad = {"reply": {"status": 418}}, {"reply": {"status": 400, "json": {"bad": True}}}
    asks = {**ASKS["json"], "user": "ann"}
    assert await gaps_after(good, tea, bad, json=asks) == ["17: response.events[0] was never hit"]
    plain = {"model": "m", "messages": HI}
    assert "17: response.events[0] was never hit" not in await gaps_after(
        {"reply": {"json": WORD}}, json=plain
    )


async def test_a_watched_route_does_what_the_route_does() -> None:
    compiled, loaded = made()
    assert compiled.route is not None
    asked = fixture({"reply": {"body": sse(WORD, BYE)}})
    coverage = Coverage()
    with coverage.running(loaded):
        watched = await play(coverage.watched(compiled.route), asked, WORLD)
    assert watched == await play(compiled.route, asked, WORLD)


async def test_transforms_are_themselves_again_afterwards() -> None:
    _, loaded = made()
    before = {each.name: dict(vars(each.make)) for each in loaded}
    with Coverage().running(loaded):
        assert {each.name: dict(vars(each.make)) for each in loaded} != before
    assert {each.name: dict(vars(each.make)) for each in loaded} == before


def test_rules_of_a_parent_are_the_parents_business() -> None:
    parent = Path("routes/presets/openai.yaml")
    text = """\
version: 1
extends: openai
base_url: https://made.example
models: [m]
errors:
  rules:
    - { status: 418, as: fatal }
    - inherit
"""
    sources = Sources(parent=lambda name, file: (parent.read_bytes(), str(parent)))
    compiled = compile_route(text.encode(), "made.yaml", sources)
    assert compiled.route is not None, compiled.problems
    assert Coverage().gaps(compiled, []) == ["made.yaml:7: errors.rules[0] was never hit"]


SPEAKS = """\
version: 1
base_url: https://made.example
models: [m]
request:
  path: /talk
  websocket:
    send:
      - json: 1
      - { after: { kind: more }, json: 2 }
    reply:
      - { match: { kind: ping }, json: 3 }
      - { match: { kind: pang }, json: 4 }
stream:
  format: websocket
  events:
    - { match: { kind: bye }, finish: stop, end: true }
    - { ignore: true }
errors:
  rules:
    - { status: 4001, as: fatal }
    - { status: 4002, as: invalid_request }
"""


async def test_messages_and_close_codes_of_a_websocket_count_as_well() -> None:
    frames = [{"expect": 1}, {"json": {"kind": "ping"}}, {"expect": 3}, {"close": 4001}]
    gaps = await gaps_after({"reply": {"frames": frames}}, text=SPEAKS)
    assert [gap for gap in gaps if "transform" not in gap] == [
        "9: request.websocket.send[1] was never hit",
        "12: request.websocket.reply[1] was never hit",
        "21: errors.rules[1] was never hit",
        "16: stream.events[0] was never hit",
    ]
