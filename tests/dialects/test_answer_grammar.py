from __future__ import annotations

from typing import Any

import pytest

from engine.dialects.answer_grammar import sayable
from engine.dialects.profile import Profile
from engine.wire import loads
from tests.dialects.crossing import sent

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def of(properties: Schema, **more: Any) -> Schema:
    return {"type": "object", "properties": properties, **more}


def closed(properties: Schema, **more: Any) -> Schema:
    return of(properties, additionalProperties=False, **more)


def test_every_object_is_closed() -> None:
    inner = {"type": "array", "items": of({"b": TEXT}, required=["b", "gone"])}
    given = of({"a": inner, "c": {"anyOf": [of({}), {"type": "null"}]}}, additionalProperties=True)
    expected = closed(
        {
            "a": {"type": "array", "items": closed({"b": TEXT}, required=["b"])},
            "c": {"anyOf": [closed({}), {"type": "null"}]},
        }
    )
    assert expected == sayable(given)


def test_bounds_are_told_in_words() -> None:
    given = {"type": "integer", "description": "How many.", "minimum": 1, "maximum": 10}
    expected = {"type": "integer", "description": "How many.\n\n(minimum: 1, maximum: 10)"}
    assert expected == sayable(given)
    assert {**TEXT, "description": '(pattern: "^a")'} == sayable({**TEXT, "pattern": "^a"})
    for known in ({**TEXT, "format": "date"}, {"type": "array", "items": TEXT, "minItems": 1}):
        assert known == sayable(known)


def test_what_the_api_knows_stays() -> None:
    given = closed(
        {"a": {"$ref": "#/$defs/A"}, "b": {"type": ["string", "null"]}, "c": {"const": 1}},
        required=["a"],
        **{"$defs": {"A": {"enum": ["x", None], "title": "A"}}},
    )
    assert given == sayable(given)


def test_other_words_for_alternatives() -> None:
    assert {"anyOf": [TEXT, {"type": "null"}]} == sayable({"oneOf": [TEXT, {"type": "null"}]})
    given = {"allOf": [{"$ref": "#/$defs/A"}], "description": "d", "$defs": {"A": TEXT}}
    assert {"$ref": "#/$defs/A", "$defs": {"A": TEXT}} == sayable(given)
    assert {**TEXT, "description": "d"} == sayable({"allOf": [TEXT], "description": "d"})


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object"},
        of({"a": {}}),
        of({"a": True}),
        {"type": "object", "additionalProperties": {"type": "integer"}},
        of({}, patternProperties={"^x": TEXT}),
        {"$ref": "https://a.example/schema"},
        {"$ref": "#/$defs/A", "$defs": {"A": of({"a": {"$ref": "#/$defs/A"}})}},
        {"allOf": [{"$ref": "#/$defs/A"}, TEXT], "$defs": {"A": TEXT}},
    ],
)
def test_what_no_grammar_can_hold(schema: object) -> None:
    assert sayable(schema) is None


OPEN = {"type": "object", "additionalProperties": {"type": "integer"}}


def test_an_answer_of_another_api_has_a_schema_that_messages_take() -> None:
    body = sent(
        "ollama", {"format": of({"n": {"type": "integer", "minimum": 1}})}, "anthropic_messages"
    )
    told = {"type": "integer", "description": "(minimum: 1)"}
    assert {"type": "json_schema", "schema": closed({"n": told})} == body["output_config"]["format"]


def test_an_answer_that_may_hold_anything_is_asked_for_in_words() -> None:
    requests: list[Any] = []
    body = sent("ollama", {"format": OPEN}, "anthropic_messages", request=requests)
    assert "output_config" not in body
    assert OPEN == loads(body["system"].split("\n")[-1])
    assert "response_format" in requests[0].dropped


def test_a_client_of_messages_is_taken_at_its_word() -> None:
    asked = {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}}
    body = sent("anthropic_messages", asked, "anthropic_messages", Profile(max_output=9))
    assert asked["output_config"] == body["output_config"]


def test_a_strict_tool_has_a_schema_that_messages_take_or_is_not_strict() -> None:
    def tool(schema: Schema) -> Schema:
        function = {"name": "f", "strict": True, "parameters": schema}
        return {"type": "function", "function": function}

    requests: list[Any] = []
    tools = {"tools": [tool(of({"a": {**TEXT, "minLength": 2}})), tool(OPEN)]}
    body = sent("openai_chat", tools, "anthropic_messages", request=requests)
    first, second = body["tools"]
    told = {**TEXT, "description": "(minLength: 2)"}
    assert (True, closed({"a": told})) == (first["strict"], first["input_schema"])
    assert ("strict" in second, ["tools.strict"]) == (False, requests[0].dropped)


@pytest.mark.parametrize("wrong", [[["a"]], [{}], [None], {}, "a", 1])
def test_words_that_are_no_names_are_left_out(wrong: object) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": wrong}
    found = sayable(schema)
    assert found is not None
    assert not found.get("required")


def test_a_format_that_is_no_word_goes_in_words() -> None:
    found = sayable({"type": "string", "format": ["date"]})
    assert found == {"type": "string", "description": '(format: ["date"])'}
