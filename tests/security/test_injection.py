"""What a client writes is data: never a template, a header line, another path or parameter."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from engine.errors import ExchangeError, RequestError
from engine.replay.explain import explain
from engine.route.compile import Sources, compile_route
from engine.route.references import Outside
from engine.route.template import RenderError
from tests.security.stage import KEY, staged

SUM, PRODUCT = "{{ 7919 * 7907 }}", "62615533"
PAYLOADS = [
    SUM, "{{7919*7907}}", "{%- if 1 -%}" + SUM + "{%- endif -%}", "${7919*7907}", "#{7919*7907}",
    "<%= 7919*7907 %>", "{{= 7919*7907 }}", "@(7919*7907)", "*{7919*7907}", "[[${7919*7907}]]",
    "{{ account }}", "{{ account.key }}", "{{ values.token }}", "{{ vars.secret }}", "{{ req }}",
    "{{ req.prompt }}", "{{ _ref.r0 }}", "{{ self }}", "{{ config }}", "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__.__globals__ }}", "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ namespace.__init__.__globals__ }}", "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}", "{{ url_for.__globals__ }}",
    "{{ ()|attr('__class__')|attr('__base__') }}", "{{ [].__class__.__base__ }}",
    "{{ {}|attr('\\x5f\\x5fclass\\x5f\\x5f') }}", "{{ dict.__base__.__subclasses__() }}",
    "{{ 'a' * 1000000000 }}", "{{ range(1000000000)|list }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% set x = 7919*7907 %}{{ x }}", "{% import 'os' as os %}", "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}", "{% raw %}" + SUM + "{% endraw %}", "{# " + SUM + " #}",
    "{% macro m() %}" + SUM + "{% endmacro %}{{ m() }}", "{{ now() }}", "{{ uuid4() }}",
    "{{ 'x' | hmac_sha256(account.key) }}", "{{ req.user | b64 }}", "{{ 1/0 }}", "{{", "}}", "{%",
    "{{ undefined_name }}", "{{ none }}", "{{ omit }}", "${env:HOME}", "${env:SECRET:-x}",
    "${vars:secret}",
    "${file:/etc/passwd}", "$${env:HOME}", "$.choices[0]", "$..*", "${jndi:ldap://127.0.0.1/a}",
    "%(account)s", "%s%s%n", "{account}", "{0.__class__}", "{req.__class__.__init__.__globals__}",
    "`id`", "$(id)", "|id", "; id", "&& id", "../../../../etc/passwd", "..%2f..%2fetc",
    "<!--#exec cmd=id-->",
    "!!python/object/apply:os.system ['id']", "__import__('os').system('id')", "- inherit",
    "«env:SECRET»", "data: [DONE]", '"}],"admin":true,"x":[{"a":"', "\\u007b\\u007b 7919*7907 }}",
]  # fmt: skip

ROUTE = """
version: 1
base_url: %URL%/v1
models: [m, "{{ 7919 * 7907 }}"]
retry: { attempts: 1 }
vars: { secret: hidden-in-vars }
let: { again: "{{ req.prompt }}" }
request:
  path: "/talk/{{ req.user | urlpath }}"
  query: { user: "{{ req.user }}" }
  headers: { X-User: "{{ req.user | urlquery }}" }
  json:
    prompt: "{{ req.prompt }}"
    mixed: "<{{ req.prompt }}|{{ req.user }}>"
    again: "{{ let.again }}"
    user: "{{ req.user }}"
    model: "{{ req.model }}"
    extra: "{{ req.extra }}"
    messages: "{{ req.messages | as_openai }}"
    tools: "{{ req.tools | length }}"
