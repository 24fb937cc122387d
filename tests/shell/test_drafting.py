"""The fixture of a draft: what is kept of pages, and when none is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.draft.opaque import Exchange
from engine.draft.sketch import Draft, sketch
from engine.shell.drafting import compiled, keep_out, preset_names, record, shipped_over
from engine.shell.recorder import NotRecorded
from engine.wire import HttpRequest, HttpResponse

SITE = "https://chat.example.com"
JSON = ("Content-Type", "application/json")


def chat(answer: Any, **more: str) -> Exchange:
    body = json.dumps({"q": "Hello you", **more}).encode()
    request = HttpRequest("POST", f"{SITE}/ask", (JSON,), body=body)
    return Exchange(request, HttpResponse(200, (JSON,), json.dumps(answer).encode()))


async def fixture(folder: Path, draft: Draft) -> dict[str, Any]:
    place = folder / "routes" / "example.yaml"
    place.parent.mkdir()
    place.write_text(draft.file)
    found, problems = compiled(place, draft)
    assert found.route is not None, problems
    files, _ = await record(draft, found.route, folder / "fixtures" / "x.yaml", frozenset())
    made: dict[str, Any] = yaml.safe_load(files[0].read_text())
    return made


async def test_of_a_page_only_what_is_around_the_value_is_kept(tmp_path: Path) -> None:
    page = "x" * 5000 + '<p>bob@example.org</p> nonce = "9a8b7c6d50"; ' + "y" * 5000
    exchanges = [
        Exchange(HttpRequest("GET", f"{SITE}/p"), HttpResponse(200, (), page.encode())),
        chat({"reply": "Well, hello."}, nonce="9a8b7c6d50"),
    ]
    made = await fixture(tmp_path, sketch(exchanges, 1))
    kept = made["exchanges"][0]["reply"]["body"]
    assert len(kept) < 500
    assert 'nonce = "' in kept
    assert "9a8b7c6d50" not in kept
    assert "bob@" not in kept


async def test_an_answer_that_the_route_takes_for_an_error_gives_none(tmp_path: Path) -> None:
    draft = sketch([chat({"reply": "Well, hello."})], 0)
    draft.exchanges[-1] = chat({"sorry": 1})
    with pytest.raises(NotRecorded, match=r"the recorded answer \(empty_response: the upstream's"):
        await fixture(tmp_path, draft)
    assert not (tmp_path / "fixtures").exists()


async def test_another_text_than_the_draft_meant_gives_none(tmp_path: Path) -> None:
    draft = sketch([chat({"reply": "Well, hello."})], 0)
    draft.text = "Hello, well."
    with pytest.raises(NotRecorded, match="reads another text than the draft meant to"):
        await fixture(tmp_path, draft)


def test_a_secret_in_a_key_is_seen_before_anything_is_written() -> None:
    draft = sketch([chat({"reply": "x"}, token="long-enough", **{"long-enough": "1"})], 0)
    with pytest.raises(NotRecorded, match=r"line \d+ of the route would hold env:EXAMPLE_TOKEN"):
        keep_out(draft, frozenset())
    keep_out(draft, frozenset({"env:EXAMPLE_TOKEN"}))


def test_so_is_what_only_looks_like_one() -> None:
    draft = sketch([chat({"reply": "x"}, **{"sk-Ab12Cd34Ef56Gh78": "1"})], 0)
    said = r"would hold what looks like a credential, sk-; --allow sk- writes it"
    with pytest.raises(NotRecorded, match=said):
        keep_out(draft, frozenset())


def test_a_preset_has_a_shipped_route_of_its_own_name_first() -> None:
    assert {"openai", "anthropic", "gemini"} <= set(preset_names())
    assert "OPENAI_BASE_URL" in (shipped_over("openai") or "")
    assert shipped_over("no-such-preset") is None
