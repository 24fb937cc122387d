"""Requests: URL, query, headers and every kind of body; nothing of it can be broken open."""

from __future__ import annotations

from email import message_from_bytes
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ExchangeError
from engine.options import OMIT, Secret
from engine.route.render import safe, text
from engine.route.route import Route
from engine.wire import HttpRequest, loads
from tests.kit import problems_of, route_of

HEAD = """
version: 1
base_url: https://a.example/v1/
models: [m]
vars: { none: null }
upstream: { headers: { User-Agent: own, X-Common: "1" } }
response: { events: [ { text: $.a, finish: stop } ] }
"""
PROMPTS = 'a"b<c>&d\n漢字 {{ 7*7 }}'


def sent(request: str, *, seed: int = 1, **req: Any) -> HttpRequest:
    return env_of(route_of(HEAD + request), seed=seed, **req)


def env_of(route: Route, *, seed: int = 1, **req: Any) -> HttpRequest:
    env: dict[str, Any] = {
        "req": {"prompt": PROMPTS, **req},
        "model": {"id": "m", "upstream": "up/m"},
        "account": route.account or {},
        "values": {},
        "session": {},
        "vars": {"none": None},
        "_ref": route.references,
        "_random": Random(seed),
        "_now": 0.0,
    }
    return route.plan.render(env)


# ---- where it goes ----


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        ("request: { path: /chat }", "https://a.example/v1/chat"),
        ("request: { path: chat }", "https://a.example/v1/chat"),
        ("request: { json: {} }", "https://a.example/v1"),
        ("request: { url: https://b.example/x, json: {} }", "https://b.example/x"),
        (
            'request: { path: "/m/{{ model.upstream | urlpath }}:go" }',
            "https://a.example/v1/m/up%2Fm:go",
        ),
    ],
)
def test_the_url_is_the_base_with_the_path(request_: str, url: str) -> None:
    assert sent(request_).url == url


def test_a_main_request_is_a_post_unless_the_route_says_otherwise() -> None:
    assert sent("request: { path: /x }").method == "POST"
    assert sent("request: { path: /x, method: GET }").method == "GET"


def test_what_is_omitted_leaves_no_trace() -> None:
    request = sent(
        """
request:
  path: /x
  query: { a: "{{ req.stop }}", b: "{{ omit }}", c: 1 }
  headers: { X-A: "{{ req.user }}", X-B: "b" }
  json: { a: "{{ req.user }}", b: [ "{{ omit }}", 1 ], c: { d: "{{ req.seed }}" }, e: "{{ none }}" }
"""
    )
    assert request.query == (("c", "1"),)
    assert [name for name, _ in request.headers] == [
        "Content-Type",
        "User-Agent",
        "X-Common",
        "X-B",
    ]
    assert loads(request.body) == {"b": [1], "c": {}, "e": None}


def test_a_routes_header_replaces_the_common_one_of_any_case() -> None:
    request = sent(
        "request: { path: /x, headers: { user-agent: other, content-type: a/b }, json: 1 }"
    )
    assert request.headers == (("X-Common", "1"), ("user-agent", "other"), ("content-type", "a/b"))


# ---- bodies ----


def test_a_json_body_keeps_types_and_takes_any_text() -> None:
    request = sent(
        """
request:
  json:
    text: "{{ req.prompt }}"
    number: "{{ req.temperature }}"
    flag: "{{ req.stream }}"
    mixed: "t={{ req.temperature }}"
    "{{ key }}": plain
    own: [1, 2.5, true, null, "3"]
""",
        temperature=0.5,
        stream=True,
    )
    assert loads(request.body) == {
        "text": PROMPTS, "number": 0.5, "flag": True, "mixed": "t=0.5", "{{ key }}": "plain",
        "own": [1, 2.5, True, None, "3"],
    }  # fmt: skip
    assert request.header("content-type") == "application/json"


