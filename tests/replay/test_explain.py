"""What a route would send, shown: the same as what is sent, without any secret."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from typing import Any

import pytest

from engine.errors import ExchangeError, RequestError
from engine.masks import forms
from engine.replay.explain import FORMATS, Explanation, as_curl, as_http, as_json, explain, variable
from engine.route.route import Route
from engine.wire import HttpRequest, dumps
from tests.kit import Say, World, route_of, sse

ENV = {"KEY": "sk-explained-123", "USER": "someone@example.com", "HOST": "api.example.com"}
KEY, USER = ENV["KEY"], ENV["USER"]

CUSTOM = """
version: 1
base_url: https://a.example
models: [ { id: m, upstream: up } ]
response: { events: [ { text: $.a, finish: stop } ] }
auth: { from: { inline: { user: "${env:USER}", key: "${env:KEY}" } } }
"""
CHAT = """
version: 1
extends: openai
base_url: https://a.example/v1
models: [m]
"""
ROUTES = {
    "json with everything": CUSTOM
    + """
vars: { tone: dry, plain: "${env:KEY}" }
let: { id: "{{ uuid4() }}", at: "{{ now_ms() }}" }
session: { key: [req.user], state: { chat: "{{ rand_alnum(8) }}" } }
request:
  path: "/x/{{ model.upstream | urlpath }}"
  query: { q: "{{ req.prompt }}", k: "{{ account.key }}" }
  headers: { X-Id: "{{ let.id }}", X-Key: "key={{ account.key }}", X-Chat: "{{ session.chat }}" }
  json: { p: "{{ req.prompt }}", t: "{{ vars.tone }}", at: "{{ let.at }}", u: "{{ account.user }}",
          v: "{{ vars.plain }}", s: "{{ req.stream }}", n: "{{ req.temperature }}" }
  patch: [ { when: req.user, set: { who: "{{ req.user }}" } } ]
""",
    "values": CUSTOM
    + """
values:
  token: { request: { path: /login, json: { u: "{{ account.user }}", p: "{{ account.key }}" } },
           extract: [ { json: $.t } ] }
  pair: { request: { path: "/pair/{{ values.token | urlpath }}" },
          extract: { id: [ { json: $.t } ], key: [ { json: $.t } ] } }
  open: { request: { path: /open }, extract: [ { json: $.t } ], secret: false }
request:
  path: /x
  form:
    t: "{{ values.token }}"
    p: "{{ values.pair.id }}/{{ values.pair.key }}"
    o: "{{ values.open }}"
