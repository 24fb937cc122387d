"""What a route says on a websocket, and when; what the end of one means."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.options import Secret
from engine.route.talking import Talking
from engine.wire import SocketMessage, dumps, loads
from tests.kit import route_of

ROUTE = """
version: 1
base_url: https://chat.example.com/c
models: [m]
vars: { tone: dry }
request:
  path: /chat
  websocket:
    {{socket}}
stream:
  format: websocket
  events: [{ text: $.text, finish: stop, end: true }]
errors:
  message: $.why
  rules:
    - { status: [4401, 1000], body: /bye/, as: auth_expired }
    - { status: 4429, as: rate_limited, retry_after: $.wait }
"""
SHA1 = """
API = 1
from engine.transform import HttpResponse
class Transform:
    def extract(self, response: HttpResponse) -> str:
        return f"{response.status}:{response.body.decode()[::-1]}"
"""


def talking(socket: str, **env: object) -> Talking:
    indented = indent(dedent(socket), "    ").strip()
    route = route_of(ROUTE.replace("{{socket}}", indented), backwards=SHA1)
    assert route.talk is not None
    known: dict[str, object] = {
        "vars": {"tone": "dry"},
        "_now": 0.0,
        "_ref": route.references,
        "_random": None,
        **env,
    }
    return route.talk(known)


def said(messages: list[SocketMessage]) -> list[Any]:
    return [loads(message.data) for message in messages]


def hear(talk: Talking, value: object) -> list[Any]:
    return said(talk.hear(SocketMessage(dumps(value))))


def test_what_waits_for_nothing_is_said_at_once() -> None:
    talk = talking("send: [{ json: { a: '{{ vars.tone }}' } }, { text: 'x {{ vars.tone }}' }]")
    assert [m.data for m in talk.begin()] == [b'{"a":"dry"}', b"x dry"]
    assert hear(talk, {"event": "ping"}) == []


def test_what_waits_holds_back_what_stands_below() -> None:
    talk = talking(
        """
        send:
          - json: 1
          - { after: { event: ready }, json: { id: "{{ data.id }}" } }
          - json: 2
          - { after: { event: go }, json: 3 }
        """
    )
    assert said(talk.begin()) == [1]
    assert hear(talk, {"event": "go"}) == []
    assert hear(talk, {"event": "ready", "id": [7]}) == [{"id": [7]}, 2]
    assert hear(talk, {"event": "ready", "id": 8}) == []
    assert hear(talk, {"event": "go"}) == [3]


def test_the_first_answer_that_fits_is_given_each_time() -> None:
    talk = talking(
        """
        reply:
          - { match: { event: ping }, json: { pong: "{{ data.at }}" } }
          - { match: { event: [ping, noop] }, json: no }
        """
    )
    for at in (1, 2):
        assert hear(talk, {"event": "ping", "at": at}) == [{"pong": at}]
    assert hear(talk, {"event": "noop"}) == ["no"]


def test_a_message_that_was_waited_for_gets_no_second_answer() -> None:
    talk = talking(
        """
        send: [{ after: { event: ping }, json: first }]
        reply: [{ match: { event: ping }, json: pong }]
        """
    )
    assert [hear(talk, {"event": "ping"}) for _ in range(2)] == [["first"], ["pong"]]


def test_steps_take_out_of_a_message_and_a_transform_may_be_one_of_them() -> None:
    talk = talking(
        """
        send:
          - after: { event: challenge }
            take:
              twisted: { json: $.word, then: { transform: backwards } }
              raw: { body: true }
              deep: $.a[0].b
            json: { answer: "{{ take.twisted }}", raw: "{{ take.raw }}", deep: "{{ take.deep }}" }
        """
    )
    heard = {"event": "challenge", "word": "abc", "a": [{"b": {"c": 0}}]}
    said_now = {"answer": "101:cba", "raw": dumps(heard).decode(), "deep": {"c": 0}}
    assert hear(talk, heard) == [said_now]


@pytest.mark.parametrize("step", ["{ json: $.word }", "$.word", "{ regex: 'word=(.)' }"])
def test_what_cannot_be_taken_fails_the_attempt(step: str) -> None:
    talk = talking(
        f"reply: [{{ match: {{ a: 1 }}, take: {{ word: {step} }}, json: '{{{{ take.word }}}}' }}]"
    )
    with pytest.raises(ExchangeError, match=r"`take\.word` was not found") as caught:
        hear(talk, {"a": 1})
    assert caught.value.cls == "retryable"


def test_a_message_that_comes_out_empty_is_not_sent() -> None:
    talk = talking("send: [{ json: '{{ omit }}' }, { text: '{{ omit }}' }, { json: 1 }]")
    assert said(talk.begin()) == [1]


def test_binary_messages_are_said_and_heard() -> None:
    talk = talking(
        """
        send: [{ text: hi, binary: true }]
        reply: [{ match: { $: plain }, text: "{{ data }}!" }]
        """
    )
    assert talk.begin() == [SocketMessage(b"hi", text=False)]
    assert talk.hear(SocketMessage(b"plain", text=False)) == [SocketMessage(b"plain!")]


def test_a_secret_is_said_and_shown_by_its_name() -> None:
    socket = "send: [{ json: { token: '{{ values.token }}' } }]"
    route = route_of(
        ROUTE.replace("{{socket}}", socket)
        + "values: { token: { request: { path: /t }, extract: [{ json: $.t }] } }\n"
    )
    assert route.talk is not None
    env = {"values": {"token": Secret("hidden-word", "values.token")}, "_ref": {}}
    assert said(route.talk(env).begin()) == [{"token": "hidden-word"}]
    shown = said(route.talk({**env, "_mask": True}).begin())
    assert shown == [{"token": "«values.token»"}]
    assert route.wanted == ("token",)


def test_what_is_said_later_is_told_in_words() -> None:
    socket = """
    send:
      - json: 1
      - { after: { event: ready }, json: { id: "{{ data.id }}" } }
      - { text: "{{ vars.tone }}" }
    reply: [{ match: { event: ping }, text: pong }]
    """.strip()
    route = route_of(ROUTE.replace("{{socket}}", socket))
    assert route.talk is not None
    assert list(route.talk.told({"vars": {"tone": "dry"}})) == [
        'after {"event":"ready"}: {"id":"{{ data.id }}"}',
        "then: dry",
        'to any {"event":"ping"}: pong',
    ]


@pytest.mark.parametrize(
    ("code", "reason", "cls", "words"),
    [
        (1000, "", "", ""),
        (1005, "", "", ""),
        (1000, "bye now", "auth_expired", "bye now"),
        (4401, "bye", "auth_expired", "bye"),
        (4401, "", "retryable", "the upstream closed the websocket with code 4401"),
        (4429, '{"why": "slow down", "wait": 7}', "rate_limited", "slow down"),
        (1001, "", "truncated", "the upstream closed the websocket with code 1001"),
        (1006, "", "truncated", "the upstream broke off its answer"),
        (1008, "no entry", "fatal", "no entry"),
        (1009, "", "context_length", "the upstream closed the websocket with code 1009"),
        (1011, "crashed", "retryable", "crashed"),
        (1012, "", "overloaded", "the upstream closed the websocket with code 1012"),
        (1013, "try again later", "overloaded", "try again later"),
        (3000, "", "auth_invalid", "the upstream closed the websocket with code 3000"),
    ],
)
def test_the_end_of_a_websocket_has_a_class(code: int, reason: str, cls: str, words: str) -> None:
    error = talking("send: [{ json: 1 }]").closed(code, reason)
    assert (cls, words) == (("", "") if error is None else (error.cls, error.message))
    assert error is None or error.status == code
    assert cls != "rate_limited" or (error is not None and error.retry_after == 7)


@pytest.mark.parametrize(
    ("written", "opened"),
    [
        ("path: /chat", "wss://chat.example.com/c/chat"),
        ("url: wss://ws.example.com/x", "wss://ws.example.com/x"),
        ("url: ws://ws.example.com/x", "ws://ws.example.com/x"),
        ("url: https://ws.example.com/x", "wss://ws.example.com/x"),
    ],
)
def test_a_websocket_is_opened_by_a_get_at_its_address(written: str, opened: str) -> None:
    text = ROUTE.replace("{{socket}}", "send: [{ json: 1 }]").replace("path: /chat", written)
    request = route_of(text).plan.render({})
    assert (request.method, request.url, request.body) == ("GET", opened, b"")


def test_bounds_come_from_the_route() -> None:
    text = ROUTE.replace("{{socket}}", "ping: 20s") + "limits: { event: 1KiB }\n"
    talk = route_of(text).talk
    assert talk is not None
    assert (talk.limit, talk.ping) == (1024, 20.0)
    assert (talk({}).limit, talk({}).ping) == (1024, 20.0)
