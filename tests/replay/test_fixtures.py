"""The format of fixtures; and every fixture of this repository, played in every way."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.dialects import Target
from engine.errors import ConfigError
from engine.parsers.frames import Frames
from engine.replay.fixtures import ExpectRequest, Matcher, read_fixture
from engine.shell.testing import Bench, find_fixtures
from engine.wire import HttpRequest
from tests.replaying import fixture

HERE = Path("tests/fixtures")
FILES = find_fixtures([HERE])
ROUTES = [Path("routes")]

# ---- all fixtures ----


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(ROUTES, depth="quick", http=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HERE)))
async def test_a_client_sees_what_the_fixture_says(bench: Bench, file: Path) -> None:
    trial = await bench.attempt(file)
    assert trial.complaints == []


async def test_every_rule_and_transform_of_a_route_with_fixtures_is_reached() -> None:
    alone = Bench(ROUTES, depth="off", http=False)
    for file in FILES:
        await alone.attempt(file)
    assert {route: [] for route in alone.gaps()} == alone.gaps()


def test_a_fixture_lies_in_the_folder_of_its_route() -> None:
    routes = {
        file: read_fixture(file.read_bytes(), str(file), _nothing).spec.route for file in FILES
    }
    assert {file: file.parent.name for file in FILES} == routes


def _nothing(name: str) -> bytes:
    return b""


# ---- reading ----


def test_a_client_may_name_model_and_stream_in_its_path() -> None:
    path = "/v1beta/models/m:streamGenerateContent?alt=sse"
    asks = {"dialect": "gemini", "path": path, "json": {"contents": [{"parts": [{"text": "a"}]}]}}
    client = fixture(client=asks).spec.client
    assert client is not None
    assert (Target("m", True, {"alt": "sse"}), True) == (client.target, client.streams)
    other = fixture().spec.client
    assert other is not None
    assert (Target(), True) == (other.target, other.streams)
    broken = fixture(client={"dialect": "gemini", "json": {}}).spec.client
    assert broken is not None
    assert broken.streams is False


def test_the_client_asks_as_often_as_it_says_and_then_with_changes() -> None:
    then = [{"n": 2}, {"model": "k"}]
    asks = {"json": {"model": "m", "n": 1}, "times": 2, "then": then, "wait": "2m"}
    client = fixture(client=asks).spec.client
    assert client is not None
    assert client.bodies() == [
        b'{"model":"m","n":1}',
        b'{"model":"m","n":1}',
        b'{"model":"m","n":2}',
        b'{"model":"k","n":1}',
    ]
    assert float(client.wait) == 120


def test_bodies_come_as_text_json_base64_or_from_a_file_beside() -> None:
    text = """
fixture: 1
route: made
exchanges:
  - reply: { body: "ä" }
  - reply: { json: { a: [1, "ä"] } }
  - reply: { base64: AAH/ }
  - reply: { body_file: page.html }
  - {}