""",
    "bearer": CHAT + 'auth: { bearer: "${env:KEY}" }\n',
    "header, query and cookie": CHAT
    + 'auth: { header: { X-K: "${env:KEY}" }, query: { k: "${env:KEY}" },\n'
      '        cookie: { c: "${env:KEY}" } }\n',
    "transforms": CHAT
    + 'auth: { bearer: "${env:KEY}" }\ntransforms: [ { system_prompt: { append: be brief } } ]\n',
    "always streaming": CHAT + "stream: { use: always }\n",
    "multipart": CUSTOM
    + 'request: { path: /x, multipart: { p: "{{ req.prompt }}", k: "{{ account.key }}" } }\n',
    "raw": CUSTOM + 'request: { path: /x, raw: "{{ req.prompt }} {{ account.key }}" }\n',
}  # fmt: skip
BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hello «you» & \"me\" 'x'"}],
    "user": "u1",
    "temperature": 0.5,
}
FETCHED = "fetched-value-1"


def explained(route: Route, **more: Any) -> Explanation:
    body = dumps({"model": "m", **BODY, **more})
    return explain(route, body, now=1_700_000_000.0, seed=1)


def unmasked(request: HttpRequest) -> HttpRequest:
    """The request with every mask replaced by what it stands for."""
    known = {"env:KEY": KEY, "env:USER": USER}

    def real(text: str) -> str:
        return re.sub(
            r"«([\w:.()]+)»",
            lambda hit: known.get(hit[1], FETCHED if "values." in hit[1] else hit[0]),
            text,
        )

    quoted = re.sub(rb"%C2%AB([\w.]+|env%3A\w+)%C2%BB", _quoted, request.body)
    return HttpRequest(
        request.method,
        real(request.url),
        tuple((name, real(value)) for name, value in request.headers),
        tuple((name, real(value)) for name, value in request.query),
        real(quoted.decode()).encode(),
        request.timeout,
    )


def _quoted(hit: re.Match[bytes]) -> bytes:
    return FETCHED.encode() if hit[1].startswith(b"values.") else hit[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ROUTES)
async def test_what_is_shown_is_what_is_sent(name: str, stream: bool) -> None:
    route = route_of(ROUTES[name], env=ENV)
    more: dict[str, Any] = {"stream": stream} if stream else {}
    shown = [unmasked(step.request) for step in explained(route, **more).steps]

    def script(request: HttpRequest) -> Say:
        if "extract" in ROUTES[name] and request.url != "https://a.example/x":
            return Say(dumps({"t": FETCHED}))
        return Say(sse({"choices": []}) if stream else b'{"a":"hi"}', 400)

    async with World(script, seed=1) as world:
        world.ports.random.getrandbits(96)  # the id of the request
        await world.ask(route, BODY["messages"], **{**BODY, **more, "messages": BODY["messages"]})
        sent = world.upstream.requests
    assert [clean(request) for request in shown] == [clean(request) for request in sent]


def clean(request: HttpRequest) -> tuple[Any, ...]:
    """A request as it goes out; ids of sessions differ by right."""
    headers = sorted((name.lower(), value) for name, value in request.headers)
    return request.method, request.url, headers, request.query, request.body


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ROUTES)
def test_no_secret_is_shown_in_any_form(name: str, form: str) -> None:
    shown = FORMATS[form](explained(route_of(ROUTES[name], env=ENV))).encode()
    for secret in (KEY, USER):
        assert not [found for found in forms(secret) if found in shown]


LEAKS = {
    "basic": 'auth: { basic: { username: "${env:USER}", password: "${env:KEY}" } }\n',
    "coded": 'auth: { header: { A: "{{ (\'me:\' ~ vars.k) | b64 }}", B: "{{ vars.k | b64 }}" } }\n',
    "signed": 'auth: { header: { A: "{{ req.prompt | hmac_sha256(vars.k) }}" } }\n',
    "quoted": 'request: { path: "/x/{{ vars.u | urlpath }}" }\n',
    "escaped": 'request: { path: /x, json: { a: "{{ vars.u | json }}",\n'
    '           b: "{{ {\'k\': vars.k} | json }}" } }\n',
    "computed": 'let: { a: "x{{ vars.k }}y" }\nrequest: { path: /x, json: { a: "{{ let.a }}" } }\n',
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", LEAKS)
def test_no_secret_is_shown_by_way_of_filters_and_variables(name: str, form: str) -> None:
    text = CHAT + 'vars: { k: "${env:KEY}", u: "${env:USER}" }\n' + LEAKS[name]
    shown = FORMATS[form](explained(route_of(text, env=ENV))).encode()
    for secret in (KEY, USER):
        assert not [found for found in forms(secret) if found in shown]


REVEALS = '''"""Shows what it knows."""
import base64
from dataclasses import dataclass
from engine.transform import Context, HttpRequest, Secret, option
API = 1

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    key: Secret = option(doc="a key")

class Transform:
    def __init__(self, options: Options, context: Context) -> None:
        self.own, self.account = options.key.reveal(), context.account

    def sign(self, request: HttpRequest) -> HttpRequest:
        user = self.account["user"].reveal()
        coded = base64.b64encode(f"{user}:{self.own}".encode()).decode()
        return request.with_headers({"User": user, "Own": self.own, "Coded": coded})
'''


def test_not_even_a_transform_can_show_one() -> None:
    text = CUSTOM + 'request: { path: /x }\ntransforms: [ { mine: { key: "${env:KEY}" } } ]\n'
    route = route_of(text, env=ENV, mine=REVEALS)
    shown = as_http(explained(route)).encode()
    assert not [found for secret in (KEY, USER) for found in forms(secret) if found in shown]
    assert "User: «env:USER»" in shown.decode()
    assert "Own: «env:KEY»" in shown.decode()


def test_a_clients_own_key_is_named() -> None:
    text = CHAT + 'auth: { from: { client_key: true }, bearer: "{{ account.key }}" }\n'
    (step,) = explained(route_of(text)).steps
    assert step.request.header("authorization") == "Bearer «client key»"


# ---- steps and notes ----


def test_values_come_first_in_their_order() -> None:
    explanation = explained(route_of(ROUTES["values"], env=ENV))
    assert [step.what for step in explanation.steps] == [
        "values.token", "values.pair", "values.open", "main",
    ]  # fmt: skip
    assert (
        explanation.steps[0].request.body
        == b'{"u":"\xc2\xabenv:USER\xc2\xbb","p":"\xc2\xabenv:KEY\xc2\xbb"}'
    )


def test_a_value_that_is_not_wanted_is_not_shown() -> None:
    text = ROUTES["values"].replace(
        "secret: false", "secret: false, scope: request, when: req.seed"
    )
    text = text.replace('"{{ values.open }}"', '"{{ values.open | default(1) }}"')
    assert "values.open" not in [step.what for step in explained(route_of(text, env=ENV)).steps]


def test_notes_say_what_holds() -> None:
    notes = explained(route_of(ROUTES["bearer"], env=ENV)).notes
    assert notes[0] == "route sample (routes/sample.yaml), model m sent as m"
    assert "the upstream is asked for a whole answer" in notes
    assert notes[-1] == "passed through: the client's bytes, with the model's name put in"
    assert (
        "the upstream is asked to stream" in explained(route_of(ROUTES["always streaming"])).notes
    )


def test_a_route_may_be_asked_with_its_name_before_the_models() -> None:
    route = route_of(ROUTES["bearer"], env=ENV)
    body = dumps({**BODY, "model": "sample/m"})
    assert explain(route, body, now=0.0).steps[0].what == "main"


# ---- refusals ----


def test_what_would_be_refused_is_refused() -> None:
    route = route_of(ROUTES["bearer"], env=ENV)
    with pytest.raises(RequestError, match="route sample offers: m"):
        explain(route, dumps({**BODY, "model": "other"}), now=0.0)
    with pytest.raises(RequestError):
        explain(route, b"not json", now=0.0)


def test_a_route_that_cannot_be_rendered_says_so() -> None:
    route = route_of(CUSTOM + 'request: { path: /x, json: { a: "x{{ req.seed }}" } }\n', env=ENV)
    with pytest.raises(ExchangeError, match="the route cannot be rendered") as told:
        explained(route)
    assert told.value.cls == "fatal"


# ---- ways to show it ----


def test_http_looks_as_on_the_wire() -> None:
    text = as_http(explained(route_of(ROUTES["json with everything"], env=ENV)))
    assert "POST https://a.example/x/up?q=Hello" in text
    assert "\nX-Key: key=«env:KEY»\n" in text
    assert '"who": "u1"' in text


def test_secrets_in_forms_and_queries_have_their_names() -> None:
    text = CUSTOM.replace(" } } }\n", ' } }, query: { k: "{{ account.key }}" } }\n')
    text += 'request: { path: /x, form: { user: "${env:USER}", pass: "a {{ account.key }}" } }\n'
    shown = explained(route_of(text, env=ENV))
    assert "POST https://a.example/x?k=«env:KEY»\n" in as_http(shown)
    assert "\n\nuser=«env:USER»&pass=a+«env:KEY»" in as_http(shown)
    assert """--data-raw user="$USER"'&pass=a+'"$KEY\"""" in as_curl(shown)


