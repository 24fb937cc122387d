from __future__ import annotations

import json
from typing import Any

import pytest

from engine.dialects.ollama import generate, parse
from engine.dialects.ollama.idle import idle
from engine.wire import dumps

HEAD = {"model": "m", "created_at": "1970-01-01T00:00:07Z", "done": True}


def answer(module: Any, **fields: Any) -> dict[str, Any] | None:
    said = idle(module.parse(dumps({"model": "m", **fields})), "m", 7)
    found: dict[str, Any] | None = None if said is None else json.loads(said)
    return found


@pytest.mark.parametrize("fields", [{}, {"messages": []}, {"messages": None}, {"stream": True}])
def test_a_chat_without_messages_loads_the_model(fields: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": ""}
    assert answer(parse, **fields) == {**HEAD, "message": message, "done_reason": "load"}


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"system": "s"}, {"prompt": None}])
def test_an_empty_prompt_loads_the_model(fields: dict[str, Any]) -> None:
    assert answer(generate, **fields) == {**HEAD, "response": "", "done_reason": "load"}


@pytest.mark.parametrize(
    ("kept", "word"),
    [(0, "unload"), (0.0, "unload"), ("0", "unload"), ("0s", "unload"), ("0h0m0.0s", "unload"),
     (-1, "load"), ("5m", "load"), ("10s", "load"), ("0.5s", "load"), (None, "load"),
     (False, "load"), ("", "load")],
)  # fmt: skip
def test_nothing_to_keep_it_for_unloads_it(kept: object, word: str) -> None:
    for module in (parse, generate):
        said = answer(module, keep_alive=kept)
        assert said is not None
        assert word == said["done_reason"]


def test_what_asks_something_is_no_such_request() -> None:
    assert answer(parse, messages=[{"role": "user", "content": ""}], keep_alive=0) is None
    assert answer(generate, prompt="hi", keep_alive=0) is None
    assert answer(generate, images=["iVBORw0KGgo="]) is None
