"""A service that nobody has heard of, bridged with nothing but the docs, and broken in ten ways.

Heron speaks JSON lines whose content is JSON in a string. It repeats the whole text in each record,
gives its pass in a header of the login's answer, and answers every failure with status 200.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner

from engine.cli import main

ROOT = Path(__file__).resolve().parents[1]
SECRET = "kingfisher-by-the-river"
PIECES = ["Good ", "day, ", "☃ ", "traveller."]

ROUTE = """\
# Heron, a made-up chat service.
version: 1
base_url: "${env:HERON_URL:-https://heron.example.com}"
models: [{ id: heron-grey, upstream: grey }]

auth:
  from: { inline: { nick: ann, word: "${env:HERON_WORD}" } }
  header: { X-Heron-Pass: "{{ values.pass }}" }

values:
  pass:
    scope: account
    request:
      path: /pass
      json: { nick: "{{ account.nick }}", word: "{{ account.word }}" }
    extract:
      - header: X-Heron-Pass
    ttl: { json: $.good_for, minus: 60s }
    refresh_for: auth_expired

transforms:
  - flatten_history: { labels: { user: "", assistant: Heron } }

request:
  path: /perch
  json:
    bird: "{{ model.upstream }}"
    call: "{{ req.prompt }}"
    warmth: "{{ req.temperature }}"

stream:
  format: ndjson
  reduce: snapshot
  events:
    - match: { wire: "" }
      ignore: true
    - each: $.wire | from_json
      match: { step: mull }
      reasoning: $.so_far
    - each: $.wire | from_json
      match: { step: say }
      text: $.so_far
    - each: $.wire | from_json
      match: { step: fell }
      error: { message: $.why, class: retryable }
    - each: $.wire | from_json
      match: { step: over }
      finish: { path: $.because, map: { full-stop: stop, net: length, "*": stop } }
      usage: { input: $.eggs_in, output: $.eggs_out }

errors:
  message: $.why
  rules:
    - { match: { state: error, num: 31 }, as: auth_expired }
    - { match: { state: error, num: 50 }, as: context_length }
    - { match: { state: error }, as: retryable }

retry: { backoff: { initial: 10ms } }
"""

FIXTURE = r"""
fixture: 1
route: heron
note: a pass that has flown, a new one, and an answer
env: { HERON_WORD: not-a-real-word }
client: { json: { model: heron-grey, stream: true, messages: [{ role: user, content: hello }] } }
exchanges:
  - expect: { method: POST, url: /pass, json: { nick: ann, word: not-a-real-word } }
    reply: { headers: { X-Heron-Pass: hp-1 }, json: { good_for: 900 } }
  - expect: { url: /perch, headers: { x-heron-pass: hp-1 } }
    reply: { body: '{"state":"error","num":31,"why":"your pass has flown"}' }
  - expect: { url: /pass }
    reply: { headers: { X-Heron-Pass: hp-2 }, json: { good_for: 900 } }
  - expect:
      headers: { x-heron-pass: hp-2 }
      json: { bird: grey, call: hello }
      exact: true
    reply:
      body: |
        {"wire":"{\"step\":\"mull\",\"so_far\":\"Hm\"}"}
        {"wire":""}
        {"wire":"{\"step\":\"say\",\"so_far\":\"Good\"}"}
        {"wire":"{\"step\":\"say\",\"so_far\":\"Good day.\"}"}
        {"wire":"{\"step\":\"over\",\"because\":\"net\",\"eggs_in\":4,\"eggs_out\":2}"}
expect: { text: Good day., reasoning: Hm, finish: length, usage: { input: 4, output: 2 } }
"""


# ---- the service ----


class Heron(ThreadingHTTPServer):
    """Passes are `hp-1`, `hp-2` and so on; the newest is good, until `valid` is taken away."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Perch)
        self.numbers = itertools.count(1)
        self.valid = ""
        self.calls: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Perch(BaseHTTPRequestHandler):
    server: Heron
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.path, body))
        self.log_in(body) if self.path == "/pass" else self.talk(body)

    def log_in(self, body: dict[str, str]) -> None:
        if body != {"nick": "ann", "word": SECRET}:
            self.fail(17, "nobody of that name")
            return
        self.server.valid = f"hp-{next(self.server.numbers)}"
        self.answer([{"good_for": 900}], ("X-Heron-Pass", self.server.valid))

    def talk(self, body: dict[str, str]) -> None:
        if self.headers["X-Heron-Pass"] != self.server.valid:
            self.fail(31, "your pass has flown")
        elif len(body["call"]) > 200:
            self.fail(50, "that call is too long")
        else:
            lines = [{"wire": json.dumps(step)} for step in _steps(body["call"])]
            self.answer([lines[0], {"wire": ""}, *lines[1:]])

    def fail(self, num: int, why: str) -> None:
        self.answer([{"state": "error", "num": num, "why": why}])

    def answer(self, lines: list[Any], *headers: tuple[str, str]) -> None:
        """Status 200, whatever happened; a chunk for each line."""
        self.send_response(200)
        for name, value in (("Transfer-Encoding", "chunked"), *headers):
            self.send_header(name, value)
        self.end_headers()
        for line in [json.dumps(line).encode() + b"\n" for line in lines]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")