def test_json_is_json() -> None:
    whole = json.loads(as_json(explained(route_of(ROUTES["json with everything"], env=ENV))))
    (request,) = whole["requests"]
    assert (request["what"], request["method"]) == ("main", "POST")
    assert request["body"]["u"] == "«env:USER»"
    assert ["X-Key", "key=«env:KEY»"] in request["headers"]


@pytest.mark.parametrize("name", ROUTES)
def test_curl_can_be_pasted(name: str) -> None:
    text = as_curl(explained(route_of(ROUTES[name], env=ENV)))
    script = "curl() { printf '%s\\0' \"$@\"; }\n" + text
    values = {"KEY": KEY, "USER": USER, **dict.fromkeys(names(text), "v")}
    done = subprocess.run(
        ["bash", "-eu", "-c", script], env={**values, **ENV}, capture_output=True, check=True
    )
    assert b"-sS\0-X\0" in done.stdout
    if "env:KEY" in as_http(explained(route_of(ROUTES[name], env=ENV))):
        assert KEY.encode() in done.stdout


def names(text: str) -> set[str]:
    return set(re.findall(r"\$(\w+)", text))


def test_what_a_client_wrote_cannot_leave_its_quotes() -> None:
    body = {
        **BODY,
        "messages": [{"role": "user", "content": "'; rm -rf $HOME `x` \\ \" «env:PATH»"}],
    }
    explanation = explain(route_of(CHAT), dumps({"model": "m", **body}), now=0.0)
    line = as_curl(explanation).partition("--data-raw ")[2]
    assert "rm -rf $HOME `x`" in shlex.split(line)[0]


