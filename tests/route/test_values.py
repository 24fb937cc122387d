"""Fetched values: conversations, extraction, how long what was found is good."""

from __future__ import annotations

import base64
from random import Random
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.options import Secret
from engine.route.values import MAX_REQUESTS, Found, ValuePlan, claim, cookie_of
from engine.wire import HttpRequest, HttpResponse, dumps
from tests.kit import compiled, problems_of, route_of

HEAD = """
version: 1
base_url: https://a.example/v1
models: [m]
auth: { from: { inline: { user: "${env:USER}", pass: "pw" } } }
request: { path: /x, headers: { X-V: "{{ values.v }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
values:
  v:
"""
ENV = {"USER": "alice"}
NOW = 1_000_000.0


def plan_of(value: str, **own: str) -> ValuePlan:
    text = HEAD + "".join(f"    {line}\n" for line in value.splitlines())
    return route_of(text, env=ENV, **own).values["v"]


def talk(plan: ValuePlan, *answers: HttpResponse) -> tuple[list[HttpRequest], Found]:
    """The requests of a fetch, and what it found."""
    env: dict[str, Any] = {
        "account": {"user": Secret("alice"), "pass": Secret("pw")}, "vars": {"x": 1},
        "values": {"other": Secret("o"), "pair": {"a": Secret("p")}}, "_now": NOW,
        "_random": Random(1), "_ref": {}, "_route": "sample",
    }  # fmt: skip
    flow = plan.flow(env)
    requests = [next(flow)]
    for answer in answers:
        try:
            requests.append(flow.send(answer))
        except StopIteration as stop:
            return requests, stop.value
    raise AssertionError("the fetch wants more answers")


def found(extract: str, answer: HttpResponse, more: str = "") -> Found:
    request = "request: { method: GET, path: /login }\n"
    return talk(plan_of(f"{request}extract: {extract}\n{more}"), answer)[1]


def json(value: object, **headers: str) -> HttpResponse:
    return HttpResponse(200, tuple(headers.items()), dumps(value))


def token(**claims: object) -> str:
    parts = [base64.urlsafe_b64encode(dumps(part)).decode().rstrip("=") for part in ({}, claims)]
    return ".".join([*parts, "sig"])


# ---- extraction ----

PAGE = HttpResponse(
    200,
    (("X-Token", "from-header"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "sid=c3; HttpOnly")),
    b'<script>var cfg = {"nonce":"n1","n":7};</script>',
)


@pytest.mark.parametrize(
    ("extract", "answer", "content"),
    [
        ("[ { json: $.a.b } ]", json({"a": {"b": "x"}}), "x"),
        ("[ { json: $.n } ]", json({"n": 5}), "5"),
        ("[ { json: [$.no, $.b] } ]", json({"b": "x"}), "x"),
        ("[ { json: $.none }, { header: X-TOKEN } ]", PAGE, "from-header"),
        ("[ { json: $.t }, { json: $.s } ]", json({"t": True, "s": "x"}), "x"),
        ("[ { cookie: sid } ]", PAGE, "c3"),
        ("[ { regex: '\"nonce\":\"(\\w+)\"' } ]", PAGE, "n1"),
        ("[ { regex: 'n\\d' } ]", PAGE, "n1"),
        (
            "[ { regex: 'cfg = (.*?);', then: { json: $.n } } ]",
            PAGE,
            "7",
        ),
        ("[ { json: $.t, then: { jwt_claim: sub } } ]", json({"t": token(sub="me")}), "me"),
        ("[ { body: true } ]", HttpResponse(200, (), b" text \n"), "text"),
        ("[ { header: Location } ]", HttpResponse(302, (("Location", "/a?b"),)), "/a?b"),
        ("{ id: [ { json: $.i } ], t: [ { json: $.t } ] }", json({"i": 1, "t": "x"}),
         {"id": "1", "t": "x"}),
    ],
)  # fmt: skip
def test_a_value_is_found_by_the_first_alternative_that_hits(
    extract: str, answer: HttpResponse, content: object
) -> None:
    assert found(extract, answer) == Found(content, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extract", "answer"),
    [
        ("[ { json: $.a } ]", json({"b": 1})),
        ("[ { json: $.a } ]", json({"a": {}})),
        ("[ { json: $.a } ]", HttpResponse(200, (), b"<html>")),
        ("[ { json: $.a } ]", json({"a": ""})),
        ("[ { cookie: si } ]", PAGE),
        ("[ { header: nope }, { regex: nope } ]", PAGE),
        ("[ { json: $.a, then: { jwt_claim: sub } } ]", json({"a": "no.jwt"})),
        ("{ id: [ { json: $.i } ], t: [ { json: $.t } ] }", json({"i": 1})),
    ],
)
def test_a_value_that_is_not_there_is_unavailable(extract: str, answer: HttpResponse) -> None:
    with pytest.raises(ExchangeError, match=r"`v(\.t)?` was not found in the answer") as told:
        found(extract, answer)
    assert told.value.cls == "unavailable"


