from __future__ import annotations

from anthropic.types import ModelInfo
from ollama import ListResponse, ShowResponse
from openai.types import Model

from engine.dialects.listings import SHAPES, model, models


def test_a_model_as_clients_know_it() -> None:
    found = model("gpt", "route-a", 7)
    assert found == {"id": "gpt", "object": "model", "created": 7, "owned_by": "route-a"}
    Model.model_validate(found)


def test_the_list_names_each_model_once() -> None:
    entries = [("a", "one"), ("one/a", "one"), ("a", "two")]
    assert models(entries, 7) == {
        "object": "list",
        "data": [model("a", "one", 7), model("one/a", "one", 7)],
    }


def test_a_model_as_anthropic_clients_know_it() -> None:
    shape = SHAPES["anthropic"]
    found = shape.model("claude", "route-a", 7)
    assert found == {
        "type": "model", "id": "claude", "display_name": "claude", "lifecycle": "active",
        "created_at": "1970-01-01T00:00:07Z",
    }  # fmt: skip
    ModelInfo.model_validate(found)


def test_models_as_gemini_clients_know_them() -> None:
    shape = SHAPES["gemini"]
    found = shape.model("m", "route-a", 7)
    assert found == {
        "name": "models/m", "version": "001", "displayName": "m",
        "description": "served by route-a",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }  # fmt: skip
    assert {"models": [found]} == shape.models([("m", "route-a"), ("m", "two")], 7)


def test_the_anthropic_list_is_one_page() -> None:
    shape = SHAPES["anthropic"]
    listed = shape.models([("a", "one"), ("b", "one"), ("a", "two")], 7)
    assert listed == {
        "data": [shape.model("a", "one", 7), shape.model("b", "one", 7)],
        "has_more": False, "first_id": "a", "last_id": "b",
    }  # fmt: skip
    assert shape.models([], 7) == {
        "data": [], "has_more": False, "first_id": None, "last_id": None,
    }  # fmt: skip


def test_the_list_and_a_model_as_ollama_clients_know_them() -> None:
    shape = SHAPES["ollama"]
    listed = shape.models([("a", "one"), ("b", "two"), ("a", "two")], 7)
    models = ListResponse.model_validate(listed).models
    assert [(found.model, found.details and found.details.family) for found in models] == [
        ("a", "one"), ("b", "two"),
    ]  # fmt: skip
    shown = ShowResponse.model_validate(shape.model("a", "one", 7))
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