def test_variables_of_the_shell_are_named_after_secrets() -> None:
    assert (variable("env:MY_KEY"), variable("values.token"), variable("client key")) == (
        "MY_KEY",
        "VALUES_TOKEN",
        "CLIENT_KEY",
    )


def test_the_seed_decides_what_is_random() -> None:
    route = route_of(ROUTES["json with everything"], env=ENV)
    assert explained(route) == explained(route)
    body = dumps({"model": "m", **BODY})
    assert explain(route, body, now=0.0, seed=2) != explain(route, body, now=0.0, seed=3)


def test_basic_credentials_never_appear() -> None:
    text = CHAT + 'auth: { basic: { username: "${env:USER}", password: "${env:KEY}" } }\n'
    shown = as_http(explained(route_of(text, env=ENV)))
    assert base64.b64encode(f"{USER}:{KEY}".encode()).decode() not in shown
    assert "«basic»" in shown


def test_what_would_be_fetched_is_not_and_stands_there_all_the_same() -> None:
    text = CHAT.replace("openai", "ollama") + "media: { fetch: needed }\n"
    image = {"type": "image_url", "image_url": {"url": "https://pics.example.com/a.png"}}
    body = dumps({"model": "m", "messages": [{"role": "user", "content": [image]}]})
    found = explain(route_of(text), body, now=0.0)
    assert ["iVBORw0KGgo="] == json.loads(found.steps[0].request.body)["messages"][0]["images"]
    assert "media named by URL and fetched first: 1; stand-ins take their place" in found.notes


def test_a_frame_around_the_body_is_noted() -> None:
    text = CUSTOM + "request: { path: /x, frames: { flags: true }, json: { a: 1 } }\n"
    shown = explained(route_of(text, env=ENV))
    assert shown.steps[-1].request.body == b'{"a":1}'
    assert [note for note in shown.notes if "length-prefixed frame" in note] != []


# ---- websockets ----

SPOKEN = """
version: 1
base_url: https://a.example
models: [m]
auth: { from: { inline: { key: "${env:KEY}" } }, query: { t: "{{ account.key }}" } }
vars: { plain: "${env:USER}" }
request:
  path: /talk
  websocket:
    send:
      - json: { token: "{{ account.key }}", who: "{{ vars.plain }}" }
      - { after: { kind: ready }, json: { id: "{{ data.id }}" } }
      - json: { ask: "{{ req.prompt }}", again: "{{ account.key }}" }
    reply: [{ match: { kind: ping }, text: "pong ${env:KEY}" }]
stream: { format: websocket, events: [{ text: $.text, finish: stop }] }
"""