def test_of_several_outputs_the_one_that_is_missing_is_named() -> None:
    with pytest.raises(ExchangeError, match=r"value `v\.t` was not found"):
        found("{ id: [ { json: $.i } ], t: [ { json: $.t } ] }", json({"i": 1}))


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_refused_fetch_is_unavailable_whatever_the_reason(status: int) -> None:
    with pytest.raises(ExchangeError, match=f"status {status}") as told:
        found("[ { json: $.a } ]", HttpResponse(status, (), b'{"a":"x"}'))
    assert (told.value.cls, told.value.status) == ("unavailable", status)


def test_the_request_is_rendered_with_the_account() -> None:
    plan = plan_of(
        'request: { path: /login, json: { u: "{{ account.user }}", p: "{{ account.pass }}" } }\n'
        "extract: [ { json: $.t } ]"
    )
    (request,), value = talk(plan, json({"t": "x"}))
    assert (request.method, request.url) == ("POST", "https://a.example/v1/login")
    assert request.body == b'{"u":"alice","p":"pw"}'
    assert value.content == "x"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("sid=abc; Path=/; HttpOnly", "abc"),
        ("sid=a=b==", "a=b=="),
        ('sid="quoted"', "quoted"),
        ('sid={"a":1}; Secure', '{"a":1}'),
        (" sid = spaced ; x", "spaced"),
        ("sid2=abc", None),
        ("x=1; sid=2", None),
        ("sid", ""),
    ],
)
def test_cookies_are_read_as_browsers_read_them(line: str, value: str | None) -> None:
    assert cookie_of(HttpResponse(200, (("set-cookie", line),)), "sid") == value


@pytest.mark.parametrize("text", ["", "a.b", "a.!!.c", "a.é.c", "a.bm90anNvbg.c", "a.WzFd.c"])
def test_what_is_no_jwt_has_no_claims(text: str) -> None:
    assert claim(text, "exp") is None


# ---- how long it is good ----


@pytest.mark.parametrize(
    ("ttl", "answer", "seconds"),
    [
        ("", {}, None),
        ("ttl: 6h", {}, 21600.0),
        ("ttl: { json: $.in }", {"in": 300}, 300.0),
        ("ttl: { json: $.in }", {"in": "300"}, 300.0),
        ("ttl: { json: $.in, minus: 60s }", {"in": 300}, 240.0),
        ("ttl: { json: $.in, minus: 10m }", {"in": 300}, 0.0),
        ("ttl: { json: $.in, max: 1m }", {"in": 300}, 60.0),
        ("ttl: { json: $.in, max: 1m }", {}, 60.0),
        ("ttl: { json: $.in }", {}, None),
        ("ttl: { json: $.in }", {"in": "soon"}, None),
        ("ttl: { json: $.in }", {"in": 10**400}, None),
        ("ttl: { json: $.in }", {"in": "inf"}, None),
        ("ttl: { jwt: exp }", {"v": token(exp=NOW + 100)}, 100.0),
        ("ttl: { jwt: exp, minus: 30s, max: 24h }", {"v": token(exp=NOW + 100)}, 70.0),
        ("ttl: { jwt: exp }", {"v": token(exp=NOW - 100)}, 0.0),
        ("ttl: { jwt: exp }", {"v": token(exp=10**400)}, None),
        ("ttl: { jwt: exp }", {"v": "opaque"}, None),
    ],
)
def test_what_was_found_is_good_for_so_long(
    ttl: str, answer: dict[str, Any], seconds: float | None
) -> None:
    value = found("[ { json: $.v } ]", json({"v": "x", **answer}), ttl)
    assert value.expires_in == seconds


# ---- transforms ----

LOGIN = '''"""Logs in."""
from dataclasses import dataclass
from engine.transform import Context, HttpRequest, Value, loads, option
API = 1
HOSTS = ("auth.example.com",)

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    realm: str = option("none", "where")

class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.options, self.context = options, context

    def produce(self):
        page = yield HttpRequest("GET", "/page")
        user = self.context.account["user"].reveal()
        other = self.context.values["other"].reveal() + self.context.values["pair.a"].reveal()
        body = f"{self.options.realm} {user} {other} {self.context.now}".encode() + page.body
        answer = yield HttpRequest("POST", "https://auth.example.com/token", body=body)
        return Value({"token": loads(answer.body)["t"]}, expires_in=30)
'''


def test_a_transform_may_talk_to_the_server_for_a_value() -> None:
    plan = plan_of("transform: { log_in: { realm: chat } }", log_in=LOGIN)
    requests, value = talk(plan, HttpResponse(200, (), b" page"), json({"t": "x"}))
    assert [request.url for request in requests] == [
        "https://a.example/v1/page",
        "https://auth.example.com/token",
    ]
    assert requests[1].body == b"chat alice op 1000000.0 page"
    assert value == Found({"token": "x"}, 30)


def produces(body: str) -> str:
    return (
        '"""Makes a value."""\nfrom engine.transform import HttpRequest, Value\nAPI = 1\n'
        'HOSTS = ("auth.example.com",)\n\n'
        f"class Transform:\n    def produce(self):\n        {body}\n"
    )


