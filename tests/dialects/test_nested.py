from __future__ import annotations

from typing import Any

import pytest

from engine.dialects.nested import name_nested
from engine.dialects.profile import Profile
from engine.errors import RequestError

from .crossing import parsed, sent


def named(client: str, body: dict[str, Any], target: str = "ollama") -> list[str]:
    request = parsed(client, body)
    name_nested(request, target)
    return request.dropped


def test_fields_of_messages_parts_and_tools_are_named_by_their_place() -> None:
    part = {"type": "text", "text": "a", "x_part": 1, "prompt_cache_breakpoint": {}}
    turns = [{"role": "user", "content": [part], "x_turn": 1, "y_turn": None}]
    tool = {"type": "function", "function": {"name": "f", "x_tool": 1}}
    body = {"messages": turns, "tools": [tool]}
    assert ["messages.x_turn", "text.x_part", "tools.x_tool"] == named("openai_chat", body)
    assert [] == named("openai_chat", body, "openai_chat")


def test_a_picture_in_a_system_message_is_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}
    text = {"type": "text", "text": "a"}
    turns = [{"role": "system", "content": [text, image]}, {"role": "user", "content": "b"}]
    assert ["image"] == named("openai_chat", {"messages": turns})


def test_a_refusal_beside_parts_is_named() -> None:
    turn = {"role": "assistant", "content": [{"type": "text", "text": "a"}], "refusal": "no"}
    assert ["messages.refusal"] == named("openai_chat", {"messages": [turn]})


PDF = "data:application/pdf;base64,JVBERi0="
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("file.filename", {"messages": [{"role": "user", "content": [
        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}]}]}),
    "openai_responses": ("file.filename", {"input": [{"role": "user", "content": [
        {"type": "input_file", "file_data": PDF, "filename": "a.pdf"}]}]}),
    "anthropic_messages": ("file.title", {"messages": [{"role": "user", "content": [
        {"type": "document", "title": "a.pdf", "source": {
            "type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}]}]}),
}  # fmt: skip


@pytest.mark.parametrize("client", FILES)
@pytest.mark.parametrize("target", [*FILES, "gemini"])
def test_the_name_of_a_file_is_named_where_it_cannot_be_told(client: str, target: str) -> None:
    name, body = FILES[client]
    held: list[Any] = []
    made = repr(sent(client, body, target, request=held))
    told = target != "gemini"
    assert (told, [] if told else [name]) == ("a.pdf" in made, held[0].dropped)


@pytest.mark.parametrize("target", ["openai_responses", "anthropic_messages"])
def test_words_that_were_spoken_cannot_be_left_out(target: str) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "audio": {"id": "audio_1"}},
             {"role": "user", "content": "b"}]  # fmt: skip
    with pytest.raises(RequestError, match=r"messages\.audio") as caught:
        sent("openai_chat", {"messages": turns}, target)
    assert "unsupported" == caught.value.kind
    held: list[Any] = []
    warned = Profile(on_unsupported="warn")
    sent("openai_chat", {"messages": turns}, target, warned, request=held)
    assert ["messages.audio"] == held[0].dropped
