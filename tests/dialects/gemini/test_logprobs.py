from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Text
from engine.dialects.gemini.logprobs import logprobs_result, read_logprobs
from engine.events import Close, Event, Finish, Open, TextDelta
from engine.wire import loads
from tests.dialects.crossing import answered, said, whole

CHAT = {
    "content": [
        {"token": "é", "logprob": -0.5, "bytes": [195, 169],
         "top_logprobs": [{"token": "e", "logprob": -1.5, "bytes": [101]}]},
        {"token": "!", "logprob": -0.25, "bytes": [33], "top_logprobs": []},
    ]
}  # fmt: skip
GEMINI = {
    "chosenCandidates": [
        {"token": "é", "logProbability": -0.5}, {"token": "!", "logProbability": -0.25},
    ],
    "topCandidates": [
        {"candidates": [{"token": "e", "logProbability": -1.5}]}, {"candidates": []},
    ],
}  # fmt: skip
EVENTS: list[Event] = [Open(0, Text("")), TextDelta(0, "é!", CHAT), Close(0), Finish("stop")]


def test_both_forms_say_the_same() -> None:
    assert CHAT == read_logprobs(GEMINI)
    assert {"logprobsResult": GEMINI} == logprobs_result([CHAT])


def test_pieces_follow_each_other() -> None:
    result: Any = logprobs_result([CHAT, None, CHAT])["logprobsResult"]
    assert 4 == len(result["chosenCandidates"]) == len(result["topCandidates"])


@pytest.mark.parametrize("found", [None, 1, [], {}, {"chosenCandidates": 1}])
def test_what_tells_none(found: object) -> None:
    assert None is read_logprobs(found)
    assert {} == logprobs_result([found])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses", "gemini", "ollama"])
@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "gemini", "ollama"])
def test_they_go_from_every_api_that_has_them_to_every_other(
    client: str, upstream: str, stream: bool
) -> None:
    data = (said if stream else whole)(upstream, EVENTS)
    got = answered(upstream, data, client, stream=stream)
    (told,) = got.reply.logprobs
    assert isinstance(told, dict)
    assert [("é", -0.5), ("!", -0.25)] == [(t["token"], t["logprob"]) for t in told["content"]]
    assert "é!" == got.reply.text


def test_each_chunk_has_those_of_its_text() -> None:
    events: list[Event] = [Open(0, Text("")), TextDelta(0, "é!", CHAT), TextDelta(0, "?"),
                           Close(0), Finish("stop")]  # fmt: skip
    frames = [loads(line[6:]) for line in said("gemini", events).split(b"\n\n") if line]
    found = [frame["candidates"][0].get("logprobsResult") for frame in frames]  # type: ignore[index]
    assert [GEMINI, None, None] == found
