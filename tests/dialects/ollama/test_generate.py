from __future__ import annotations

from typing import Any

import pytest

from engine.chat import Media, Message, Text, Think
from engine.dialects.ollama.generate import parse
from engine.errors import RequestError
from engine.wire import dumps
from tests.dialects.ollama.bodies import PNG


def refused(**fields: Any) -> tuple[str, str | None]:
    with pytest.raises(RequestError) as caught:
        parse(dumps({"model": "m", "prompt": "hi", **fields}))
    return caught.value.kind, caught.value.param


def test_a_prompt_is_a_users_turn() -> None:
    body = {
        "model": "m", "prompt": "hi", "system": "s", "images": [PNG], "think": True,
        "options": {"num_predict": 9}, "keep_alive": 0, "raw": False, "context": [],
    }  # fmt: skip
    found = parse(dumps(body))
    assert found.messages == [
        Message("system", [Text("s")]),
        Message("user", [Text("hi"), Media("image", mime="image/png", data=PNG)]),
    ]
    assert (found.stream, found.think, found.out.max_tokens) == (True, Think(mode="on"), 9)
    assert found.extras == {"think": True, "keep_alive": 0, "generate": True}


@pytest.mark.parametrize(
    ("name", "value"),
    [("raw", True), ("template", "{{ .Prompt }}"), ("suffix", "x"), ("context", [1])],
)
def test_what_no_conversation_can_say_is_refused(name: str, value: object) -> None:
    assert refused(**{name: value}) == ("unsupported", name)


def test_a_prompt_is_a_text() -> None:
    assert refused(prompt=1) == ("bad_request", "prompt")
