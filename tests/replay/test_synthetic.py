"""Made-up texts: the lengths of the texts, their kinds of letters, and nothing else of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.replay.synthetic import Synthetic, Telling
from engine.replay.taping import Taken
from engine.route.compile import Sources, compile_route
from engine.route.route import Route
from engine.wire import HttpRequest, HttpResponse

CHAT = "version: 1\ndialect: openai_chat\nbase_url: https://example.com\nmodels: [m]\n"
SAID = "Grüße an Frau Müller, 你好！"


def route(text: str = CHAT) -> Route:
    found = compile_route(text.encode(), "r.yaml", Sources())
    assert found.route is not None, found.problems
    return found.route


def answer(body: bytes, *cuts: int, status: int = 200, fetched: bool = False) -> Taken:
    ends = [0, *cuts, len(body)]
    pieces = [(at, body[ends[at] : ends[at + 1]]) for at in range(len(ends) - 1)]
    head = HttpResponse(status)
    return Taken(HttpRequest("POST", "https://example.com"), 0.0, head, pieces, fetched=fetched)


def sse(*frames: Any, ascii_only: bool = False) -> bytes:
    lines = [json.dumps(frame, ensure_ascii=ascii_only) for frame in frames]
    return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()


def read(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.decode().split("\n\n") if line[6:7] == "{"]


@given(st.text())
def test_a_made_up_text_has_the_length_of_its_text(text: str) -> None:
    made = Synthetic(1).text(text)
    assert (len(text), len(text.encode("utf-8", "replace"))) == (
        len(made),
        len(made.encode("utf-8", "replace")),
    )


def test_spaces_marks_tags_and_cases_stay() -> None:
    made = Synthetic(1).text("<think>So, Ann is 42!</think>\nGrüße 你好 🌍")
    assert made.startswith("<think>")
    assert "</think>\n" in made
    assert "🌍" == made[-1]
    kinds = ["A" if char.isupper() else "a" if char.islower() else char for char in made[7:12]]
    assert ["A", "a", ",", " ", "A"] == kinds
    assert not set("Ann42").issubset(made)


def test_json_in_a_text_keeps_its_names_and_stays_json() -> None:
    text = json.dumps({"city": "New York\n", "days": 3, "deep": [{"who": "Ann Miller"}]})
    made = json.loads(Synthetic(1).text(text))
    assert (["city", "days", "deep"], 3) == (list(made), made["days"])
    assert made["city"] != "New York\n"
    assert (9, "\n") == (len(made["city"]), made["city"][-1])


def test_a_client_says_something_else_to_the_same_model() -> None:
    body = {
        "model": "my model",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        ],
        "tools": [{"function": {"name": "weather", "description": "Tells the weather"}}],
        "temperature": 0.5,
    }
    made = Synthetic(1).tree(body)
    assert ("my model", 0.5) == (made["model"], made["temperature"])
    assert ["system", "user"] == [each["role"] for each in made["messages"]]
    assert "weather" == made["tools"][0]["function"]["name"]
    part = made["messages"][1]["content"][0]
    assert ("text", 2, True) == (part["type"], len(part["text"]), part["text"] != "Hi")
    assert "Be kind." != made["messages"][0]["content"]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_an_answer_in_pieces_keeps_its_bytes_in_place(*, ascii_only: bool) -> None:
    frames = [{"choices": [{"delta": {"content": piece}}], "id": "c1"} for piece in ("Gr", SAID)]
    body = sse(*frames, ascii_only=ascii_only)
    made = Synthetic(1).taken(answer(body, 10, 30), route())
    assert [10, 20] == [len(data) for _, data in made.pieces[:2]]
    assert (len(body), True) == (len(made.body), made.body.endswith(b"data: [DONE]\n\n"))
    assert b"Frau" not in made.body
    assert ["c1", "c1"] == [frame["id"] for frame in read(made.body)]


def test_pieces_snapshots_and_the_whole_are_told_alike() -> None:
    snapshots = [{"kind": "s", "so_far": SAID[:at]} for at in (2, 9, len(SAID))]
    pieces = [{"kind": "p", "piece": text} for text in (SAID[:5], SAID[5:])]
    body = sse(*snapshots, *pieces, {"kind": "w", "all": SAID})
    found = read(Synthetic(1).taken(answer(body), route()).body)
    whole = found[-1]["all"]
    assert whole != SAID
    assert [whole[:2], whole[:9], whole] == [frame["so_far"] for frame in found[:3]]
    assert whole == "".join(frame["piece"] for frame in found[3:5])
    assert ["s", "s", "s", "p", "p", "w"] == [frame["kind"] for frame in found]


def test_arguments_of_a_call_in_pieces_stay_json() -> None:
    text = json.dumps({"city": "New York", "unit": "C"})
    calls = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]}
             for part in (text[:12], text[12:])]  # fmt: skip
    made = Synthetic(1).taken(answer(sse(*[{"choices": [{"delta": d}]} for d in calls])), route())
    said = "".join(frame["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
                   for frame in read(made.body))  # fmt: skip
    assert ["city", "unit"] == list(json.loads(said))
    assert "New York" != json.loads(said)["city"]


def test_one_word_is_content_if_the_client_was_told_it() -> None:
    body = json.dumps({"said": "Hello", "mood": "calm"}).encode()
    made = json.loads(Synthetic(1, frozenset({"Hello"})).taken(answer(body), route()).body)
    assert ("calm", True) == (made["mood"], made["said"] != "Hello")


def test_errors_and_fetched_values_are_left() -> None:
    body = b'{"error": "no such thing"}'
    for taken in (answer(body, status=400), answer(body, fetched=True)):
        assert body == Synthetic(1).taken(taken, route()).body


def test_an_answer_that_is_text_is_one_text() -> None:
    text = "version: 1\nbase_url: https://example.com\nmodels: [m]\n"
    text += 'request: { json: { q: "{{ req.prompt }}" } }\n'
    text += "response: { format: text, events: [ { text: $, finish: stop } ] }\n"
    made = Synthetic(1).taken(answer(SAID.encode()), route(text)).body
    assert (len(SAID.encode()), True) == (len(made), made != SAID.encode())


def test_what_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(Telling, match="websocket"):
        Synthetic(1).taken(answer(b"", status=101), route())
    with pytest.raises(Telling, match="several lines"):
        Synthetic(1).taken(answer(b'data: {"content":\ndata: "so it is"}\n\n'), route())
