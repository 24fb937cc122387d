"""Finding fixtures and their routes, and trying them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.shell.testing import Bench, Trial, find_fixtures
from tests.replaying import ASKS, HI, sse

ROUTE = """\
version: 1
base_url: "${env:SITE:-https://made.example}"
models: [m]
request: { path: /, json: { q: "{{ req.prompt }}" } }
stream:
  format: sse
  events:
    - { match: { kind: word }, text: $.word }
    - { match: { kind: bye }, finish: stop }
"""
GOOD = {"reply": {"body": sse({"kind": "word", "word": "Hi"}, {"kind": "bye"})}}


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    folder = tmp_path / "routes"
    folder.mkdir()
    (folder / "made.yaml").write_text(ROUTE)
    return folder


def write(path: Path, *exchanges: dict[str, Any], **more: Any) -> Path:
    spec = {"fixture": 1, "route": "made", "client": ASKS, "exchanges": list(exchanges), **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in spec.items())
    path.write_text("\n".join(lines))
    return path


async def tried(routes: Path, file: Path, **options: Any) -> Trial:
    bench = Bench([routes], **{"depth": "quick", "http": True, **options})
    return await bench.attempt(file)


# ---- finding ----


def test_only_files_that_say_fixture_are_found_in_folders(tmp_path: Path) -> None:
    one, two = write(tmp_path / "b/one.yaml"), write(tmp_path / "a/two.yml")
    (tmp_path / "a/route.yaml").write_text("version: 1\nx-fixture: 1\n")
    (tmp_path / "a/page.html").write_text("fixture: 1\n")
    assert find_fixtures([tmp_path]) == [two, one]


def test_a_file_that_is_named_is_taken_whatever_it_says(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text("version: 1\n")
    assert find_fixtures([tmp_path / "route.yaml"] * 2) == [tmp_path / "route.yaml"]


# ---- trying ----

POOL = (
    ROUTE
    + """\
auth:
  from: { first_of: [ { file: ~/keys.txt }, { file: more.txt } ] }
  bearer: "{{ account.key }}"