def _steps(call: str) -> Iterator[dict[str, object]]:
    yield {"step": "mull", "so_far": "Somebody calls."}
    for text in itertools.accumulate(PIECES):
        yield {"step": "say", "words" if call == "rename" else "so_far": text}
    if call == "fall":
        yield {"step": "fell", "why": "the branch broke"}
    elif call == "count":
        yield {"step": "over", "because": "full-stop", "eggs_in": "4", "eggs_out": None}
    else:
        yield {"step": "over", "because": "full-stop", "eggs_in": 4, "eggs_out": 5}


# ---- both running ----


@pytest.fixture(scope="module")
def heron() -> Iterator[Heron]:
    with Heron() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def serving(folder: Path, heron: Heron, word: str = SECRET) -> Iterator[openai.OpenAI]:
    """`penstock serve` on the folder's routes, and the official client for it."""
    _write(folder, ROUTE)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "serve", "--open", "--port", "0"],
            cwd=folder,
            env={**os.environ, "HERON_URL": heron.url, "HERON_WORD": word, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("Penstock serves 1 route on http"), line
            url = line.split()[5].rstrip(":")
            with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
                yield client
        finally:
            process.terminate()


def _write(folder: Path, route: str) -> None:
    (folder / "routes").mkdir(exist_ok=True)
    (folder / "routes" / "heron.yaml").write_text(route, "utf-8")


@pytest.fixture(scope="module")
def client(heron: Heron, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with serving(tmp_path_factory.mktemp("heron"), heron) as running:
        yield running


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert ["heron-grey"] == [model.id for model in client.models.list()]


def test_an_answer_comes_in_one_piece(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="heron-grey", messages=[{"role": "user", "content": "hello"}]
    )
    (choice,) = answer.choices
    assert "".join(PIECES) == choice.message.content
    assert "stop" == choice.finish_reason
    assert answer.usage is not None
    assert (4, 5) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


@pytest.mark.parametrize("stream", [False, True])
def test_a_count_that_is_missing_is_estimated_and_marked(
    client: openai.OpenAI, stream: bool
) -> None:
    create: Any = client.chat.completions.create
    options = {"stream_options": {"include_usage": True}} if stream else {}
    messages = [{"role": "user", "content": "count"}]
    answer = create(model="heron-grey", stream=stream, messages=messages, **options)
    usage = [*answer][-1].usage if stream else answer.usage
    assert 4 == usage.prompt_tokens
    assert usage.completion_tokens > 4
    assert {"penstock_estimated": True} == usage.model_extra


def test_a_service_that_renames_its_words_gives_an_error_and_no_empty_answer(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.InternalServerError, match="has no text the route reads"):
        client.chat.completions.create(
            model="heron-grey", messages=[{"role": "user", "content": "rename"}]
        )


def test_an_answer_comes_piece_by_piece(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="heron-grey", stream=True, messages=[{"role": "user", "content": "hello"}]
    )
    deltas = [chunk.choices[0].delta for chunk in stream]
    assert PIECES == [delta.content for delta in deltas if delta.content]
    thoughts = [getattr(delta, "reasoning_content", None) for delta in deltas]
    assert ["Somebody calls."] == [thought for thought in thoughts if thought]


def test_a_pass_that_has_flown_is_renewed(client: openai.OpenAI, heron: Heron) -> None:
    heron.valid = "another"
    heron.calls.clear()
    client.chat.completions.create(
        model="heron-grey",
        temperature=0.5,
        messages=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "yes?"},
            {"role": "user", "content": "again"},
        ],
    )
    *_, (_, sent) = heron.calls
    assert ["/perch", "/pass", "/perch"] == [path for path, _ in heron.calls]
    assert {"bird": "grey", "call": "hello\nHeron: yes?\nagain", "warmth": 0.5} == sent


def test_a_call_that_is_too_long_is_the_clients_mistake(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="that call is too long") as caught:
        client.chat.completions.create(
            model="heron-grey", messages=[{"role": "user", "content": "long " * 50}]
        )
    assert "context_length_exceeded" == caught.value.code


def test_a_failure_in_the_stream_is_an_error_and_not_an_answer(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="heron-grey", stream=True, messages=[{"role": "user", "content": "fall"}]
    )
    seen: list[str] = []
    with pytest.raises(openai.APIError, match="the branch broke"):
        seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert PIECES == [piece for piece in seen if piece]


