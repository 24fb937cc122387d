from __future__ import annotations

import pytest

from engine.dialects.gemini.schemas import json_schema


def test_a_schema_of_the_api_in_json_schema() -> None:
    given = {
        "type": "OBJECT",
        "properties": {
            "type": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            "many": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "1"},
            "any": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}]},
        },
        "required": ["type"],
        "propertyOrdering": ["many", "type"],
    }
    assert json_schema(given) == {
        "type": "object",
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["a", None]},
            "many": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "any": {"anyOf": [{"type": "number"}, {"type": "boolean"}]},
        },
        "required": ["type"],
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"type": "object", "additionalProperties": False},
        True,
        None,
    ],
)
def test_json_schema_stays_as_it_is(schema: object) -> None:
    assert schema == json_schema(schema)


def test_a_bottomless_schema_ends() -> None:
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"type": "ARRAY", "items": deep}
    assert isinstance(json_schema(deep), dict)