def test_a_form_is_encoded() -> None:
    request = sent(
        'request: { form: { p: "{{ req.prompt }}", "k&": 1, n: "{{ vars.none }}", o: "{{omit}}" }}'
    )
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    assert parse_qsl(request.body.decode(), keep_blank_values=True) == [
        ("p", PROMPTS),
        ("k&", "1"),
        ("n", ""),
    ]


def test_a_multipart_form_can_be_read_back() -> None:
    route = route_of(HEAD + """request: { multipart: { p: "{{ req.prompt }}", 'q"x': 1 } }""")
    request = env_of(route)
    kind = request.header("content-type") or ""
    assert _parts(kind, request.body) == {"p": PROMPTS.replace("\n", "\r\n"), "q%22x": "1"}


def _parts(kind: str, body: bytes) -> dict[str, str]:
    normal = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + normal)
    found = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")  # type: ignore[union-attr]
        payload = part.get_payload(decode=True)  # type: ignore[union-attr]
        found[str(name)] = payload.decode()  # type: ignore[union-attr]
    return found


def test_a_boundary_never_occurs_in_what_it_bounds() -> None:
    route = route_of(HEAD + 'request: { multipart: { p: "{{ req.prompt }}" } }')
    first = (env_of(route).header("content-type") or "").partition("boundary=")[2]
    request = env_of(route, prompt=f"--{first}--")
    assert (request.header("content-type") or "").partition("boundary=")[2] != first
    assert request.body.count(first.encode()) == 1


def test_a_raw_body_is_sent_as_it_is() -> None:
    request = sent('request: { raw: "q={{ req.prompt }}" }')
    assert request.body.decode() == f"q={PROMPTS}"
    assert request.header("content-type") == "text/plain; charset=utf-8"


FRAMED = 'request: { path: /x, frames: { flags: true }, json: { p: "{{ req.prompt }}" }'


def test_a_body_goes_in_a_frame_whatever_made_it() -> None:
    request = sent(FRAMED + " }\n", prompt="hi")
    assert request.body == b"\0" + (10).to_bytes(4, "big") + b'{"p":"hi"}'
    patched = route_of(HEAD + FRAMED + ", patch: [{ set: { n: 1 } }] }\n")
    env = {"req": {"prompt": "hi"}, "_ref": {}, "_now": 0.0}
    body = patched.render(env, None, [], None).body
    assert body == b"\0" + (16).to_bytes(4, "big") + b'{"p":"hi","n":1}'
    fixed = HEAD + "auth: { bearer: k-1 }\n" + FRAMED + " }\n"
    assert route_of(fixed).render(env, None, [], None).body == request.body


def test_a_frame_is_not_shown() -> None:
    shown = route_of(HEAD + FRAMED + " }\n").plan.render({"req": {"prompt": "hi"}, "_mask": True})
    assert shown.body == b'{"p":"hi"}'


def test_two_bodies_are_refused() -> None:
    assert problems_of(HEAD + "request: { raw: a, json: {} }") == ["8:E105"]


@given(st.text())
def test_any_prompt_arrives_in_a_json_body_as_it_was(prompt: str) -> None:
    body = loads(asked(prompt).body)
    assert body == {"p": prompt.encode("utf-8", "replace").decode(), "fixed": 1}


def asked(prompt: str) -> HttpRequest:
    return env_of(_JSON, prompt=prompt)


_JSON = route_of(HEAD + 'request: { json: { p: "{{ req.prompt }}", fixed: 1 } }')