def test_a_login_that_fails_is_told_and_its_secret_is_not(heron: Heron, tmp_path: Path) -> None:
    with (
        serving(tmp_path, heron, word="a-wrong-word-of-hers") as client,
        pytest.raises(openai.APIStatusError, match="`pass` was not found") as caught,
    ):
        client.chat.completions.create(
            model="heron-grey", messages=[{"role": "user", "content": "hello"}]
        )
    assert 503 == caught.value.status_code
    assert "a-wrong-word-of-hers" not in (tmp_path / "log").read_text()


# ---- before it is served ----


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the route in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERON_WORD", SECRET)
    _write(tmp_path, ROUTE)
    return tmp_path


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(args))
    return result.exit_code, result.output


def test_check_has_nothing_to_say(desk: Path) -> None:
    assert (0, "1 file checked: 0 errors, 0 warnings\n") == run("check", "--deny-warnings")


def test_explain_shows_both_requests_and_no_secret(desk: Path) -> None:
    code, output = run("explain", "heron")
    assert code == 0
    assert "POST https://heron.example.com/pass" in output
    assert "X-Heron-Pass: «values.pass»" in output
    assert SECRET not in output


def test_the_fixture_holds_however_it_is_delivered(desk: Path) -> None:
    (desk / "fixtures").mkdir()
    (desk / "fixtures" / "heron.yaml").write_text(FIXTURE, "utf-8")
    code, output = run("test")
    assert code == 0, output
    assert "1 fixtures: 1 ok, 0 failed" in output


@dataclass(frozen=True)
class Break:
    """What is written instead; the place, the message and how many characters are underlined."""

    written: str
    instead: str
    place: str
    message: str
    length: int = 1


BREAKS = {
    "key": Break(
        "match: { step: say }",
        "mach: { step: say }",
        "41:7",
        "E101: unknown key `mach` in `stream.events[2]`; did you mean `match`?",
        4,
    ),
    "variable": Break(
        "{{ req.prompt }}",
        "{{ req.promt }}",
        "28:19",
        "E302: `request.json`: `req.promt` does not exist; did you mean `req.prompt`?",
    ),
    "part_of_the_account": Break(
        "{{ account.nick }}",
        "{{ account.nik }}",
        "15:33",
        "E302: `values.pass.request.json`: `account.nik` does not exist; did you mean "
        "`account.nick`?",
    ),
    "filter": Break(
        "from_json\n      match: { step: say }",
        "from_jsn\n      match: { step: say }",
        "40:22",
        "E303: `stream.events[2].each`: the filter `from_jsn` does not exist; did you mean "
        "`from_json`?",
    ),
    "path": Break(
        "text: $.so_far",
        "text: so_far",
        "42:13",
        "E303: `stream.events[2].text`: a path begins with `$`: write `$.so_far`",
    ),
    "quotes": Break(
        '"{{ values.pass }}"',
        "{{ values.pass }}",
        "8:28",
        'E010: a value that starts with `{{` must be quoted: "{{ … }}"',
    ),
    "list": Break(
        "      - header: X-Heron-Pass",
        "      header: X-Heron-Pass",
        "17:15",
        "E102: `values.pass.extract.header` must be a list (here: `[{ header: … }]`), not "
        "`X-Heron-Pass`",
        12,
    ),
    "unit": Break(
        "minus: 60s",
        "minus: 60",
        "18:37",
        "E102: `values.pass.ttl.minus` must be a duration such as `20s` or `5m` "
        "(a unit is missing: ms, s, m, h, d), not `60`",
        2,
    ),
    "class": Break(
        "num: 31 }, as: auth_expired",
        "num: 31 }, as: auth_expird",
        "54:47",
        "E104: `errors.rules[0].as`: unknown `auth_expird`; did you mean `auth_expired`?",
        11,
    ),
    "star": Break(
        '"*": stop',
        "*: stop",
        "48:72",
        'E001: not YAML: did not find expected alphabetic or numeric character; quote the key: "*"',
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_mistake_is_named_and_underlined(name: str, desk: Path) -> None:
    made = BREAKS[name]
    assert ROUTE.count(made.written) == 1
    broken = ROUTE.replace(made.written, made.instead)
    _write(desk, broken)
    line, column = map(int, made.place.split(":"))
    expected = [
        f"routes/heron.yaml:{made.place}: error {made.message}",
        f"{line:>6} | {broken.splitlines()[line - 1]}",
        f"       | {' ' * (column - 1)}{'^' * made.length}",
        "1 file checked: 1 error, 0 warnings",
    ]
    code, output = run("check")
    assert (1, expected) == (code, output.splitlines())


def test_a_route_without_an_end_is_warned_of(desk: Path) -> None:
    _write(desk, "\n".join(line for line in ROUTE.splitlines() if "finish:" not in line))
    code, output = run("check", "--deny-warnings")
    assert code == 1
    assert "routes/heron.yaml:34:3: warning W502: nothing tells the end of the answer" in output
