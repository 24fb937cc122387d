"""Fuzzing finds what it is there to find: each test seeds one mistake."""

from __future__ import annotations

import pytest

from engine.events import Finish
from engine.parsers import PARSERS
from engine.replay.fuzz import broken_ends, cuts, frame_ends, fuzz, rewrites
from engine.route.pipeline import Pipeline
from engine.shell.testing import WORLD
from tests.replaying import ASKS, HI, fixture, route, sse

TEXT = """
request: { path: /talk, json: {} }
retry: { attempts: 1 }
stream:
  format: sse
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: bye }, finish: stop }
"""
SPLIT = """\
'''Takes tags out of text, but only where one event holds the whole tag.'''

from engine.transform import Event, TextDelta

API = 1


class Transform:
    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, TextDelta):
            return [TextDelta(event.block, event.text.replace("<b>", ""))]
        return [event]
"""
FIRST = """\
'''Drops every event of text but the first.'''

from engine.transform import Event, TextDelta

API = 1


class Transform:
    def __init__(self, options: object, context: object) -> None:
        self.told = 0

    def feed(self, event: Event) -> list[Event]:
        self.told += isinstance(event, TextDelta)
        return [event] if self.told < 2 else []
"""


def words(*texts: str) -> list[dict[str, str]]:
    return [{"kind": "word", "word": text} for text in texts]


BYE = {"kind": "bye"}
TALK = fixture({"reply": {"body": sse(*words("Hel", "lo <b>你", "好"), BYE)}}, expect={})


@pytest.mark.parametrize("depth", ["quick", "full"])
async def test_a_sound_route_shows_no_difference(depth: str) -> None:
    assert await fuzz(route(TEXT), TALK, WORLD, depth) == []  # type: ignore[arg-type]


async def test_a_shipped_tag_splitter_holds_back_enough() -> None:
    tags = route(TEXT + "transforms: [{ think_tags: { tags: { think: reasoning } } }]\n")
    made = fixture({"reply": {"body": sse(*words("<think>hm</think>", "Hello"), BYE)}})
    assert await fuzz(tags, made, WORLD) == []