"""
)


async def test_a_fixture_brings_the_files_of_its_route(routes: Path, tmp_path: Path) -> None:
    (routes / "made.yaml").write_text(POOL)
    (routes / "more.txt").write_text("key-on-the-disk")
    asked = {"expect": {"headers": {"authorization": "Bearer key-1"}}, **GOOD}
    told = write(tmp_path / "f.yaml", asked, files={"~/keys.txt": "key-1"})
    assert (await tried(routes, told)).complaints == []
    bare = write(tmp_path / "g.yaml", asked, files={"other.txt": "key-1"})
    (complaint,) = (await tried(routes, bare)).complaints
    assert "cannot read file `more.txt`: not among the files of the fixture" in complaint


async def test_a_fixture_that_holds_has_no_complaints(routes: Path, tmp_path: Path) -> None:
    trial = await tried(routes, write(tmp_path / "f.yaml", GOOD, note="hm", expect={"text": "Hi"}))
    assert (trial.route, trial.note, trial.complaints) == ("made", "hm", [])
    assert trial.seconds > 0


async def test_a_fixture_that_does_not_hold_is_told_once(routes: Path, tmp_path: Path) -> None:
    trial = await tried(routes, write(tmp_path / "f.yaml", GOOD, expect={"text": "Ho"}))
    assert trial.complaints == ["text should be 'Ho', is 'Hi'"]


async def test_a_route_is_found_by_its_file_beside_the_fixture(
    routes: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "deep/f.yaml", GOOD, route="../routes/made.yaml", expect={"text": "Hi"})
    assert (await tried(tmp_path / "nowhere", file)).complaints == []


async def test_examples_that_come_along_are_found_by_name(tmp_path: Path) -> None:
    asks = {"json": {"model": "demo", "messages": HI}}
    reply = {"body": sse({"kind": "word", "piece": "Hi"}, {"kind": "bye"})}
    file = write(tmp_path / "f.yaml", {"reply": reply}, route="demo", client=asks)
    assert (await tried(tmp_path / "nowhere", file)).complaints == []


@pytest.mark.parametrize("name", ["nobody", "../nobody.yaml"])
async def test_a_route_that_is_not_there_is_told(routes: Path, tmp_path: Path, name: str) -> None:
    trial = await tried(routes, write(tmp_path / "f.yaml", GOOD, route=name))
    assert trial.complaints == [f"there is no route `{name}`"]


async def test_a_route_that_is_broken_is_told_with_the_place(routes: Path, tmp_path: Path) -> None:
    (routes / "made.yaml").write_text(ROUTE + "strem: {}\n")
    (complaint,) = (await tried(routes, write(tmp_path / "f.yaml", GOOD))).complaints
    assert "made.yaml:10:1: error E101: unknown key `strem`" in complaint


async def test_a_fixture_that_cannot_be_read_is_told(routes: Path, tmp_path: Path) -> None:
    broken = write(tmp_path / "f.yaml", {"reply": {"body_file": "page.html"}})
    assert "cannot read `page.html`" in (await tried(routes, broken)).complaints[0]
    broken.write_text("fixture: 1\nroute: [\n")
    assert "error E001" in (await tried(routes, broken)).complaints[0]


async def test_the_environment_is_the_fixtures_own(
    routes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE", "https://process.example")
    bench = Bench([routes], depth="off", http=True)
    for env, url in (
        ({}, "https://made.example/"),
        ({"SITE": "http://a.example"}, "http://a.example/"),
    ):
        file = write(tmp_path / "f.yaml", {"expect": {"url": url}, **GOOD}, env=env)
        assert (await bench.attempt(file)).complaints == []


async def test_a_fixture_without_a_client_is_for_mock_only(routes: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("fixture: 1\nroute: made\nexchanges: [{}]\n")
    assert (await tried(routes, file)).complaints == []


async def test_what_only_sockets_show_is_told_as_such(
    routes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiohttp.ClientResponse.content_type", "text/plain")
    file = write(tmp_path / "f.yaml", GOOD)
    assert (await tried(routes, file, http=False)).complaints == []
    (complaint,) = (await tried(routes, file)).complaints
    assert complaint.startswith("through sockets: content type should be")


async def test_what_only_fuzzing_shows_is_told_with_the_way(
    routes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parsers.sse.SseParser.finish", lambda parser: [])
    body = sse({"kind": "word", "word": "Hi"}, {"kind": "bye"})
    file = write(tmp_path / "f.yaml", {"reply": {"body": body}})
    assert (await tried(routes, file, depth="off", http=False)).complaints == []
    complaints = (await tried(routes, file, http=False)).complaints
    assert {each.partition(",")[0] for each in complaints} == {"no last blank line"}


async def test_a_stall_is_not_waited_for_through_sockets(routes: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "f.yaml",
        {"reply": {"body": "", "end": "stall"}, "repeat": 3},
        expect={"status": 504, "error": {"class": "timeout"}},
    )
    assert (await tried(routes, file)).complaints == []


async def test_usage_is_asked_of_sockets_only_where_the_client_asked(
    routes: Path, tmp_path: Path
) -> None:
    bye = "{ match: { kind: bye }, finish: stop, usage: { output: $.out } }"
    (routes / "made.yaml").write_text(ROUTE.replace("{ match: { kind: bye }, finish: stop }", bye))
    body = sse({"kind": "word", "word": "Hi"}, {"kind": "bye", "out": 7})
    for options in ({}, {"stream_options": {"include_usage": True}}):
        asks = {"json": {**ASKS["json"], **options}}
        file = write(
            tmp_path / "f.yaml",
            {"reply": {"body": body}},
            client=asks,
            expect={"usage": {"output": 7}},
        )
        assert (await tried(routes, file)).complaints == []


# ---- coverage ----


async def test_gaps_are_those_of_all_fixtures_together(routes: Path, tmp_path: Path) -> None:
    rules = "errors: { rules: [{ status: 418, as: fatal }, { status: 419, as: fatal }] }\n"
    (routes / "made.yaml").write_text(ROUTE + rules)
    bench = Bench([routes], depth="off", http=False)
    await bench.attempt(write(tmp_path / "a.yaml", GOOD))
    place = f"{routes / 'made.yaml'}:10: errors.rules"
    missing = [f"{place}[0] was never hit", f"{place}[1] was never hit"]
    assert bench.gaps() == {"made": missing}
    tea = {"reply": {"status": 418}}
    failed = {"status": 502, "error": {"class": "fatal"}}
    await bench.attempt(write(tmp_path / "b.yaml", tea, env={"X": "1"}, expect=failed))
    assert bench.gaps() == {"made": missing[1:]}