"""
    made = read_fixture(text.encode(), "f.yaml", lambda name: f"<p>{name}".encode())
    assert made.bodies == (
        "ä".encode(),
        '{"a":[1,"ä"]}'.encode(),
        b"\x00\x01\xff",
        b"<p>page.html",
        b"",
    )


def test_all_mistakes_of_a_fixture_are_told_with_their_places() -> None:
    text = b"fixture: 1\nroute: r\nexchanges:\n  - replay: {}\n  - reply: { statos: 200 }\n"
    with pytest.raises(ConfigError) as caught:
        read_fixture(text, "f.yaml", _nothing)
    assert [(p.line, p.code) for p in caught.value.problems] == [(4, "E101"), (5, "E101")]


def test_a_file_that_is_not_beside_the_fixture_is_a_mistake() -> None:
    def missing(name: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory")

    text = b"fixture: 1\nroute: r\nexchanges: [{ reply: { body_file: page.html } }]\n"
    with pytest.raises(ConfigError, match=r"cannot read `page.html`: No such file"):
        read_fixture(text, "f.yaml", missing)


# ---- comparing ----

REQUEST = HttpRequest(
    "POST",
    "https://a.example/chat",
    (("Content-Type", "application/json"), ("X-Id", "7")),
    (("region", "eu"),),
    b'{"model":"m","n":1,"deep":{"list":[1,{"a":true}]},"id":"123e4567-e89b-12d3-a456-426614174000"}',
)
FORM = HttpRequest("POST", "https://a.example/form", (), (), b"a=1+1&b=%E4%BD%A0&c=")


@pytest.mark.parametrize(
    "expect",
    [
        ExpectRequest(),
        ExpectRequest(method="POST", url="/chat"),
        ExpectRequest(url="https://a.example/chat", query={"region": "eu"}),
        ExpectRequest(headers={"x-id": "7", "CONTENT-TYPE": "/json$/"}, absent=["Authorization"]),
        ExpectRequest(json={"model": "m"}),
        ExpectRequest(json={"deep": {"list": [1, {"a": True}]}}),
        ExpectRequest(json={"model": "«any»", "id": "«uuid»"}),
        ExpectRequest(json={"model": "«m»"}, headers={"X-Id": "«id»"}),
        ExpectRequest(body='/"n":1/'),
    ],
)
def test_named_fields_are_compared_and_the_rest_is_free(expect: ExpectRequest) -> None:
    assert Matcher().differences(expect, REQUEST) == []


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        (ExpectRequest(method="GET"), "method should be 'GET', is 'POST'"),
        (ExpectRequest(url="/talk"), "url should be '/talk', is '/chat'"),
        (ExpectRequest(query={"zone": "1"}), "query zone is missing"),
        (ExpectRequest(headers={"x-id": "8"}), "header x-id should be '8', is '7'"),
        (ExpectRequest(absent=["x-id"]), "header x-id was sent"),
        (ExpectRequest(json={"n": "1"}), "json.n should be '1', is 1"),
        (ExpectRequest(json={"n": True}), "json.n should be True, is 1"),
        (ExpectRequest(json={"deep": {"list": [1]}}), "json.deep.list should be [1]"),
        (ExpectRequest(json={"missing": None}), "json.missing is missing"),
        (ExpectRequest(json={"model": "«uuid»"}), "json.model should be '«uuid»', is 'm'"),
        (ExpectRequest(body="/x{9}/"), "body should be '/x{9}/'"),
    ],
)
def test_a_difference_is_told_in_words(expect: ExpectRequest, difference: str) -> None:
    found = Matcher().differences(expect, REQUEST)
    assert [each[: len(difference)] for each in found] == [difference]


def test_exact_lets_no_other_field_be_there() -> None:
    expect = ExpectRequest(json={"model": "m"}, exact=True)
    found = Matcher().differences(expect, REQUEST)
    assert found == [f"json.{name} is unexpected" for name in ("n", "deep", "id")]


def test_a_form_is_compared_after_decoding() -> None:
    expect = ExpectRequest(form={"a": "1 1", "b": "你", "c": ""}, exact=True)
    assert Matcher().differences(expect, FORM) == []
    assert Matcher().differences(ExpectRequest(form={"a": "1+1"}), FORM) == [
        "form.a should be '1+1', is '1 1'"
    ]


def test_a_name_stands_for_one_text_and_no_other_name_does() -> None:
    matcher = Matcher()
    one, two = ExpectRequest(form={"a": "«one»"}), ExpectRequest(form={"a": "«two»"})
    assert matcher.differences(one, FORM) == []
    assert matcher.differences(one, FORM) == []
    assert matcher.differences(two, FORM) == ["form.a should be '«two»', is '1 1'"]
    other = HttpRequest("POST", "https://a.example/form", (), (), b"a=2")
    assert matcher.differences(one, other) == ["form.a should be '«one»', is '2'"]
    assert matcher.differences(two, other) == []


def test_a_request_that_does_not_fit_teaches_no_name() -> None:
    matcher = Matcher()
    assert matcher.differences(ExpectRequest(form={"a": "«one»", "b": "no"}), FORM) != []
    assert matcher.names == {}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'\0\0\0\0\7{"a":1}', []),
        (b'\0\0\0\0\7{"a":2}', ["json.a should be 1, is 2"]),
        (b'{"a":1}', ["body should be one frame", "json should be {'a': 1}, is None"]),
        (b'\0\0\0\0\7{"a":1}\0', ["body should be one frame", "json should be {'a': 1}, is None"]),
        (b'\2\0\0\0\7{"a":1}', ["body should be one frame", "json should be {'a': 1}, is None"]),
    ],
)
def test_a_body_in_a_frame_is_compared_by_what_is_in_it(body: bytes, told: list[str]) -> None:
    expect = ExpectRequest(json={"a": 1}, frames=Frames(flags=True))
    assert (
        Matcher().differences(expect, HttpRequest("POST", "https://a.example", body=body)) == told
    )