response: { events: [ { text: "$.choices[0].message.content" } ] }
"""


async def test_payloads_arrive_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(PAYLOADS) >= 60
    dialect = "version: 1\nbase_url: %URL%/v1\ndialect: openai_chat\nmodels: [d]\n"
    async with staged(tmp_path, monkeypatch, {"one": ROUTE, "two": dialect}) as on:
        for text in PAYLOADS:
            tool = {"type": "function", "function": {"name": "f", "description": text}}
            more: dict[str, Any] = {"user": text, "tools": [tool], "odd_field": {"a": text}}
            status, answer = await on.ask("m", text, headers={"X-Odd": text}, **more)
            assert (text, status) == (text, 200)
            got = on.echo.asked[-1]
            body = got.json
            assert body["prompt"] == body["again"] == body["user"] == text
            assert body["mixed"] == f"<{text}|{text}>"
            assert body["extra"]["odd_field"] == {"a": text}
            assert body["messages"] == [{"role": "user", "content": text}]
            target = urlsplit(got.target)
            assert unquote(target.path) == f"/v1/talk/{text}"
            assert target.path.count("/") == 3
            assert parse_qs(target.query, keep_blank_values=True) == {"user": [text]}
            assert text not in dict(got.headers).get("X-Odd", "")
            assert PRODUCT not in got.whole + answer
            await on.ask("d", text, user=text)
            passed = on.echo.asked[-1].json
            assert [passed["messages"][0]["content"], passed["user"]] == [text, text]
        assert PRODUCT.encode() not in on.written.getvalue()


async def test_a_model_is_a_name_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}) as on:
        for text in PAYLOADS:
            status, answer = await on.ask(text, "hello", user="u")
            assert (text, status) == (text, 200 if text == SUM else 404)
            assert PRODUCT not in answer
            if status == 404:
                said = json.loads(answer.partition("\n\n")[2])["error"]["message"]
                assert said == f"The model `{text[:200]}` does not exist"
        assert [got.json["model"] for got in on.echo.asked] == [SUM]
        assert "hidden-in-vars" not in on.written.getvalue().decode()


# ---- lines of the protocol ----

BREAKS = [
    "a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "\r\n\r\nGET /evil HTTP/1.1", "a\x00b",
    "a\x0bb",
    "a\x0cb", "a\x1bb", "a\x7fb", "a\tb", "\r\n", "\n", "a\x85b\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0",
]  # fmt: skip
PLACES = {
    "header": 'request: { path: /talk, headers: { X-User: "{{ req.user }}" }, json: { a: 1 } }',
    "query": 'request: { path: /talk, query: { q: "{{ req.user }}" }, json: { a: 1 } }',
    "path": 'request: { path: "/talk/{{ req.user }}", json: { a: 1 } }',
    "cookie": 'auth: { cookie: { c: "{{ req.user }}" } }\nrequest: { path: /talk, json: { a: 1 } }',
    "bearer": 'auth: { bearer: "{{ req.user }}" }\nrequest: { path: /talk, json: { a: 1 } }',
    "common": 'upstream: { headers: { X-User: "{{ req.user }}" } }\n'
    "request: { path: /talk, json: { a: 1 } }",
    "prompt": 'request: { path: /talk, headers: { X-User: "{{ req.prompt }}" }, json: { a: 1 } }',
    "metadata": "request: { path: /talk, headers: { X-User: "
    "\"{{ req.extra.odd_field | default('x') }}\" }, json: { a: 1 } }",
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_line_end_never_reaches_the_head_of_a_request(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = f"version: 1\nbase_url: %URL%\nmodels: [m]\nretry: {{ attempts: 1 }}\n{PLACES[place]}\n"
    route = head + "response: { events: [ { text: '$.choices[0].message.content' } ] }\n"
    async with staged(tmp_path, monkeypatch, {"one": route}) as on:
        for text in BREAKS:
            status, answer = await on.ask("m", text, user=text, odd_field=text)
            assert (text, status) == (text, 400)
            assert "control character" in answer
            assert "X-Evil" not in answer
        assert on.echo.asked == []
        await on.ask("m", "fine", user="fine", odd_field="fine")
        assert len(on.echo.asked) == 1


async def test_the_body_may_hold_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch, {"one": ROUTE}) as on:
        for text in BREAKS:
            assert (await on.ask("m", text, user="u"))[0] == 200
            assert on.echo.asked[-1].json["prompt"] == text
            assert not any(name == "X-Evil" for name, _ in on.echo.asked[-1].headers)


async def test_headers_of_a_client_stay_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = "version: 1\nbase_url: %URL%/v1\ndialect: openai_chat\nmodels: [d]\n"
    own = {
        "Cookie": "sid=mine", "X-Forwarded-For": "10.0.0.1", "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=10.0.0.1", "X-Real-IP": "10.0.0.1", "Proxy-Authorization": "Basic eA==",
        "X-Api-Key": "another", "Connection": "keep-alive, X-Odd", "X-Odd": "1", "TE": "trailers",
        "Upgrade": "websocket", "Via": "1.1 evil", "X-HTTP-Method-Override": "DELETE",
    }  # fmt: skip
    async with staged(tmp_path, monkeypatch, {"one": ROUTE, "two": dialect}) as on:
        for model in ("m", "d"):
            assert (await on.ask(model, "hello", headers=own, user="u"))[0] == 200
            got = {name.lower() for name, _ in on.echo.asked[-1].headers}
            assert got & {name.lower() for name in own if name != "Connection"} == set()
            assert KEY not in on.echo.asked[-1].whole


# ---- templates of somebody who means harm ----

HOSTILE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ req.__class__ }}", "{{ vars.__init__ }}",
    "{{ [].append.__self__ }}", "{{ (1).__class__.__base__ }}", "{{ req | attr('__class__') }}",
    "{{ req['__class__'] }}", "{{ req.prompt.__class__ }}", "{{ req.prompt.format.__globals__ }}",
    "{{ '{0.__class__}'.format(req) }}", "{{ '{0.__class__}'.format_map({}) }}",
    "{{ lipsum.__globals__ }}", "{{ cycler.__init__ }}", "{{ self.__init__ }}", "{{ joiner() }}",
    "{{ namespace() }}", "{{ range(1000000000) | list }}", "{{ dict() }}",
    "{{ open('/etc/passwd') }}",
    "{{ __import__('os') }}", "{{ 'a' * 1000000000 }}", "{{ 'a' * 99999 * 99999 }}",
    "{{ 10 ** 10 ** 8 }}",
    "{{ 9 ** 9 ** 9 }}", "{{ 'a'.ljust(1000000000) }}", "{{ '%1000000000d' % 1 }}",
    "{{ 'a'.center(1000000000) }}", "{{ [0] * 1000000000 }}", "{{ ('a' * 999999) * 999999 }}",
    "{% for i in range(1000000000) %}x{% endfor %}", "{{ 1 << 100000000000 }}",
    "".join(f"{{% for i{at} in 'xxxxxxxxxx' %}}" for at in range(8)) + "x" + "{% endfor %}" * 8,
    "{% include '/etc/passwd' %}", "{% import 'x' as x %}", "{% extends 'x' %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% set x = [] %}{{ x.append(x) }}",
    "{{ req.messages.clear() }}", "{{ vars.update({}) }}", "{{ ['a'] | map('upper') | list }}",
    "{{ req.prompt | regex_search('(a+)+$') }}", "{{ _ref }}", "{{ account | string }}",
    "{{ req.prompt.encode().hex.__self__ }}", "{{ '%c' * 100000000 % 1 }}",
    "{{ 'x' | center(10**9) }}",
    "{{ 'x' | indent(10**9) }}", "{{ range(10**9) | join }}", "{{ ('ab' | list) * 10**9 }}",
]  # fmt: skip


def outcome(template: str) -> str:
    """What becomes of it: a problem at load, an error when rendered, or the text."""
    route = {
        "version": 1,
        "base_url": "https://a.example",
        "models": ["m"],
        "request": {"path": "/x", "json": {"x": template}},
        "response": {"events": [{"text": "$.t"}]},
    }
    compiled = compile_route(json.dumps(route).encode(), "one.yaml", Sources(Outside({})))
    if compiled.route is None:
        return f"refused: {compiled.errors[0].code}"
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a" * 64 + "!"}]})
    try:
        steps = explain(compiled.route, body.encode(), now=0.0).steps
    except (ExchangeError, RequestError, RenderError) as error:
        return f"stopped: {type(error).__name__}"
    return steps[0].request.body.decode()


@pytest.mark.parametrize("template", HOSTILE)
def test_a_hostile_template_is_refused_or_stopped_within_a_second(template: str) -> None:
    begun = time.perf_counter()
    found = outcome(template)
    assert time.perf_counter() - begun < 1
    harmless = len(found) < 2000 and "__" not in found and "class" not in found
    assert found.startswith(("refused", "stopped")) or harmless


def test_most_hostile_templates_do_not_even_load() -> None:
    assert sum(outcome(template).startswith(("refused", "stopped")) for template in HOSTILE) >= 40
