"""Why a provider refused an answer, told to clients of every API."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Refusal, Text
from engine.dialects import DIALECTS
from engine.dialects.refused import parts_of, why
from engine.events import Close, Event, Finish, Open, Reply, TextDelta
from engine.wire import dumps, loads

from .crossing import answered, said, whole

C, R, A, G, L = "openai_chat", "openai_responses", "anthropic_messages", "gemini", "ollama"
WORDS = "This asks for something that is not allowed."
DETAILS: dict[str, dict[str, Any]] = {
    A: {"type": "refusal", "category": "cyber", "explanation": WORDS},
    G: {
        "finishMessage": WORDS,
        "safetyRatings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH"}],
    },
}
RAW = {A: "refusal", G: "PROHIBITED_CONTENT"}


def refused(upstream: str, stream: bool, *, text: str = "Well") -> bytes:
    events: list[Event] = [Open(0, Text("")), TextDelta(0, text), Close(0)] if text else []
    events.append(Finish("content_filter", RAW[upstream], details=DETAILS[upstream]))
    return (said if stream else whole)(upstream, events)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", DETAILS)
@pytest.mark.parametrize("client", DIALECTS)
def test_every_client_is_told_why(client: str, upstream: str, stream: bool) -> None:
    got = answered(upstream, refused(upstream, stream), client, stream=stream)
    assert 1 == got.data.count(WORDS.encode()) or client == R
    reply = got.reply
    if client in (C, R):
        assert [WORDS] == [part.text for part in reply.parts if isinstance(part, Refusal)]
    elif client == L:
        assert "Well" + WORDS == reply.text
    else:
        assert WORDS == why(Finish(reply.finish, details=reply.details))
        assert "Well" == reply.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", DETAILS)
def test_a_client_of_the_same_api_gets_all_that_was_told(upstream: str, stream: bool) -> None:
    got = answered(upstream, refused(upstream, stream), upstream, stream=stream)
    assert DETAILS[upstream] == got.reply.details


def test_pages_go_back_as_they_came_unless_some_were_taken() -> None:
    pages = {"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}],
             "searchEntryPoint": {"renderedContent": "<b>"}}  # fmt: skip
    content = {"role": "model", "parts": [{"text": "a"}]}
    candidate = {"index": 0, "finishReason": "STOP", "content": content,
                 "groundingMetadata": pages}  # fmt: skip
    data = dumps({"candidates": [candidate]})
    got: Any = loads(answered(G, data, G, stream=False).data)
    assert pages == got["candidates"][0]["groundingMetadata"]
    reply = Reply(parts=[Text("a")], finish="stop", details={"groundingMetadata": pages})
    bare: Any = loads(DIALECTS[G].reply(reply, "id", "m", 1))
    assert "groundingMetadata" not in bare["candidates"][0]


@pytest.mark.parametrize(
    "finish",
    [
        Finish("stop", details={"explanation": WORDS}),
        Finish("content_filter"),
        Finish("content_filter", details={"explanation": 1}),
        Finish("content_filter", details=[WORDS]),
    ],
)
def test_there_are_no_words_where_nothing_was_refused_or_said(finish: Finish) -> None:
    assert "" == why(finish)
    reply = Reply(parts=[Text("a")], finish=finish.reason, details=finish.details)
    assert [Text("a")] == parts_of(reply)
