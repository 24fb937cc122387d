"""What only its provider can read, from an answer of Chat Completions and back to where it came."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.chat import Message, Part, Reasoning, Text, ToolCall
from engine.dialects import DIALECTS
from engine.dialects.openai_chat.decode import StreamDecoder, decode_whole
from engine.dialects.openai_chat.render import messages
from engine.dialects.openai_chat.sealed import details, gathered, readable, secret
from engine.dialects.profile import Profile
from engine.events import Event, Finish, Start, fold
from engine.wire import Record, dumps
from tests.dialects.crossing import parsed
from tests.grammar import check_events

C = "openai_chat"
FOREIGN = ("anthropic_messages", "openai_responses")
SAID = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
SIGNED = {**SAID, "text": "Let me see.", "signature": "c2ln"}
BLACK = {"type": "reasoning.encrypted", "index": 1, "id": "r1", "data": "b64"}
CALL = {"id": "c1", "index": 0, "type": "function", "function": {"name": "look", "arguments": "{}"}}
PARTED: list[dict[str, Any]] = [
    {"reasoning": "Let me ", "reasoning_details": [{**SAID, "text": "Let me "}]},
    {"reasoning": "see.", "reasoning_details": [{**SAID, "text": "see."}]},
    {"reasoning_details": [{**SAID, "signature": "c2ln"}]},
    {"content": "So. "},
    {"reasoning_details": [BLACK], "tool_calls": [CALL]},
]


def streamed(*deltas: dict[str, Any]) -> list[Event]:
    decoder = StreamDecoder(lambda: "made")
    out: list[Event] = []
    for at, delta in enumerate((*deltas, {})):
        finish = "tool_calls" if at == len(deltas) else None
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        value = {"id": "x", "choices": [choice]}
        out += decoder.feed(Record("", dumps(value), value))
    check_events(out)
    return out


def whole(**message: Any) -> list[Event]:
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return decode_whole({"id": "x", "choices": [choice]}, lambda: "made")


WHOLE = {
    "reasoning": "Let me see.", "reasoning_details": [SIGNED, BLACK], "content": "So. ",
    "tool_calls": [CALL],
}  # fmt: skip


def turn(parts: list[Part]) -> Message:
    return Message("assistant", parts, dialect=C)


@pytest.mark.parametrize("events", [streamed(*PARTED), whole(**WHOLE)], ids=["stream", "whole"])
def test_it_goes_back_as_it_came(events: list[Event]) -> None:
    (made,) = messages([turn(fold(events).parts)])
    assert isinstance(made, dict)
    assert [SIGNED, BLACK] == made["reasoning_details"]
    assert ("So. ", "Let me see.", "look") == (
        made["content"], made["reasoning_content"], made["tool_calls"][0]["function"]["name"],
    )  # fmt: skip


def test_plain_words_are_not_said_twice() -> None:
    plain = [{"type": "reasoning.text", "text": "Hm.", "signature": None}]
    events = whole(reasoning="Hm.", reasoning_details=plain, content="a")
    (made,) = messages([turn(fold(events).parts)])
    assert isinstance(made, dict)
    assert "reasoning_details" not in made


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_of_this_api_gets_it(stream: bool) -> None:
    kind, events = DIALECTS[C], streamed(*PARTED)
    if not stream:
        body = json.loads(kind.reply(fold(events), "i", "m", 1, parsed(C, {})))
        assert [SIGNED, BLACK] == body["choices"][0]["message"]["reasoning_details"]
        return
    said = [event for event in events if not isinstance(event, Start)]
    data = kind.encoder("i", "m", 1, False, parsed(C, {})).feed([Start("i", "m", 1), *said])
    frames = [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: {")]
    found: list[Any] = []
    for frame in frames:
        found += frame["choices"][0]["delta"].get("reasoning_details", [])
    assert [SIGNED, BLACK] == found


@pytest.mark.parametrize("client", FOREIGN)
def test_a_client_of_another_api_carries_it(client: str) -> None:
    """Only to an upstream that is known to take it; Responses and Messages have a place for it."""
    kind = DIALECTS[client]
    answer = json.loads(kind.reply(fold(streamed(*PARTED)), "i", "m", 1, parsed(client, {})))
    back: dict[str, Any] = (
        {"input": [{"role": "user", "content": "x"}, *answer["output"]]}
        if client == "openai_responses"
        else {"messages": [{"role": "user", "content": "x"},
                           {"role": "assistant", "content": answer["content"]}]}
    )  # fmt: skip
    chat = parsed(client, back)
    takes = Profile(reasoning_field="reasoning")
    made = [m for m in messages(chat.messages, takes) if "reasoning_details" in str(m)]
    assert [SIGNED, BLACK] == made[0]["reasoning_details"]  # type: ignore[index]
    assert "reasoning_details" not in str(messages(chat.messages))


def test_a_signature_beside_a_call_stands_there_again() -> None:
    mark = {"google": {"thought_signature": "c2ln"}}
    events = streamed({"tool_calls": [{**CALL, "extra_content": mark}]})
    parts = fold(events).parts
    assert Reasoning(signature="c2ln", origin="gemini") == parts[0]
    (made,) = messages([turn(parts)])
    assert mark == made["tool_calls"][0]["extra_content"]  # type: ignore[index]
    assert isinstance(events[-1], Finish)


def test_texts_that_go_on_are_joined() -> None:
    items: list[dict[str, object]] = []
    gathered(items, [{**SAID, "text": "a"}, {**SAID, "text": "b"}, BLACK, BLACK, "odd"])
    gathered(items, None)
    assert [{**SAID, "text": "ab"}, BLACK, BLACK] == items


def test_what_is_no_list_is_none() -> None:
    broken: list[Part] = [Reasoning(encrypted="{", origin=C), Reasoning(encrypted="{}", origin=C)]
    others: list[Part] = [Reasoning(encrypted="[1]", origin="gemini"), Text("a")]
    assert [] == details([*broken, *others, ToolCall("c", "n", "")])
    assert "" == secret([])


def test_the_plain_words_of_items_are_readable() -> None:
    items = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.summary", "summary": "b"},
             {"type": "reasoning.encrypted", "data": "x"}, {"text": None}, 1]  # fmt: skip
    assert ("ab", "") == (readable(items), readable("a"))
