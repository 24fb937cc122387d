from __future__ import annotations

from openai.types import Model

from engine.dialects.listings import model, models


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