def test_what_is_said_on_a_websocket_is_shown_in_every_form() -> None:
    (step,) = explained(route_of(SPOKEN, env=ENV)).steps
    told = as_json(Explanation([step], []))
    (shown,) = json.loads(told)["requests"]
    assert (shown["method"], shown["url"].partition("?")[0]) == ("GET", "wss://a.example/talk")
    assert shown["messages"] == [{"token": "«env:KEY»", "who": "«env:USER»"}]
    assert shown["later"] == [
        'after {"kind":"ready"}: {"id":"{{ data.id }}"}',
        "then: " + dumps({"ask": BODY["messages"][0]["content"], "again": "«env:KEY»"}).decode(),
        'to any {"kind":"ping"}: pong «env:KEY»',
    ]
    wire, shell = as_http(Explanation([step], [])), as_curl(Explanation([step], []))
    assert '\n> {"token":"«env:KEY»","who":"«env:USER»"}\n# after' in wire
    assert """printf '%s\\n' '{"token":"'"$KEY"'","who":"'"$USER"'"}' | websocat -n""" in shell


@pytest.mark.parametrize("form", FORMATS)
def test_no_secret_is_shown_of_what_is_said(form: str) -> None:
    shown = FORMATS[form](explained(route_of(SPOKEN, env=ENV)))
    for secret in (KEY, USER):
        assert [form for form in forms(secret) if form in shown.encode()] == []


def test_what_begins_with_a_greeting_says_nothing_by_itself() -> None:
    text = SPOKEN.replace(
        "      - json: { token:", "      - after: { kind: hi }\n        json: { token:"
    )
    shell = as_curl(explained(route_of(text, env=ENV)))
    assert "websocat -n" in shell
    assert "printf" not in shell


# ---- jobs ----

JOBS = """
version: 1
base_url: https://a.example
models: [m]
auth: { bearer: "${env:KEY}" }
request:
  path: /jobs
  json: { q: "{{ req.prompt }}" }
  poll:
    extract: { id: $.id, stop: { header: location } }
    path: "/jobs/{{ poll.id | urlpath }}"
    until: { match: { state: done } }
    every: { initial: 500ms, factor: 2, max: 4s }
    hosts: [files.example, more.example]
    then: { extract: { file: $.file }, url: "{{ poll.file }}" }
    cancel: { method: POST, url: "{{ poll.stop }}", json: { why: "{{ req.prompt }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
errors: { rules: [ { match: { state: failed }, as: fatal } ] }
"""


def test_what_asks_for_a_job_is_shown_with_names_for_what_answers_give() -> None:
    found = explained(route_of(JOBS, env=ENV))
    prompt = BODY["messages"][0]["content"]
    shown = [
        (step.what, f"{step.request.method} {step.request.url}", step.request.body)
        for step in found.steps
    ]
    assert [
        ("main", "POST https://a.example/jobs", dumps({"q": prompt})),
        ("request.poll", "GET https://a.example/jobs/«urlpath(poll.id)»", b""),
        ("request.poll.then", "GET «poll.file»", b""),
        ("request.poll.cancel", "POST «poll.stop»", dumps({"why": prompt})),
    ] == shown
    assert ["Bearer «env:KEY»"] * 4 == [
        step.request.header("Authorization") for step in found.steps
    ]
    assert "its job is asked for after 0.5 s, then ever later, up to every 4 s" in found.notes[5]
    assert "to files.example, more.example go no credentials" in found.notes[6]


def test_how_often_a_job_is_asked_for_is_told() -> None:
    text = JOBS.replace("{ initial: 500ms, factor: 2, max: 4s }", "2s")
    assert (
        "its job is asked for every 2 s, until it is done"
        in explained(route_of(text, env=ENV)).notes
    )


def test_the_limit_of_a_request_is_told() -> None:
    route = route_of(JOBS.replace("path: /jobs\n", "path: /jobs\n  timeout: 5s\n", 1), env=ENV)
    assert "the request and its answer take at most 5 s" in explained(route).notes