@pytest.mark.parametrize(
    ("name", "source", "way"),
    [("split", SPLIT, "text by characters"), ("first", FIRST, "text in one piece")],
)
async def test_a_transform_that_depends_on_the_pieces_of_text_is_found(
    name: str, source: str, way: str
) -> None:
    made = route(TEXT + f"transforms: [{name}]\n", {name: source})
    found = await fuzz(made, TALK, WORLD)
    assert way in {complaint.partition(":")[0] for complaint in found}
    assert not any(complaint.startswith("random") for complaint in found)


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes every answer for whole, however it ended."""
    monkeypatch.setattr(Pipeline, "verdict", lambda pipeline: Finish("stop"))


@pytest.mark.usefixtures("careless")
async def test_a_broken_stream_that_is_taken_for_whole_is_found() -> None:
    found = await fuzz(route(TEXT), TALK, WORLD)
    assert [complaint.partition(":")[0] for complaint in found] == [
        f"broken off after frame {number}" for number in (0, 1, 2)
    ]


async def test_a_route_that_asks_for_no_end_is_not_held_to_one() -> None:
    open_ended = TEXT.replace("finish: stop", "ignore: true").replace(
        "format: sse", "format: sse\n  finish_optional: true"
    )
    assert await fuzz(route(open_ended), TALK, WORLD) == []


@pytest.mark.parametrize("depth", ["quick", "full"])
async def test_a_whole_answer_is_cut_and_broken_off_too(depth: str) -> None:
    plain = route(
        "request: { path: /, json: {} }\nretry: { attempts: 1 }\n"
        "response: { events: [{ text: $.say, finish: stop }] }\n"
    )
    made = fixture(
        {"reply": {"json": {"say": "你好"}}}, client={"json": {"model": "m", "messages": HI}}
    )
    assert await fuzz(plain, made, WORLD, depth) == []  # type: ignore[arg-type]


async def test_a_passed_answer_is_fuzzed_as_well() -> None:
    chunk = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    says = [
        {**chunk, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        for word in ("Hel", "lo 你", "好")
    ]
    stops = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    made = fixture({"reply": {"body": sse(*says, stops, "[DONE]")}})
    assert await fuzz(route("dialect: openai_chat"), made, WORLD) == []


async def test_a_failure_that_is_expected_stays_one() -> None:
    made = fixture({"reply": {"status": 400, "body": "no"}}, expect={"status": 400})
    assert await fuzz(route(TEXT), made, WORLD) == []


@pytest.mark.usefixtures("careless")
async def test_every_request_of_a_fixture_is_compared() -> None:
    talk = {"reply": {"body": sse(*words("a", "b"), BYE)}}
    failed = {"reply": {"status": 400, "body": "no"}}
    made = fixture(talk, failed, client={**ASKS, "times": 2}, expect={"status": 400})
    assert any(complaint.startswith("broken") for complaint in await fuzz(route(TEXT), made, WORLD))


async def test_a_document_in_place_of_a_stream_is_not_rewritten_as_one() -> None:
    made = route(TEXT + "response: { events: [{ text: $.say, finish: stop }] }\n")
    answer = {"reply": {"json": {"say": "two\n\nlines"}}}
    assert await fuzz(made, fixture(answer), WORLD) == []


async def test_a_stream_that_stalls_is_not_held_back_for_ever() -> None:
    made = route(TEXT + "transforms: [think_tags]\n")
    stalls = fixture({"reply": {"body": sse(*words("a", "b"), {}), "end": "stall"}})
    assert await fuzz(made, stalls, WORLD) == []


# ---- the ways themselves ----


def test_every_cut_gives_all_bytes() -> None:
    data = bytes(range(256)) * 5
    for name, cut in cuts(7, 20):
        assert b"".join(cut(data)) == data, name


def test_cuts_are_the_same_for_the_same_seed() -> None:
    data = bytes(1000)
    pieces = [[cut(data) for _, cut in cuts(seed, 3)] for seed in (1, 1, 2)]
    assert pieces[0] == pieces[1] != pieces[2]


@pytest.mark.parametrize(
    ("framing", "body", "count"),
    [("sse", sse({"a": 1}, {"b": 2}).encode(), 7), ("ndjson", b'{"a":1}\n{"b":2}\n', 3)],
)
def test_rewrites_are_other_bytes_that_mean_the_same(framing: str, body: bytes, count: int) -> None:
    def read(data: bytes) -> list[bytes]:
        parser = PARSERS[framing].make(None)
        found = [*parser.feed(data), *parser.finish()]
        return [record.data.strip() for record in found if record.data.strip()]

    ways = dict(rewrites(framing))
    assert len(ways) == count
    for name, rewrite in ways.items():
        assert rewrite(body) != body, name
        assert read(rewrite(body)) == read(body), name


async def test_an_answer_that_broke_off_is_not_robbed_of_its_last_line_too() -> None:
    reply = {"body": sse(*words("Hel", "lo")), "end": "reset"}
    asked = fixture({"reply": reply}, expect={"text": "Hello"})
    assert [] == await fuzz(route(TEXT), asked, WORLD)


def test_frames_end_where_the_framing_says() -> None:
    road = route(TEXT).stream_road
    assert road is not None
    assert frame_ends(road.parser, b"") == []
    assert frame_ends(road.parser, b"data: 1\n\n: hm\n\ndata: 2\n\nrest") == [9, 15, 24]


def test_no_more_ends_are_broken_off_than_asked_for() -> None:
    road = route(TEXT).stream_road
    assert road is not None
    body = sse(*words(*"abcdefghijklmnopqrst")).encode()
    names = [name for name, _ in broken_ends(road, [body], 5)]
    assert names == [f"broken off after frame {number}" for number in (0, 4, 8, 12, 16, 20)]
