"""What was recorded, as the parts of a fixture."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from engine.chat import Part, Reasoning, Text, ToolCall
from engine.dialects.outcomes import UpstreamError
from engine.errors import ExchangeError
from engine.events import Reply, Usage
from engine.replay.composing import (
    Flat,
    answer_tree,
    bearers,
    headers_tree,
    inline,
    request_tree,
    steady,
    text_of,
)
from engine.replay.play import Seen
from engine.replay.taping import Taken
from engine.wire import HttpRequest, HttpResponse

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def told(request: HttpRequest, *headers: tuple[str, str], body: bytes = b"") -> dict[str, str]:
    """Secrets by their place, each with its name."""
    taken = Taken(request, 0.0, HttpResponse(200, headers), [(0, body)])
    return {secret.reveal(): secret.name for secret in bearers([taken])}


def test_credentials_are_known_by_where_a_request_has_them() -> None:
    basic = base64.b64encode(b"me:pass-1").decode()
    request = HttpRequest(
        "POST",
        "https://a.example/x?access_token=in-url",
        (
            ("Authorization", "Bearer in-header"), ("Proxy-Authorization", f"Basic {basic}"),
            ("X-Goog-Api-Key", "in-key"), ("X-Auth-Token", "in-token"), ("Accept", "text/plain"),
            ("Cookie", 'a=first-one; b="second-one"'), FORM,
        ),
        (("key", "in-query"), ("page", "2")),
        b"password=in-form&user=me",
    )  # fmt: skip
    assert {
        "in-header": "header authorization",
        "pass-1": "header proxy-authorization",
        "in-key": "header x-goog-api-key",
        "in-token": "header x-auth-token",
        "first-one": "cookie",
        "second-one": "cookie",
        "in-url": "parameter access_token",
        "in-query": "parameter key",
        "in-form": "parameter password",
    } == told(request)


def test_credentials_are_known_by_where_an_answer_has_them() -> None:
    found = told(
        HttpRequest("GET", "https://a.example"),
        ("Set-Cookie", "sid=the-cookie; Path=/"),
        ("X-Csrf-Token", "in-header"),
        ("X-Request-Id", "r-1"),
        body=b'{"access_token": "in-body", "token": "a word", "n": {"apiKey":"deep"}}',
    )
    assert {
        "the-cookie": "cookie",
        "in-header": "header x-csrf-token",
        "in-body": "access_token",
        "deep": "apiKey",
    } == found


@pytest.mark.parametrize(
    ("request_", "tree"),
    [
        (
            HttpRequest("GET", "https://a.example/p?x=1", (), (("y", "2"),)),
            {"method": "GET", "url": "/p", "query": {"x": "1", "y": "2"}},
        ),
        (
            HttpRequest("POST", "https://a.example/p", (("X-A", "b"),), (), b'{"a": [1]}'),
            {
                "method": "POST", "url": "https://a.example/p", "headers": {"x-a": "b"},
                "json": {"a": [1]},
            },
        ),
        (
            HttpRequest("POST", "https://a.example/p", (FORM,), (), b"a=%C3%A4&b="),
            {
                "method": "POST", "url": "https://a.example/p",
                "headers": {"content-type": FORM[1]}, "form": {"a": "ä", "b": ""},
            },
        ),
        (
            HttpRequest("POST", "https://a.example/p", (), (), b"plain\ntext"),
            {"method": "POST", "url": "https://a.example/p", "body": "plain\ntext"},
        ),
        (
            HttpRequest("POST", "https://a.example/p", (), (), b"\xff\x00"),
            {"method": "POST", "url": "https://a.example/p"},
        ),
    ],
)  # fmt: skip
def test_a_request_is_what_a_fixture_expects(request_: HttpRequest, tree: dict[str, Any]) -> None:
    assert tree == request_tree(request_)


def test_what_differs_from_replay_to_replay_is_a_matcher_or_left_out() -> None:
    first, second = "1e2c8330-0db4-4cbb-9e70-8a3d5cc0f507", "2b8ecb9b-1d43-4744-94f8-789cc15af163"
    one = {"a": 1, "id": first, "at": 5, "l": [1, {"x": 1}], "m": [1], "only": 1, "true": True}
    other = {"a": 1, "id": second, "at": 6, "l": [1, {"x": 2}], "m": [1, 2], "true": 1}
    assert {
        "a": 1,
        "id": "«uuid»",
        "at": "«any»",
        "l": [1, {"x": "«any»"}],
        "m": "«any»",
        "true": "«any»",
    } == steady(one, one, other)
    assert one == steady(one, one, one)


def test_headers_of_the_transport_are_left_out_and_twins_have_other_capitals() -> None:
    head = HttpResponse(
        200,
        (
            ("Date", "now"), ("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip"),
            ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Set-Cookie", "c=3"),
            ("Retry-After", "3"), ("CF-Ray", "1"),
        ),
    )  # fmt: skip
    assert [
        ("Set-Cookie", "a=1"), ("set-Cookie", "b=2"), ("SEt-Cookie", "c=3"), ("Retry-After", "3")
    ] == list(headers_tree(head).items())  # fmt: skip


def test_an_answer_is_what_the_client_must_see() -> None:
    parts: list[Part] = [Reasoning("Hm."), Text("Hi"), ToolCall("c1", "look", '{"a":1}')]
    reply = Reply(parts=parts, finish="tool_calls", usage=Usage(3, None, estimated=True))
    assert {
        "status": 200,
        "text": "Hi",
        "reasoning": "Hm.",
        "finish": "tool_calls",
        "tool_calls": [{"name": "look", "arguments": '{"a":1}'}],
        "usage": {"input": 3, "estimated": True},
        "upstream_calls": 2,
    } == answer_tree(Seen(200, reply), 2)


def test_a_failure_is_told_in_the_words_of_the_client() -> None:
    failed, shown = ExchangeError("rate_limited", "slow"), UpstreamError("slow", "r1", "busy")
    error = {"class": "rate_limited", "message": "slow"}
    assert {
        "status": 429,
        "error": {**error, "code": shown.code, "type": shown.type},
        "upstream_calls": 3,
    } == answer_tree(Seen(429, error=failed, shown=shown), 3)
    midway = answer_tree(Seen(200, Reply(parts=[Text("Hi")]), failed, shown), 1)
    assert (error, "Hi") == (midway["error"], midway["text"])


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b'{"a": "\xc3\xa4\xf0\x9f\x98\x80"}\n', True),
        (b"", True),
        (b"a\r\n", False),
        (b"\xef\xbb\xbfa", False),
        (b"a \nb", False),
        (b"\xff", False),
        (b"a\x00", False),
        ("a\u2028b".encode(), False),
        (b"a\tb", True),
        (b"a\t", False),
    ],
)
def test_a_body_stands_in_the_file_only_if_it_survives(body: bytes, fits: bool) -> None:
    assert fits == inline(body)
    if fits:
        assert body.decode() == yaml.safe_load(text_of({"body": body.decode()}))["body"]


def test_the_text_is_for_people() -> None:
    tree = {"b": "data: 1\n\ndata: 2\n\n", "a": "ä", "cuts": Flat([Flat([1, 2])]), "e": " x\ny"}
    assert "b: |+\n  data: 1\n\n  data: 2\n\na: ä\ncuts: [[1, 2]]\n" == text_of(
        {name: tree[name] for name in ("b", "a", "cuts")}
    )
    assert tree == yaml.safe_load(text_of(tree))
