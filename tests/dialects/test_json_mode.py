from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Message, Text, ToolResult
from engine.dialects.json_mode import AS_JSON, named
from tests.dialects.crossing import sent

ASKED: dict[str, dict[str, Any]] = {
    "gemini": {"generationConfig": {"responseMimeType": "application/json"}},
    "ollama": {"format": "json"},
}


def turns(client: str, text: str) -> dict[str, Any]:
    if client == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **ASKED[client]}
    return {"messages": [{"role": "user", "content": text}], **ASKED[client]}


def test_the_word_may_stand_anywhere() -> None:
    assert named([Message("user", [Text("hi")]), Message("user", [Text("as Json, please")])])
    assert named([Message("tool", [ToolResult("a", [Text("json")])])])
    assert not named([Message("user", [Text("hi")])])


@pytest.mark.parametrize("client", sorted(ASKED))
def test_who_need_not_say_json_has_it_said(client: str) -> None:
    first, second = sent(client, turns(client, "list them"), "openai_chat")["messages"]
    assert [("system", AS_JSON), ("user", "list them")] == [
        (turn["role"], turn["content"]) for turn in (first, second)
    ]
    body = sent(client, turns(client, "list them"), "openai_responses")
    assert [("system", AS_JSON), ("user", "list them")] == [
        (item["role"], item["content"]) for item in body["input"]
    ]
    assert "instructions" not in body
    for upstream, field in (("openai_chat", "messages"), ("openai_responses", "input")):
        assert 1 == len(sent(client, turns(client, "list as JSON"), upstream)[field])


def test_responses_do_not_look_into_the_instructions() -> None:
    messages = [{"role": "system", "content": "Speak JSON."}, {"role": "user", "content": "hi"}]
    given = {"messages": messages, "response_format": {"type": "json_object"}}
    body = sent("openai_chat", given, "openai_responses")
    assert "Speak JSON." == body["instructions"]
    assert [AS_JSON, "hi"] == [item["content"] for item in body["input"]]
    assert 2 == len(sent("openai_chat", given, "openai_chat")["messages"])
