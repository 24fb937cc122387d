"""Upstreams whose API is one of the dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.draft.known import Known, known
from engine.wire import HttpRequest, HttpResponse

HI = [{"role": "user", "content": "Hi"}]
SITE = "https://a.example"


def post(path: str, body: Any) -> HttpRequest:
    return HttpRequest("POST", SITE + path, (), body=json.dumps(body).encode())


def sse(*values: Any) -> HttpResponse:
    return HttpResponse(200, (), "".join(f"data: {json.dumps(v)}\n\n" for v in values).encode())


CHUNKS = [{"choices": [{"delta": {"content": text}}]} for text in ("Good", " day", " to you")]
WHOLE = {"content": [{"type": "text", "text": "Hi"}], "type": "message", "stop_reason": "end_turn"}


@pytest.mark.parametrize(
    ("path", "body", "answer", "found"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": HI}, sse(*CHUNKS),
         Known("openai", f"{SITE}/v1", plain=True, usual=True)),
        ("/api/ask", {"model": "m", "messages": HI}, sse(*CHUNKS),
         Known("openai", SITE, plain=True, usual=False)),
        ("/api/ask", {"q": "Hi"}, sse(*CHUNKS), Known("openai", SITE, plain=False, usual=False)),
        ("/v1/chat/completions", {"model": "m", "messages": HI, "chat_id": "x"}, sse(*CHUNKS),
         Known("openai", f"{SITE}/v1", plain=False, usual=True)),
        ("/v1/messages", {"model": "m", "messages": HI, "max_tokens": 9},
         HttpResponse(200, (), json.dumps(WHOLE).encode()),
         Known("anthropic", f"{SITE}/v1", plain=True, usual=True)),
        ("/v1/responses", {"model": "m", "input": "Hi"},
         sse({"type": "response.created"}, {"type": "response.completed"}),
         Known("openai-responses", f"{SITE}/v1", plain=True, usual=True)),
        ("/v1beta/models/gem%2F1:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]},
         HttpResponse(200, (), b'{"candidates":[]}'),
         Known("gemini", f"{SITE}/v1beta", plain=True, usual=True, model="gem/1")),
        ("/api/chat", {"model": "m", "messages": HI},
         HttpResponse(200, (), b'{"message":{"content":"Hi"},"done":true}'),
         Known("ollama", SITE, plain=True, usual=True)),
        ("/v1/messages", {"model": "m", "messages": HI, "max_tokens": 9}, None,
         Known("anthropic", f"{SITE}/v1", plain=True, usual=True)),
        ("/api/chat", {"q": "Hi"}, None, None),
        ("/api/chat", {"q": "Hi"}, sse({"t": "Hi"}), None),
        ("/api/chat", {"q": "Hi"}, sse({"t": "Hi"}, {"t": "you"}, CHUNKS[0]), None),
    ],
)  # fmt: skip
def test_it_is_known_by_its_answer_or_by_its_path(
    path: str, body: Any, answer: HttpResponse | None, found: Known | None
) -> None:
    assert found == known(post(path, body), answer)


def test_snapshots_in_its_clothes_are_not_the_api() -> None:
    texts = ("Good", "Good day", "Good day to you.")
    chunks = [{"choices": [{"delta": {"content": text}}]} for text in texts]
    assert known(post("/v1/chat/completions", {"messages": HI}), sse(*chunks)) is None


def test_neither_are_chunks_with_a_phase() -> None:
    def chunk(phase: str, text: str, **more: str) -> dict[str, Any]:
        return {"choices": [{"delta": {"phase": phase, "content": text, **more}}]}

    thoughts = [chunk("think", text) for text in ("The user asks ", "about scattering. ")]
    pieces = [chunk("answer", text) for text in ("Because ", "air scatters.")]
    assert known(post("/api/chat/completions", {"messages": HI}), sse(*thoughts, *pieces)) is None
    usual = [{"choices": [{"delta": {"reasoning_content": "The user asks. "}}]}, *CHUNKS]
    found = known(post("/v1/chat/completions", {"model": "m", "messages": HI}), sse(*usual))
    assert found is not None
    assert "openai" == found.preset


def test_messages_are_written_in_its_form() -> None:
    named = ("openai", "anthropic", "openai-responses", "gemini", "ollama")
    assert ["as_openai", "as_anthropic", "as_openai", "as_gemini", "as_ollama"] == [
        Known(preset, "", plain=False, usual=False).filter for preset in named
    ]
