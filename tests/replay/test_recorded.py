"""Conversations over websockets out of fixtures: what is played, what is compared."""

from __future__ import annotations

from typing import Any

import pytest

from engine.replay.fuzz import fuzz
from engine.replay.play import complaints
from engine.shell.loopback import through_sockets
from engine.shell.testing import WORLD
from tests.replaying import fixture, judged, route, seen

SPEAKS = route(
    """
    request:
      path: /talk
      websocket:
        send: [{ after: { kind: hello }, json: { ask: "{{ req.prompt }}" } }]
        reply: [{ match: { kind: ping }, json: { kind: pong, at: "{{ data.at }}" } }]
    stream:
      format: websocket
      events:
        - { match: { kind: word }, text: $.word }
        - { match: { kind: bye }, finish: stop, end: true }
        - { match: { kind: [hello, ping] }, ignore: true }
    retry: { attempts: 1 }
    """
)
ASKED = [{"json": {"kind": "hello"}}, {"expect": {"ask": "Hi"}}]
PINGED = [{"json": {"kind": "ping", "at": 7}}, {"expect": {"kind": "pong", "at": 7}}]
SAID = [{"json": {"kind": "word", "word": "你好"}}]
BYE = [{"json": {"kind": "bye"}}]


def spoken(*frames: dict[str, Any], **more: Any) -> dict[str, Any]:
    end = {key: more.pop(key) for key in ("end",) if key in more}
    return {"reply": {"frames": list(frames), **end}, **more}


async def test_a_conversation_over_a_websocket_is_played_in_its_order() -> None:
    made = fixture(
        spoken(*ASKED, *PINGED, *SAID, *BYE, expect={"url": "wss://made.example/talk"}),
        expect={"text": "你好", "finish": "stop", "upstream_calls": 1},
    )
    assert await judged(SPEAKS, made) == []
    assert complaints(made, await through_sockets(SPEAKS, made, WORLD.observer)) == []
    assert await fuzz(SPEAKS, made, WORLD) == []


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ([*ASKED[:1], {"expect": {"ask": "Ho"}}, *SAID], "message.ask should be 'Ho', is 'Hi'"),
        ([*ASKED[:1], {"expect": "Ho"}, *SAID], "a message should be 'Ho', is '{\"ask\":\"Hi\"}'"),
        ([*ASKED, {"expect": {"ask": "«any»"}}], "a message should be {'ask': '«any»'}, none was"),
        ([*ASKED[:1], *SAID, *BYE], 'a message was not expected: {"ask":"Hi"}'),
    ],
)
async def test_what_is_said_otherwise_is_told(frames: list[dict[str, Any]], told: str) -> None:
    found = await judged(SPEAKS, fixture(spoken(*frames)))
    assert [line for line in found if line.startswith(f"request 1: {told}")] != []


@pytest.mark.parametrize(
    ("last", "end", "cls"),
    [
        ([], "eof", "truncated"),
        ([], "reset", "truncated"),
        ([], "stall", "timeout"),
        ([{"close": 1011}], "eof", "retryable"),
        ([{"close": 1013, "reason": "later"}], "eof", "overloaded"),
    ],
)
async def test_the_end_of_a_websocket_is_as_recorded(
    last: list[dict[str, Any]], end: str, cls: str
) -> None:
    made = fixture(
        spoken(*ASKED, *SAID, *last, end=end),
        expect={"text": "你好", "error": {"class": cls}},
    )
    assert await judged(SPEAKS, made) == []


async def test_a_refused_upgrade_is_an_answer_over_http() -> None:
    made = fixture(
        {"reply": {"status": 403, "json": {"message": "no"}}},
        expect={"status": 502, "error": {"class": "auth_invalid"}},
    )
    assert await judged(SPEAKS, made) == []


async def test_a_document_in_place_of_the_upgrade_meets_the_error_rules() -> None:
    made = fixture(
        {"reply": {"json": {"message": "quota"}}},
        expect={"status": 502, "error": {"class": "retryable"}},
    )
    assert await judged(SPEAKS, made) == []
    rules = "errors: { message: $.message, rules: [{ match: { message: quota }, as: fatal }] }\n"
    known = route(
        "request: { path: /talk, websocket: { send: [{ json: 1 }] } }\n"
        "stream: { format: websocket, events: [{ text: $.t, finish: stop }] }\n" + rules
    )
    made = fixture({"reply": {"json": {"message": "quota"}}}, expect={"error": {"class": "fatal"}})
    (got,) = await seen(known, made)
    assert got.error is not None
    assert (got.error.cls, got.error.message) == ("fatal", "quota")


def test_messages_of_a_fixture_are_text_json_or_bytes() -> None:
    made = fixture(spoken({"text": "a"}, {"json": [1]}, {"base64": "gQA="}, {"close": 1000}))
    assert made.bodies == (b"\x81\0\0\0\1a\x81\0\0\0\3[1]\x82\0\0\0\2\x81\0",)


LINGERS = """
request: { path: /talk, websocket: { send: [{ json: 1 }], %s } }
stream:
  format: websocket
  events: [{ match: { kind: bye }, text: $.word, finish: stop }, { ignore: true }]
retry: { attempts: 1 }
"""


async def test_a_finish_without_an_end_waits_a_second_and_is_one() -> None:
    frames: list[dict[str, Any]] = [{"expect": 1}, {"json": {"kind": "bye", "word": "Hi"}}]
    made = fixture(spoken(*frames, end="stall"), expect={"text": "Hi", "finish": "stop"})
    assert await judged(route(LINGERS % "ping: 5s"), made) == []


async def test_an_answer_that_cannot_be_rendered_is_the_routes_fault() -> None:
    speaks = route(LINGERS % "reply: [{ match: { kind: ping }, text: 'a {{ data.nope }}' }]")
    frames: list[dict[str, Any]] = [{"expect": 1}, {"json": {"kind": "ping"}}]
    made = fixture(spoken(*frames), expect={"status": 502, "error": {"class": "fatal"}})
    assert await judged(speaks, made) == []
    found = complaints(made, await through_sockets(speaks, made, WORLD.observer))
    assert found == []


@pytest.mark.parametrize("more", ["hold: full\n", ""])
async def test_a_client_that_wants_a_whole_answer_gets_one(more: str) -> None:
    asks = {"json": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}}
    frames: list[dict[str, Any]] = [{"expect": 1}, {"json": {"kind": "bye", "word": "Hi"}}]
    text = LINGERS % "ping: 5s" + more
    made = fixture(spoken(*frames), client=asks, expect={"text": "Hi", "finish": "stop"})
    assert await judged(route(text), made) == []
