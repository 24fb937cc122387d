"""What templates see of a request."""

from __future__ import annotations

from typing import Any

import pytest

from engine.chat import ChatRequest, Media, Message, Text
from engine.dialects import DIALECTS
from engine.route.view import FIELDS, Asked, fingerprint, prompt_of, system_of, view
from engine.wire import Headers, dumps


def asked(body: dict[str, Any] | None = None, **more: Any) -> Asked:
    whole = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **(body or {}), **more}
    chat = DIALECTS["openai_chat"].parse(dumps(whole), Headers())
    return Asked("req_1", lambda: chat, chat.stream, Headers({"x-a": "1"}), "client")


def test_a_bare_request_has_only_what_it_says() -> None:
    assert sorted(view(asked(), FIELDS)) == [
        "extra", "id", "messages", "model", "n", "prompt", "stream",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ({"temperature": 0}, "temperature", 0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 6}, "max_tokens", 6),
        ({"stop": "x"}, "stop", ["x"]),
        ({"seed": 0}, "seed", 0),
        ({"n": 2}, "n", 2),
        ({"user": "u"}, "user", "u"),
        ({"session_id": "s"}, "session_id", "s"),
        ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}),
        ({"reasoning_effort": "low"}, "reasoning", {"effort": "low", "budget": None, "mode": None}),
        ({"stream": True}, "stream", True),
        ({"odd": 1}, "extra", {"odd": 1}),
        (
            {"response_format": {"type": "json_object"}},
            "response_format",
            {"type": "json", "schema": None, "name": None, "strict": None},
        ),
    ],
)
def test_what_the_client_sent_is_seen(body: dict[str, Any], name: str, value: object) -> None:
    found = view(asked(body), [name])[name]
    if name == "reasoning":
        assert isinstance(found, dict)
        assert isinstance(value, dict)
        assert found["effort"] == value["effort"]
    else:
        assert found == value


def test_media_are_named_by_kind_wherever_they_stand() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    sound = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    found = view(asked(messages=[{"role": "user", "content": [url, sound, url]}]), ["media"])
    assert {"media": ["audio", "image"]} == found


@pytest.mark.parametrize("name", ["temperature", "stop", "user", "tools", "reasoning", "system"])
def test_what_the_client_did_not_send_is_absent(name: str) -> None:
    assert view(asked(), [name]) == {}


def test_no_thinking_is_told_from_no_wish() -> None:
    assert view(asked(reasoning_effort="none"), ["reasoning_off"]) == {"reasoning_off": True}
    assert view(asked(reasoning_effort="low"), ["reasoning_off"]) == {}
    assert view(asked(), ["reasoning_off"]) == {}


def test_no_thinking_is_no_reasoning() -> None:
    assert view(asked(reasoning_effort="none"), ["reasoning"]) == {}


def test_texts_of_the_conversation() -> None:
    messages = [
        {"role": "system", "content": "be"},
        {"role": "developer", "content": "brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
        {"role": "assistant", "content": "four"},
    ]
    seen = view(asked(messages=messages), ["prompt", "system_text", "system"])
    assert (seen["prompt"], seen["system_text"]) == ("three", "be\n\nbrief")
    assert len(seen["system"]) == 2  # type: ignore[arg-type]
    assert (prompt_of([]), system_of([])) == ("", "")


def test_only_what_is_named_is_computed() -> None:
    calls = []

    def parse() -> ChatRequest:
        calls.append(1)
        return ChatRequest("openai_chat", "m", [])

    request = Asked("req_1", parse, True)
    assert view(request, ["id", "stream"]) == {"id": "req_1", "stream": True}
    assert calls == []
    assert view(request, ["model", "prompt"]) == {"model": "m", "prompt": ""}
    assert calls == [1]


def test_another_conversation_keeps_who_asks() -> None:
    other = asked().with_chat(ChatRequest("openai_chat", "x", []), stream=True)
    assert (other.id, other.client, other.headers.get("X-A"), other.stream) == (
        "req_1",
        "client",
        "1",
        True,
    )
    assert other.chat.model == "x"


def test_a_released_request_cannot_be_parsed_any_more() -> None:
    request = Asked("req_1", lambda: ChatRequest("d", "m", []), False)
    request.release()
    with pytest.raises(LookupError):
        _ = request.chat
    kept = Asked("req_1", lambda: ChatRequest("d", "m", []), False)
    _ = kept.chat
    kept.release()
    assert kept.chat.model == "m"


def test_a_fingerprint_is_that_of_the_beginning() -> None:
    def chat(*turns: str, model: str = "m", system: str = "s") -> ChatRequest:
        roles = ("user", "assistant")
        said = [Message(roles[at % 2], [Text(turn)]) for at, turn in enumerate(turns)]  # type: ignore[arg-type]
        return ChatRequest("d", model, [Message("system", [Text(system)]), *said])

    first = fingerprint(chat("a"))
    assert fingerprint(chat("a", "b", "c")) == first
    for other in (chat("x"), chat("a", model="n"), chat("a", system="t")):
        assert fingerprint(other) != first
    pictures = [ChatRequest("d", "m", [Message("user", [Media("image", data=d)])]) for d in "xy"]
    assert fingerprint(pictures[0]) != fingerprint(pictures[1])
    assert fingerprint(ChatRequest("d", "m", [])) == '["m",""]'