@pytest.mark.parametrize(
    ("body", "cls", "words"),
    [
        ('yield HttpRequest("GET", "https://evil.example/")', "fatal", "calls `evil.example`"),
        (
            'yield HttpRequest("GET", "https://auth.example.com@evil.example/")',
            "fatal",
            "calls `evil.example`",
        ),
        ('while True: yield HttpRequest("GET", "/")', "fatal", f"more than {MAX_REQUESTS}"),
        ('yield HttpRequest("GET", "/"); return 5', "fatal", "neither text nor named texts"),
        ('yield HttpRequest("GET", "/"); return {"a": 1}', "fatal", "neither text"),
        ('yield HttpRequest("GET", "/"); return Value(None)', "fatal", "neither text"),
        ('yield HttpRequest("GET", "/"); return ""', "unavailable", "came out empty"),
        ('yield HttpRequest("GET", "/")', "unavailable", "came out empty"),
    ],
)
def test_a_transform_that_leaves_its_contract_gives_no_value(
    body: str, cls: str, words: str
) -> None:
    plan = plan_of("transform: makes", makes=produces(body))
    answers = [HttpResponse(200)] * (MAX_REQUESTS + 1)
    with pytest.raises(ExchangeError, match=words) as told:
        talk(plan, *answers)
    assert told.value.cls == cls


def test_a_path_with_two_slashes_names_no_other_host() -> None:
    plan = plan_of("transform: makes", makes=produces('yield HttpRequest("GET", "//evil/x")'))
    flow = plan.flow({"_random": Random(1)})
    assert next(flow).url == "https://a.example/v1/evil/x"


def test_ten_requests_are_allowed_and_the_routes_ttl_holds() -> None:
    body = f'for _ in range({MAX_REQUESTS}): yield HttpRequest("GET", "/")\n        return "x"'
    plan = plan_of("transform: makes\nttl: 5s", makes=produces(body))
    requests, value = talk(plan, *[HttpResponse(200)] * MAX_REQUESTS)
    assert (len(requests), value) == (MAX_REQUESTS, Found("x", 5.0))


EXTRACT = '''"""Reads a value."""
from engine.transform import HttpResponse, Value
API = 1

class Transform:
    def extract(self, response: HttpResponse):
        return {body}
'''


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("response.body.decode().upper()", Found("PAGE", None)),
        ('Value("x", expires_in=7)', Found("x", 7)),
        ('{"a": "b"}', Found({"a": "b"}, None)),
    ],
)
def test_a_transform_may_be_a_step_of_an_extraction(body: str, value: Found) -> None:
    plan = plan_of(
        "request: { path: /p }\nextract: [ { body: true, then: { transform: reads } } ]",
        reads=EXTRACT.format(body=body),
    )
    assert talk(plan, HttpResponse(200, (), b"page"))[1] == value


def test_a_step_that_finds_nothing_lets_the_next_try() -> None:
    plan = plan_of(
        "request: { path: /p }\nextract: [ { transform: reads }, { body: true } ]",
        reads=EXTRACT.format(body="None"),
    )
    assert talk(plan, HttpResponse(200, (), b"page"))[1] == Found("page")


def test_a_step_that_gives_no_text_is_fatal() -> None:
    plan = plan_of(
        "request: { path: /p }\nextract: [ { transform: reads } ]", reads=EXTRACT.format(body="[1]")
    )
    with pytest.raises(ExchangeError, match="neither text"):
        talk(plan, HttpResponse(200))


def test_a_transform_stands_where_it_has_a_method() -> None:
    request = HEAD + "    transform: reads\n"
    assert problems_of(request, env=ENV, reads=EXTRACT.format(body="''")) == ["10:E422"]


# ---- plans ----


def test_a_plan_knows_its_parts_and_what_it_needs() -> None:
    text = HEAD + (
        '    request: { path: "/p/{{ values.w | urlpath }}" }\n'
        "    extract: { id: [ { json: $.i } ], key: [ { json: $.k } ] }\n"
    )
    text = text.replace(
        "values:\n", "values:\n  w: { request: { path: /w }, extract: [ { body: true } ] }\n"
    )
    route = route_of(text.replace("{{ values.v }}", "{{ values.v.id }}"), env=ENV)
    assert route.values["v"].outputs == ("id", "key")
    assert route.values["v"].needs == frozenset({"w"})
    assert route.wanted == ("w", "v")


def test_editing_a_value_changes_its_fingerprint_and_nothing_else_does() -> None:
    value = "    request: { path: /p }\n    extract: [ { body: true } ]\n"
    first = route_of(HEAD + value, env=ENV)
    same = route_of(HEAD + value + "timeouts: { total: 5s }\n", env=ENV)
    other = route_of(HEAD + value.replace("/p", "/q"), env=ENV)
    assert first.values["v"].fingerprint == same.values["v"].fingerprint
    assert first.values["v"].fingerprint != other.values["v"].fingerprint


def test_a_value_that_nothing_mentions_is_never_fetched() -> None:
    text = HEAD.replace('headers: { X-V: "{{ values.v }}" }', "json: {}")
    found = compiled(text + "    request: { path: /p }\n    extract: [ { body: true } ]\n", env=ENV)
    assert found.route is not None
    assert found.route.wanted == ()
