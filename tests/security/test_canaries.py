"""No secret is ever written or answered: not raw, not in base64, hexadecimal or URL quoting."""

from __future__ import annotations

import asyncio
import hashlib
import json
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from click.testing import CliRunner

from engine.cli import main
from engine.errors import ConfigError
from engine.route.compile import Sources, compile_route
from engine.route.references import Outside
from engine.shell.settings import load_settings
from tests.security.stage import MODES, Echo, Received, Staged, staged


class Canaries(dict[str, str]):
    """Secrets by slot, made when they are first asked for."""

    def __missing__(self, slot: str) -> str:
        made = "cnry" + hashlib.sha256(slot.encode()).hexdigest()[:24]
        if len(self) % 3 == 1:  # what has to be quoted somewhere
            made += '+/="&%41'
        self[slot] = made
        return made


# Until an answer begins or goes on, and until there is a connection: so long that a busy machine is
# not taken for a silent upstream; so short that a silent one need not be waited for.
PATIENT, HASTY = ("60s", "60s"), ("200ms", "3s")
TAIL = """
version: 1
base_url: %URL%/v1
models: [{model}]
retry: {{ attempts: 1 }}
timeouts: {{ first_byte: %WAIT%, idle: %WAIT%, total: 60s, connect: %CONNECT% }}
"""
DIALECT = "dialect: openai_chat\n"
RULES = """
request:
  path: /talk
  json: {{ prompt: "{{{{ req.prompt }}}}", stream: "{{{{ req.stream }}}}"{fields} }}
stream:
  format: sse
  done: "[DONE]"
  events:
    - has: $.error
      error: {{ message: $.error.message }}
    - text: $.choices[0].delta.content
response:
  events:
    - has: $.error
      error: {{ message: $.error.message }}
    - text: $.choices[0].message.content
"""


