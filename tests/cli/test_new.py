"""penstock new, as it is run, on what a browser recorded of services on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus, urlencode

import pytest
import yaml
from click.testing import CliRunner, Result
from openai import AsyncOpenAI

from engine.cli import main
from engine.masks import forms
from engine.options import Duration, Secret
from engine.shell.app import gateway
from engine.shell.drafting import preset_names
from engine.shell.library import Library
from engine.shell.settings import Clients, Listen, Log, Settings
from engine.shell.stub import listening
from tests.draft.browser import Browser
from tests.draft.services import ASKED, KEY, SERVICES, TEXT, THINKING, THINKS, TOKEN, Service
from tests.shell.kimi_site import Site

CLIENT = "client-key-Za81kq"
CURL = f"""curl 'https://chat.example.com/api/ask' \\
  -H 'accept: text/event-stream' \\
  -H 'authorization: Bearer {KEY}' \\
  -H 'content-type: application/json' \\
  -b 'sid={KEY}x; theme=dark' \\
  --data-raw $'{{"question":"What\\'s up?","model":"owl-2","stream":true}}'"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENSTOCK_ROUTES", raising=False)
    return tmp_path


def run(*args: str, verb: str = "new", stdin: str | None = None) -> Result:
    result = CliRunner().invoke(main, [verb, *args], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@asynccontextmanager
async def visited(home: Path, service: Service, **options: Any) -> AsyncIterator[tuple[str, Path]]:
    """The service while it runs, once a browser was there; its URL, and what the browser saved."""
    async with listening(service.handle) as url:
        async with Browser(url, **options) as browser:
            await service.visit(browser)
        assert [] == service.refused
        (home / "saved.har").write_bytes(browser.har())
        yield url, home / "saved.har"


async def draft(har: Path, *more: str) -> Result:
    return await asyncio.to_thread(run, "--from-har", str(har), *more)


def written(home: Path, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((home / kind / f"{name}.yaml").read_text())
    return found


def leaks(home: Path, result: Result, *secrets: str) -> list[str]:
    """Where a secret stands, in any form: in files, or on the terminal."""
    texts = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    texts.pop(str(home / "saved.har"), None)
    texts["terminal"] = result.output.encode()
    return [
        f"{secret} in {name}"
        for name, data in texts.items()
        for secret in secrets
        for form in forms(secret)
        if form in data
    ]


@asynccontextmanager
async def served(home: Path, **env: str) -> AsyncIterator[AsyncOpenAI]:
    """The routes of a folder behind the real gateway, and the official client of it."""
    settings = Settings(
        listen=Listen(port=0),
        clients=Clients(keys=[Secret(CLIENT)]),
        state=str(home / "state"),
        log=Log(level="error"),
        watch="off",
        drain=Duration(1.0),
    )
    library = Library([home / "routes"], env=env)
    async with (
        gateway(settings, library, strict=True) as running,
        AsyncOpenAI(base_url=f"{running.url}/v1", api_key=CLIENT, max_retries=0) as client,
    ):
        yield client


# ---- from a HAR file ----

ENV = {
    "openai_chat": {"OPENAI_CHAT_KEY": KEY},
    "anthropic": {"ANTHROPIC_X_API_KEY": KEY},
    "gemini": {"GEMINI_X_GOOG_API_KEY": KEY},
    "ollama": {},
    "snapshots": {"SNAPSHOTS_COOKIE": f"sid={KEY}; theme=dark"},
    "tagged": {"TAGGED_X_API_KEY": KEY},
    "nested": {"NESTED_TOKEN": KEY},
    "phases": {"PHASES_KEY": KEY},
    "nonce": {},
    "chats": {"CHATS_REFRESH_TOKEN": KEY},
}


@pytest.mark.parametrize("coded", [False, True], ids=["text", "base64"])
@pytest.mark.parametrize("name", SERVICES)
async def test_a_route_passes_its_own_fixture_as_it_was_drafted(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, coded: bool
) -> None:
    service = SERVICES[name]()
    async with visited(home, service, coded=coded) as (_, har):
        result = await draft(har, "--name", name)
    assert 0 == result.exit_code, result.output
    lines = result.output.splitlines()
    assert [
        f"Wrote routes/{name}.yaml", "Checked: no mistake", f"Wrote fixtures/{name}.yaml",
        "Replayed: as recorded",
    ] == lines[:4]  # fmt: skip
    expect = written(home, "fixtures", name)["expect"]
    thinking = THINKING if name in THINKS else None
    assert (TEXT, thinking, "stop") == (
        expect["text"],
        expect.get("reasoning"),
        expect["finish"],
    )
    assert [f"export {variable}=…" for variable in ENV[name]] == [
        line for line in lines if line.startswith("export")
    ]
    for variable in ENV[name]:
        monkeypatch.setenv(variable, "not-a-real-one")
    assert 0 == run("routes", "--deny-warnings", verb="check").exit_code
    tried = await asyncio.to_thread(run, verb="test")
    assert (0, "1 fixtures: 1 ok, 0 failed") == (tried.exit_code, tried.output.splitlines()[-1])
    assert [] == leaks(home, result, KEY, TOKEN, "9a8b7c6d50", "ann@example.org")


@pytest.mark.parametrize("name", SERVICES)
async def test_the_official_client_is_answered_by_a_drafted_route(home: Path, name: str) -> None:
    service = SERVICES[name]()
    async with visited(home, service) as (_, har):
        result = await draft(har, "--name", name)
        assert 0 == result.exit_code, result.output
        async with served(home, **ENV[name]) as client:
            (model,) = (await client.models.list()).data
            question = [{"role": "user", "content": "Another one: why?"}]
            asked: Any = {"model": model.id, "messages": question}
            if name not in ("openai_chat", "anthropic", "gemini", "ollama"):  # these stream alone
                whole = await client.chat.completions.create(**asked)
                assert (TEXT, "stop") == (
                    whole.choices[0].message.content,
                    whole.choices[0].finish_reason,
                )
            stream = await client.chat.completions.create(**asked, stream=True)
            pieces = [
                chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices
            ]
    assert TEXT == "".join(pieces)
    assert [] == service.refused
    sent = unquote_plus(service.bodies[-1].decode())
    assert ("Another one: why?" in sent, ASKED in sent) == (True, False), sent


async def test_a_dialect_needs_no_rules(home: Path) -> None:
    for name in ("openai_chat", "anthropic", "gemini", "ollama"):
        async with visited(home, SERVICES[name]()) as (_, har):
            await draft(har, "--name", name)
        route = written(home, "routes", name)
        assert name.partition("_")[0] == route["extends"]
        assert {"request", "stream", "response"}.isdisjoint(route)


async def test_what_stands_in_earlier_answers_is_fetched(home: Path) -> None:
    async with visited(home, SERVICES["chats"]()) as (_, har):
        await draft(har, "--name", "chats")
    route = written(home, "routes", "chats")
    assert ["token", "chat_id"] == list(route["values"])
    assert ("route", "request") == tuple(value["scope"] for value in route["values"].values())
    assert "/api/chats/{{ values.chat_id | urlpath }}/ask" == route["request"]["path"]
    assert {"bearer": "{{ values.token }}"} == route["auth"]
    expect = written(home, "fixtures", "chats")["exchanges"]
    assert ["/api/session", "/api/chats"] == [
        each["expect"]["url"].partition("0.1:")[2][5:] for each in expect[:2]
    ]


async def test_a_nonce_that_has_expired_is_fetched_again(home: Path) -> None:
    site = Site()

    async def visit(browser: Browser) -> None:
        page = await browser.ask("GET", "/chat/")
        nonce = page.partition('php","nonce":"')[2].partition('"')[0]
        form = {
            "action": "kimi_send_message", "nonce": nonce, "message": ASKED,
            "model": "moonshotai/Kimi-K2-Instruct", "session_id": "session_1767225600123_k3j9x0q2z",
        }  # fmt: skip
        path, kind = "/wp-admin/admin-ajax.php", "application/x-www-form-urlencoded"
        ajax = {"x_requested_with": "XMLHttpRequest"}
        await browser.ask("POST", path, urlencode(form).encode(), kind, **ajax)

    async with listening(site.handle) as url:
        async with Browser(url) as browser:
            await visit(browser)
        (home / "saved.har").write_bytes(browser.har())
        assert 0 == (await draft(home / "saved.har")).exit_code
        async with served(home) as client:
            for refuse in ("json", "status"):
                site.refuse = refuse
                site.expire()
                answer = await client.chat.completions.create(
                    model="Kimi-K2-Instruct", messages=[{"role": "user", "content": refuse}]
                )
                assert f"You said: {refuse}" == answer.choices[0].message.content


async def test_the_words_of_the_user_say_which_request_was_the_chat(home: Path) -> None:
    async with visited(home, SERVICES["nonce"]()) as (_, har):
        good = await draft(har, "--prompt", ASKED)
        bad = await draft(har, "--prompt", "Was never asked", "--force")
    assert (0, "Wrote routes/draft.yaml") == (good.exit_code, good.output.splitlines()[0])
    assert (2, "penstock new: no request in the HAR file sends the words of --prompt\n") == (
        bad.exit_code,
        bad.output,
    )


async def test_an_answer_that_the_browser_left_out_is_said_to_be_missing(home: Path) -> None:
    async with visited(home, SERVICES["tagged"]()) as (_, har):
        pass
    found = json.loads(har.read_bytes())
    found["log"]["entries"][0]["response"]["content"].pop("text")
    har.write_text(json.dumps(found))
    result = await draft(har, "--prompt", ASKED)
    assert 0 == result.exit_code
    assert "the HAR file has no answer of the chat" in result.output
    assert "# guess: how is the answer framed?" in (home / "routes/draft.yaml").read_text()
    assert not (home / "fixtures").exists()


async def test_a_file_without_credentials_is_told(home: Path) -> None:
    async with visited(home, SERVICES["ollama"]()) as (_, har):
        result = await draft(har)
    assert "look at: the HAR file has no credentials: if the service wants some" in result.output


def test_an_answer_that_nothing_reads_gives_no_fixture(home: Path) -> None:
    (home / "answer.txt").write_text('{"n": 1}')
    result = run("--from-curl", CURL, "--answer", "answer.txt")
    assert (1, False) == (result.exit_code, (home / "fixtures").exists())
    assert (
        "look at: nothing in the answer reads like text; write its rules by hand" in result.output
    )


async def test_an_error_is_no_answer_to_draft_from(home: Path) -> None:
    async with visited(home, SERVICES["tagged"]()) as (_, har):
        pass
    found = json.loads(har.read_bytes())
    found["log"]["entries"][0]["response"] |= {"status": 429}
    har.write_text(json.dumps(found))
    result = await draft(har, "--prompt", ASKED)
    assert (0, False) == (result.exit_code, (home / "fixtures").exists())
    assert "look at: the recorded answer is an error (429): record a good one" in result.output


# ---- from a curl command ----


def test_a_command_is_enough_for_a_request(home: Path) -> None:
    result = run("--from-curl", CURL)
    assert 0 == result.exit_code
    route = written(home, "routes", "example")
    assert {"bearer": "${env:EXAMPLE_KEY}"} == route["auth"]
    assert {"question": "{{ req.prompt }}", "model": "{{ model.upstream }}", "stream": True} == (
        route["request"]["json"]
    )
    assert ["export EXAMPLE_KEY=…", "export EXAMPLE_COOKIE=…"] == result.output.splitlines()[2:4]
    assert "routes/example.yaml:15: a guess: how is the answer framed?\n" in result.output
    assert [] == leaks(home, result, KEY)
    assert result.output.endswith("then: penstock explain routes/example.yaml\n")


def test_the_saved_answer_of_a_command_gives_rules_and_a_fixture(home: Path) -> None:
    lines = [{"kind": "word", "piece": "Not "}, {"kind": "word", "piece": "much."}, {"kind": "end"}]
    (home / "answer.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run("--from-curl", "-", "--answer", "answer.txt", stdin=CURL)
    assert (0, "Replayed: as recorded") == (result.exit_code, result.output.splitlines()[3])
    fixture = written(home, "fixtures", "example")
    assert "What's up?" == fixture["client"]["json"]["messages"][0]["content"]
    assert ("Not much.", "stop") == (fixture["expect"]["text"], fixture["expect"]["finish"])
    assert [] == leaks(home, result, KEY)


def test_a_short_secret_is_not_written_into_a_fixture(home: Path) -> None:
    (home / "answer.txt").write_text('{"reply": "Hello to you, too."}')
    command = "curl https://chat.example.com/ask -u ann:pw -d question=Hello+there"
    result = run("--from-curl", command, "--answer", "answer.txt")
    assert 1 == result.exit_code
    assert "env:EXAMPLE_USER, env:EXAMPLE_PASSWORD has less than 6 characters" in result.output
    assert not (home / "fixtures").exists()


CANARY = "qC7/x9+Lm2Zt4Wv8Rb1"
PLACES = [
    "-H 'Authorization: Bearer {}'", "-H 'Authorization: {}'", "-H 'Authorization: Odd {}'",
    "-u 'annabel:{}'", "-u '{}:'", "-H 'X-Api-Key: {}'", "-H 'X-Trace: a {} b'",
    "-H 'Referer: https://chat.example.com/c/{}'", "-H 'Cookie: a={}; b=1'", "-b 'a=1; {}=1'",
    "-G --data-urlencode 'k={}'", "-d 'k={quoted}'", "-F 'k={}'", "--json '{{\"k\":\"{}\"}}'",
    "--json '{{\"note\":\"about {} only\"}}'", "--json '{{\"k\":\"{{\\\"z\\\":\\\"{}\\\"}}\"}}'",
    "--json '{{\"{}\":1}}'", "--data-raw 'plain words and {}' -H 'Content-Type: text/plain'",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_in_no_file_and_not_on_the_terminal(home: Path, place: str) -> None:
    quoted = quote_plus(CANARY)
    options = place.format(CANARY, quoted=quoted)
    command = (
        f"curl 'https://chat.example.com/ask/{quote(CANARY, safe='')}?q=Hello+there' {options}"
    )
    answer = {"reply": "Well, hello.", "again": CANARY, "user": {"access_token": CANARY}}
    (home / "answer.json").write_text(json.dumps(answer))
    result = run("--from-curl", command, "--answer", "answer.json")
    (home / "answer.json").unlink()
    assert [] == leaks(home, result, CANARY)
    good = result.exit_code == 0 and "Replayed: as recorded" in result.output
    assert good or "would hold" in result.output, result.output


def test_a_secret_in_a_place_that_cannot_be_a_variable_is_not_written(home: Path) -> None:
    command = f"curl https://chat.example.com/ask -H 'x-api-key: {KEY}' -d '{KEY}=1&q=Hello+there'"
    result = run("--from-curl", command)
    assert (1, []) == (result.exit_code, list(home.iterdir()))
    assert "nothing is written: line " in result.output
    assert KEY not in result.output


# ---- what needs no recording ----


@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_gives_a_route_without_a_mistake(
    home: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    result = run("--preset", preset, "--name", "mine")
    assert (0, "Wrote routes/mine.yaml") == (result.exit_code, result.output.splitlines()[0])
    text = (home / "routes/mine.yaml").read_text()
    assert f"extends: {preset}\n" in text
    assert "Checked: no mistake" == result.output.splitlines()[1]
    for variable in re.findall(r"\$\{env:(\w+)", text):
        url = "http://127.0.0.1:9" if re.search("URL|ENDPOINT", variable) else "not-a-real-one"
        monkeypatch.setenv(variable, url)
    checked = run("routes/mine.yaml", "--deny-warnings", verb="check")
    assert 0 == checked.exit_code, checked.output


async def test_a_transform_passes_its_test(home: Path) -> None:
    result = run("--transform", "drop_debug")
    assert (0, "Wrote transforms/drop_debug.py\nWrote tests/test_drop_debug.py\n") == (
        result.exit_code,
        result.output,
    )
    args = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_drop_debug.py")
    ran = await asyncio.create_subprocess_exec(
        sys.executable, *args, cwd=home, env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await ran.communicate()
    assert (0, b"3 passed") == (ran.returncode, out.splitlines()[-1][:8])


# ---- wrong use ----


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "give one of --from-curl, --from-har, --preset, --transform"),
        (["--preset", "openai", "--from-har", "x"], "give one of --from-curl, --from-har"),
        (["--preset", "openia"], "no preset `openia`; there are: anthropic, azure-openai"),
        (["--preset", "openai", "--answer", "x"], "--answer goes with --from-curl"),
        (["--preset", "openai", "--name", "../x"], "a route's name may only hold letters, digits"),
        (["--transform", "No-Name"], "a transform's name has a-z, 0-9 and _, a letter first"),
        (["--from-har", "none.har"], "cannot read none.har: No such file or directory"),
        (["--from-har", "bad.har"], "this is no HAR file: it is not JSON"),
        (["--from-curl", "wget https://x"], "this is no curl command"),
        (["--from-curl", "curl https://x -d @body.json"], "`-d @…` sends a file"),
    ],
)  # fmt: skip
def test_wrong_use_is_told(home: Path, args: list[str], said: str) -> None:
    (home / "bad.har").write_text("not json")
    result = run(*args)
    assert (2, True) == (result.exit_code, f"penstock new: {said}" in result.output), result.output
    assert [home / "bad.har"] == list(home.iterdir())


@pytest.mark.parametrize(
    ("args", "file"),
    [
        (("--from-curl", CURL), "routes/example.yaml"),
        (("--from-curl", CURL, "-o", "here.yaml"), "here.yaml"),
        (("--preset", "openai", "-o", "mine"), "mine/openai.yaml"),
        (("--transform", "drop_debug"), "tests/test_drop_debug.py"),
    ],
)
def test_a_file_that_is_there_stays(home: Path, args: tuple[str, ...], file: str) -> None:
    (home / file).parent.mkdir(exist_ok=True)
    (home / file).write_text("mine")
    result = run(*args)
    assert (2, f"penstock new: {file} is there already; --force overwrites it\n") == (
        result.exit_code,
        result.output,
    )
    assert "mine" == (home / file).read_text()
    assert 0 == run(*args, "--force").exit_code
    assert "mine" != (home / file).read_text()