# ---- injection ----


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\x7fb", "\tx"])
@pytest.mark.parametrize(
    "request_",
    [
        'request: { path: "/x/{{ req.prompt }}" }',
        'request: { path: /x, query: { q: "{{ req.prompt }}" } }',
        'request: { path: /x, headers: { X-A: "{{ req.prompt }}" } }',
        'request: { path: /x, headers: { X-A: "a {{ req.prompt }} b" } }',
    ],
)
def test_a_client_cannot_write_a_line_of_the_protocol(request_: str, evil: str) -> None:
    with pytest.raises(ExchangeError, match="control character") as told:
        sent(request_, prompt=evil)
    assert told.value.cls == "invalid_request"


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ('request: { path: /x, headers: { X-A: "a\\nb" } }', 8),
        ('request: { path: "/x\\r\\ny" }', 8),
        ('request: { path: /x, query: { q: "a\\0b" } }', 8),
        ('request: { path: /x, headers: { "X A": b } }', 8),
        ("request: { path: /x }\nauth: { bearer: '${env:MULTI}' }", 9),
        ("request: { path: /x }\nauth: { header: { X-K: 'k ${env:MULTI}' } }", 9),
        ("request: { path: /x }\nauth: { cookie: { c: '${env:MULTI}' } }", 9),
    ],
)
def test_what_would_break_a_line_is_found_when_the_route_is_loaded(
    request_: str, line: int
) -> None:
    assert problems_of(HEAD + request_, env={"MULTI": "a\nb"}) == [f"{line}:E521"]


def test_a_key_from_the_environment_loses_the_line_end_around_it() -> None:
    route = route_of(
        HEAD + 'request: { path: /x }\nauth: { from: { env: K }, bearer: "{{ account.key }}" }',
        env={"K": " sk-1\r\n"},
    )
    assert route.account == {"key": Secret("sk-1")}


def test_scheme_and_host_are_literal() -> None:
    text = HEAD.replace("https://a.example/v1/", '"https://{{ req.user }}.example"')
    assert problems_of(text + "request: { path: /x }") == ["3:E506"]
    assert problems_of(HEAD + 'request: { url: "https://{{ req.user }}/" }') == ["8:E506"]


# ---- edits of the body ----


def patched(patch: str, **req: Any) -> Any:
    route = route_of(
        HEAD + f"request: {{ json: {{ a: 1, b: {{ c: 2, d: 3 }} }}, patch: [ {patch} ] }}"
    )
    env = {"req": req, "model": {}, "vars": {}, "_ref": {}, "_now": 0.0, "_random": Random(1)}
    content = route._body(env, None, None)
    assert content is not None
    return loads(content[0])


@pytest.mark.parametrize(
    ("patch", "body"),
    [
        ("{ drop: a }", {"b": {"c": 2, "d": 3}}),
        ("{ drop: [b.c, x.y, b.q.r] }", {"a": 1, "b": {"d": 3}}),
        ("{ rename: { b.c: e.f } }", {"a": 1, "b": {"d": 3}, "e": {"f": 2}}),
        ("{ rename: { nope: e } }", {"a": 1, "b": {"c": 2, "d": 3}}),
        ("{ set: { a.z: 5 } }", {"a": {"z": 5}, "b": {"c": 2, "d": 3}}),
        ("{ set: { u: '{{ req.user }}' } }", {"a": 1, "b": {"c": 2, "d": 3}}),
        ("{ when: req.user, set: { u: 1 } }", {"a": 1, "b": {"c": 2, "d": 3}}),
        ("{ set: { x: { y: [1] } }, drop: b }, { rename: { x.y: a } }", {"a": [1], "x": {}}),
        ("{ drop: a, rename: { b: a }, set: { b: 1 } }", {"a": {"c": 2, "d": 3}, "b": 1}),
    ],
)
def test_edits_drop_then_rename_then_set(patch: str, body: object) -> None:
    assert patched(patch) == body


def test_an_edit_holds_where_its_condition_does() -> None:
    assert patched("{ when: req.user, set: { u: '{{ req.user }}' } }", user="me")["u"] == "me"


# ---- text ----


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "a"),
        (1, "1"),
        (True, "true"),
        (None, ""),
        (OMIT, ""),
        (1.5, "1.5"),
        (["a", {"b": 1}], '["a",{"b":1}]'),
        (Secret("s"), "s"),
    ],
)
def test_values_stand_in_a_line_as_json_would_write_them(value: object, shown: str) -> None:
    assert text(value) == shown
    assert safe(value, "header") == shown