def routes(canaries: Canaries, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A route for each way to hold a credential, and the environment they take them from."""
    env: dict[str, str] = {}

    def from_env(slot: str) -> str:
        name = slot.upper()
        env[name] = canaries[slot]
        return f"${{env:{name}}}"

    def from_file(slot: str) -> str:
        (folder / f"{slot}.txt").write_text(canaries[slot] + "\n")
        return f"${{file:{slot}.txt}}"

    auths = {
        "bearer_env": f"auth: {{ bearer: '{from_env('bearer_env')}' }}\n",
        "bearer_file": f"auth: {{ bearer: '{from_file('bearer_file')}' }}\n",
        "header": f"auth: {{ header: {{ X-Key: '{from_env('header_env')}', "
        f"X-More: 'v1 {from_file('header_file')}' }} }}\n",
        "query": f"auth: {{ query: {{ one: '{from_env('query_env')}', "
        f"two: '{from_file('query_file')}' }} }}\n",
        "cookie": f"auth: {{ cookie: {{ sid: '{from_env('cookie_env')}', "
        f"tid: '{from_file('cookie_file')}' }} }}\n",
        "basic": f"auth: {{ basic: {{ username: '{from_env('basic_user')}', "
        f"password: '{from_file('basic_password')}' }} }}\n",
        "account_env": "auth: { from: { env: ACCOUNT_ENV }, bearer: '{{ account.key }}' }\n",
        "inline": f"auth: {{ from: {{ inline: {{ id: '{from_env('inline_id')}', "
        f"password: '{from_file('inline_password')}', pin: '{canaries['inline_literal']}' }} }}, "
        "header: { X-Id: '{{ account.id }}', X-Word: '{{ account.password }}', "
        "X-Pin: '{{ account.pin }}' } }\n",
        "client_key": "auth: { from: { client_key: true }, bearer: '{{ account.key }}' }\n",
        "signed": f"auth: {{ from: {{ inline: {{ secret: '{from_env('sign_key')}' }} }}, "
        "sign: { hmac: { key: '{{ account.secret }}', payload: '{{ sig.body }}', headers: "
        f"{{ X-Sig: '{{{{ sig.value }}}}', X-Part: '{from_env('sign_header')}' }} }} }} }}\n",
        "oauth": "auth: { from: { oauth2: { flow: refresh_token, token_url: '%URL%/token', "
        f"client_id: '{from_env('oauth_id')}', client_secret: '{from_env('oauth_secret')}', "
        f"refresh_token: '{from_env('oauth_refresh')}', timeout: %WAIT%, "
        "client_auth: [basic, form] } }, "
        "bearer: '{{ account.access_token }}' }\n",
        "common": f"upstream: {{ headers: {{ X-Common: '{from_env('common_header')}' }} }}\n",
    }
    env["ACCOUNT_ENV"] = canaries["account_env"]
    made = {}
    for name, text in auths.items():
        made[f"{name}_d"] = TAIL.format(model=f"{name}_d") + DIALECT + text
        made[f"{name}_r"] = TAIL.format(model=f"{name}_r") + RULES.format(fields="") + text
    vars_ = f"vars: {{ app: '{from_env('vars_env')}' }}\nlet: {{ word: '{from_env('let_env')}' }}\n"
    fields = f", app: '{{{{ vars.app }}}}', word: '{{{{ let.word }}}}', b: '{from_env('body_env')}'"
    made["body"] = TAIL.format(model="body") + vars_ + RULES.format(fields=fields)
    made["place"] = TAIL.format(model="place").replace(
        "/v1", f"/{from_env('base_url_path')}"
    ) + RULES.format(fields="").replace("/talk", f"/bot{from_env('request_path')}/talk")
    shown = f"  headers: {{ X-Raw: '{from_env('request_header')}' }}\n  json: {{ prompt"
    made["raw"] = TAIL.format(model="raw") + RULES.format(fields="").replace(
        "  json: { prompt", shown
    )
    made["proxy"] = (
        TAIL.format(model="proxy")
        + RULES.format(fields="")
        + (f"upstream: {{ proxy: 'http://user:{from_env('proxy_password')}@%HOST%' }}\n")
    )
    made["values"] = TAIL.format(model="values") + RULES.format(fields="") + _values(from_env)
    made["lost"] = TAIL.format(model="lost") + RULES.format(fields="") + _lost(from_env)
    for name, text in _pools(canaries, folder, env).items():
        made[name] = TAIL.format(model=name) + RULES.format(fields="") + text
    return made, env


def _pools(canaries: Canaries, folder: Path, env: dict[str, str]) -> dict[str, str]:
    """Accounts from files and split variables, some of which log in."""
    keys = [canaries[f"pool_line_{at}"] for at in range(2)]
    proxy = f"http://user:{quote(canaries['account_proxy'], safe='')}@%HOST%"
    (folder / "pool_lines.txt").write_text("\n".join(keys))
    env["POOL_SPLIT"] = " ".join(canaries[f"pool_split_{at}"] for at in range(2))
    for name in ("taken", "refused"):
        people = [{"who": f"{name}{at}", "word": canaries[f"{name}_{at}"]} for at in range(2)]
        lines = [json.dumps(person) for person in people]
        (folder / f"pool_{name}.jsonl").write_text("\n".join(lines))
    login = (
        "auth: {{ from: {{ file: pool_{name}.jsonl, format: jsonl, id: who }}, "
        "bearer: '{{{{ values.token }}}}' }}\n"
        "upstream: {{ cookies: account }}\n"
        "values:\n  token:\n    scope: account\n    persist: true\n"
        "    request: {{ path: /login/{name}, json: {{ word: '{{{{ account.word }}}}' }} }}\n"
        "    extract: [{{ json: $.token }}]\n"
    )
    return {
        "pool_lines": "auth: { from: { file: pool_lines.txt }, bearer: '{{ account.key }}' }\n",
        "pool_split": "auth: { from: { env: POOL_SPLIT, split: ' ' }, pick: least_busy, "
        "bearer: '{{ account.key }}' }\n",
        "pool_taken": login.format(name="taken"),
        "pool_refused": login.format(name="refused"),
        "pool_proxy": f"auth: {{ from: {{ inline: {{ proxy: '{proxy}' }} }} }}\n"
        "upstream: { proxy: '{{ account.proxy }}' }\n",
    }


def _values(from_env: object) -> str:
    assert callable(from_env)
    names = ("by_json", "by_regex", "by_header", "by_cookie", "by_body", "two")
    logins = {
        "by_json": f"json: {{ user: u, password: '{from_env('login_json')}' }}",
        "by_regex": f"form: {{ user: u, password: '{from_env('login_form')}' }}",
        "by_header": f"raw: 'password={from_env('login_raw')}'",
        "by_cookie": f"multipart: {{ password: '{from_env('login_multipart')}' }}",
        "by_body": f"query: {{ code: '{from_env('login_query')}' }}",
        "two": f"headers: {{ X-Login: '{from_env('login_header')}' }}",
    }
    steps = {
        "by_json": "[{ json: $.token }]",
        "by_regex": "[{ regex: 'nonce=([^;]+);' }]",
        "by_header": "[{ header: x-token }]",
        "by_cookie": "[{ cookie: sid }]",
        "by_body": "[{ body: true }]",
        "two": "{ one: [{ json: $.one }], other: [{ json: $.other }] }",
    }
    text = "values:\n"
    for name in names:
        persists = "    persist: true\n" if name == "by_json" else ""
        text += (
            f"  {name}:\n    scope: route\n{persists}"
            f"    request: {{ method: POST, path: /login/{name}, {logins[name]} }}\n"
            f"    extract: {steps[name]}\n"
        )
    uses = ", ".join(f"X-{at}: '{{{{ values.{name} }}}}'" for at, name in enumerate(names[:5]))
    both = "X-9: '{{ values.two.one }}{{ values.two.other }}'"
    return f"{text}auth: {{ header: {{ {uses}, {both} }} }}\n"


def _lost(from_env: object) -> str:
    assert callable(from_env)
    return (
        "values:\n  token:\n    scope: route\n"
        f"    request: {{ path: /login/fails, json: {{ password: '{from_env('login_lost')}' }} }}\n"
        "    extract: [{ json: $.token }]\n"
        "auth: { bearer: '{{ values.token }}' }\n"
    )


FETCHED = ("by_json", "by_regex", "by_header", "by_cookie", "by_body", "one", "other", "by_account")


def logins(canaries: Canaries) -> Mapping[str, web.Response]:
    """What the upstream says to the requests that fetch values; none of it is kept."""
    found = {name: canaries[f"fetched_{name}"] for name in FETCHED}
    cookie = web.Response(text="in")
    cookie.headers["Set-Cookie"] = f"sid={found['by_cookie']}; Path=/"
    return {
        "by_json": web.json_response({"token": found["by_json"]}),
        "by_regex": web.Response(text=f"<p>nonce={found['by_regex']};</p>"),
        "by_header": web.Response(headers={"X-Token": found["by_header"]}),
        "by_cookie": cookie,
        "by_body": web.Response(text=found["by_body"]),
        "two": web.json_response({"one": found["one"], "other": found["other"]}),
        "taken": web.json_response({"token": found["by_account"]}),
    }


def forms(secret: str) -> Iterator[bytes]:
    """The ways in which a secret may stand in a text; half of one counts as the whole."""
    raw = secret.encode()
    yield raw[:14]
    yield raw[4:28]
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield encoded.encode()
    for encode in (b64encode, urlsafe_b64encode):
        for shift, head in ((0, 0), (1, 2), (2, 3)):
            yield encode(bytes(shift) + raw)[head:-4]


def leaks(canaries: Mapping[str, str], data: bytes) -> list[str]:
    return [slot for slot, secret in canaries.items() if any(f in data for f in forms(secret))]


def test_what_looks_for_leaks_finds_one_in_every_form() -> None:
    secret = Canaries()["x"]
    for form in forms(secret):
        assert leaks({"x": secret}, b"a " + form + b" b") == ["x"]
    for shift in range(3):
        assert leaks({"x": secret}, b64encode(b"a" * shift + secret.encode() + b"more")) == ["x"]
    assert leaks({"x": secret}, secret[:14].encode() + b" cut off") == ["x"]
    assert leaks({"x": secret}, b"nothing of it") == []


class Stage:
    """The canaries, the stage, and everything that was said on it."""

    def __init__(self, canaries: Canaries, on: Staged) -> None:
        self.canaries, self.on = canaries, on
        self.said: list[tuple[str, str]] = []
        on.echo.answer = self.answer

    async def answer(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        where = got.target.partition("/login/")[2].partition("?")[0]
        known = logins(self.canaries)
        return known[where] if where in known else await self.on.echo.respond(request, got)

    async def drive(self, model: str, mode: str, stream: bool) -> None:
        _, text = await self.on.ask(
            model, f"mode:{mode}", stream=stream, key=self.canaries["client_key"]
        )
        self.said.append((f"{model} {mode} {stream}", text))


async def drive(stage: Stage, names: Iterable[str], modes: Iterable[str]) -> None:
    """Every route meets every one of these answers, streamed and whole."""
    cases = list(product(names, modes, (False, True)))
    for at in range(0, len(cases), 100):
        await asyncio.gather(*(stage.drive(*case) for case in cases[at : at + 100]))


def timed(texts: Mapping[str, str], patience: tuple[str, str]) -> dict[str, str]:
    """The routes with so much patience."""
    wait, connect = patience
    return {
        name: text.replace("%WAIT%", wait).replace("%CONNECT%", connect)
        for name, text in texts.items()
    }


async def add(stage: Stage) -> None:
    """An operator adds a credential, and one that is refused."""
    headers = {
        "Authorization": f"Bearer {stage.canaries['admin_key']}",
        "X-Penstock-Admin": "1",
    }
    keys: list[object] = [stage.canaries["added_key"], {"kye": stage.canaries["added_admin_wrong"]}]
    body = json.dumps({"route": "pool_lines", "accounts": keys}).encode()
    status, text = await stage.on.call("POST", "/admin/accounts/add", body, headers)
    assert (status, '"at":1' in text) == (200, True)
    stage.said.append(("add", text))


async def pages(stage: Stage) -> None:
    on = stage.on
    admin = {"Authorization": f"Bearer {stage.canaries['admin_key']}", "X-Penstock-Admin": "1"}
    client = {"Authorization": f"Bearer {stage.canaries['client_key']}"}
    for method, path, headers in (
        ("GET", "/metrics", {}),
        ("GET", "/admin/routes", admin),
        ("GET", "/admin/accounts", admin),
        ("GET", "/admin/accounts/export?route=pool_lines", admin),
        ("GET", "/admin/accounts/export?route=pool_taken&format=text", admin),
        ("POST", "/admin/accounts/revive", admin),
        ("GET", "/admin/statistics", admin),
        ("POST", "/admin/reload", admin),
        ("GET", "/v1/models", client),
        ("GET", "/admin/routes", client),
        ("GET", "/v1/models", admin),
    ):
        _, text = await on.call(method, path, headers=headers)
        stage.said.append((path, text))


def objects(stage: Stage) -> Iterator[tuple[str, object]]:
    on = stage.on
    chats = on.gateway.server.chats
    yield "settings", on.settings
    yield "server", on.gateway.server
    yield "keyring", chats.keyring
    yield "ports", chats.ports
    for opened in list(chats.under_way):
        yield "open request", opened
        yield "call", opened.call
        yield "asked", opened.call.asked
    for name, route in on.gateway.keeper.book.routes.items():
        yield f"route {name}", route
        yield f"its spec {name}", route.spec
        yield f"its account {name}", route.account
        yield f"its references {name}", route.references


async def held(on: Staged, count: int) -> None:
    """Wait until so many requests are with an upstream that is silent."""
    while sum("mode:slow" in got.whole for got in on.echo.asked) < count:
        await asyncio.sleep(0.01)


def setting(
    canaries: Canaries, home: Path
) -> tuple[dict[str, str], dict[str, str], dict[str, object]]:
    """Routes, the environment, and settings of the server, with secrets everywhere."""
    folder = home / "routes"
    folder.mkdir()
    texts, env = routes(canaries, folder)
    (home / "keys").write_text(canaries["client_key_of_a_file"] + "\n")
    overrides: dict[str, object] = {
        "clients.keys": [canaries["client_key"], canaries["second_client_key"]],
        "clients.file": str(home / "keys"),
        "admin.key": canaries["admin_key"],
    }
    return texts, env, overrides


@pytest.mark.timeout(180)
async def test_nothing_that_is_written_or_answered_holds_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries()
    texts, env, overrides = setting(canaries, tmp_path)
    folder = tmp_path / "routes"
    async with staged(
        tmp_path, monkeypatch, timed(texts, PATIENT), env=env, overrides=overrides
    ) as on:
        stage = Stage(canaries, on)
        await add(stage)
        await drive(stage, texts, set(MODES) - {"slow"})
        async with asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(stage.drive(name, "slow", True))
                for name in ("header_d", "inline_r")
            ]
            await held(on, len(waiting))
            stage.said += [(what, repr(value)) for what, value in objects(stage)]
            for task in waiting:
                task.cancel()
        assert len(waiting) == sum(what == "call" for what, _ in stage.said)
        await pages(stage)
        seen = "\n".join(got.whole for got in on.echo.asked)
    assert len(canaries) >= 40
    sent = leaks(canaries, seen.encode())
    assert {slot for slot in canaries if "admin" not in slot} - set(sent) <= NEVER_SENT
    stage.said += printed(canaries, folder, env, list(texts))
    log = on.written.getvalue()
    assert log.count(b"\n") > 800
    quiet(stage, log)


@pytest.mark.timeout(180)
async def test_an_upstream_that_is_silent_brings_no_secret_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries()
    texts, env, overrides = setting(canaries, tmp_path)
    async with staged(
        tmp_path, monkeypatch, timed(texts, HASTY), env=env, overrides=overrides
    ) as on:
        stage = Stage(canaries, on)
        await drive(stage, texts, ["slow"])
    log = on.written.getvalue()
    assert log.count(b'"outcome":"timeout"') > len(texts)
    quiet(stage, log)


def quiet(stage: Stage, log: bytes) -> None:
    """Nothing that was said or logged holds a secret."""
    canaries = stage.canaries
    found = {what: hit for what, text in stage.said if (hit := leaks(canaries, text.encode()))}
    assert found == {}
    assert [line for line in log.splitlines() if leaks(canaries, line)] == []


NEVER_SENT = {"sign_key", "client_key_of_a_file", "second_client_key"}


def printed(
    canaries: Canaries, folder: Path, env: dict[str, str], names: list[str]
) -> list[tuple[str, str]]:
    """What the commands print."""
    runner = CliRunner()
    commands = [["check", str(folder), "--format", form] for form in ("text", "json", "github")]
    commands += [["list", "routes", "--routes", str(folder)]]
    for name in names:
        commands += [["show", name, "--origin", "--routes", str(folder)]]
        commands += [
            ["explain", name, "--as", form, "--routes", str(folder)]
            for form in ("http", "json", "curl")
        ]
    said = []
    for command in commands:
        result = runner.invoke(main, command, env=env)
        text = result.output + result.stderr if result.stderr_bytes else result.output
        if result.exc_info and not isinstance(result.exception, SystemExit | None):
            text += "".join(traceback.format_exception(*result.exc_info))
        said.append((" ".join(command), text))
    return said


PERSISTENT = (
    TAIL.format(model="m")
    + RULES.format(fields="")
    + """
values:
  token:
    scope: route
    persist: true
    request: { path: /login/by_json, method: POST }
    extract: [{ json: $.token }]
auth: { bearer: '{{ values.token }}' }
"""
)


async def test_a_value_kept_over_a_restart_is_known_as_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries()
    canary = canaries["fetched_by_json"]
    echo = Echo()
    kept = timed({"one": PERSISTENT}, PATIENT)

    async def answer(request: web.BaseRequest, got: Received) -> web.StreamResponse:
        if "/login/" in got.target:
            return web.json_response({"token": canary})
        return await echo.respond(request, got)

    echo.answer = answer
    said = []
    for _ in range(2):
        async with staged(tmp_path, monkeypatch, kept, echo=echo) as on:
            said += [await on.ask("m", f"mode:{mode}") for mode in ("status403", "status400")]
        said.append((0, on.written.getvalue().decode()))
    assert sum("/login/" in got.target for got in echo.asked) == 1
    assert sum(canary in got.whole for got in echo.asked) == 4
    assert [text for _, text in said if leaks(canaries, text.encode())] == []


WRONG = (
    "base_url: '{}'\nmodels: [m]\ndialect: openai_chat",
    "base_url: 'ftp://u:{}@chat.example.com'\nmodels: [m]\ndialect: openai_chat",
    "dialect: '{}'\nmodels: [m]\nbase_url: https://a.example",
    "timeouts: {{ total: '{}' }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "limits: {{ concurrency: '{}' }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "limits: {{ answer: '{}' }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "upstream: {{ cookies: '{}' }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "stream: {{ use: '{}' }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "retry: {{ for: ['{}'] }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "priority: '{}'\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "session: {{ key: ['{}'] }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    "name: 'a {}'\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example",
    'auth: {{ bearer: "a\\n{}" }}\nmodels: [m]\ndialect: openai_chat\nbase_url: https://a.example',
)


@pytest.mark.parametrize("at", range(len(WRONG)))
def test_a_secret_in_the_wrong_place_is_not_repeated_in_the_complaint(at: int) -> None:
    canaries = Canaries()
    env = {"X": canaries["wrong"]}
    compiled = compile_route(
        b"version: 1\n" + WRONG[at].format("${env:X}").encode(),
        "one.yaml",
        Sources(Outside(env)),
    )
    said = "\n".join(map(str, compiled.problems))
    assert compiled.errors
    assert leaks(canaries, said.encode()) == []


@pytest.mark.parametrize(
    "text",
    [
        "clients: {{ keys: ['{key} with a space'] }}",
        "clients: {{ keys: ['{key}', short] }}",
        "clients: {{ keys: ['{key}'] }}\nadmin: {{ key: '{key}' }}",
        "clients: {{ keys: ['{key}'], auth: none }}",
        "clients: {{ keys: {{ a: '{key}' }} }}",
        "clients: {{ keys: ['${{env:X}}'] , auth: '${{env:X}}' }}",
        "clients: {{ auth: none }}\nlisten: {{ port: '${{env:X}}' }}",
        "clients: {{ auth: none }}\nadmin: {{ key: '${{env:X}} spaced' }}",
        "clients: {{ auth: none }}\nlog: {{ level: '${{env:X}}' }}",
    ],
)
def test_what_is_wrong_with_a_key_is_told_without_the_key(text: str, tmp_path: Path) -> None:
    canaries = Canaries()
    file = tmp_path / "penstock.yaml"
    file.write_text("version: 1\n" + text.format(key=canaries["key"]) + "\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {"X": canaries["env"]})
    told = "".join(traceback.format_exception(caught.value))
    assert leaks({"env": canaries["env"]}, told.encode()) == []
    heads = "\n".join(str(problem).partition("\n")[0] for problem in caught.value.problems)
    assert leaks(canaries, heads.encode()) == []
