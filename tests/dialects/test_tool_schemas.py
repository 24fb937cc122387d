"""Schemas of tools, rewritten for those that take a part of JSON Schema only."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.dialects.profile import SchemaProfile
from engine.dialects.tool_schemas import rewrite

PROFILES: tuple[SchemaProfile, ...] = get_args(SchemaProfile)
A, B = {"type": "string"}, {"type": "integer"}
EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("schema", [None, {}, True, "x"])
def test_a_tool_without_parameters_takes_none(profile: SchemaProfile, schema: object) -> None:
    assert EMPTY == rewrite(schema, profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_given_is_not_changed(profile: SchemaProfile) -> None:
    schema: Any = {
        "$defs": {"p": {"oneOf": [A, {"const": 3}]}},
        "anyOf": [{"properties": {"a": {"$ref": "#/$defs/p"}}}, {"required": ["b"]}],
    }
    before = deepcopy(schema)
    rewrite(schema, profile)
    assert before == schema


def test_as_it_came() -> None:
    for schema in ({"type": "object", "x": 1}, {"anyOf": [A]}, {"$ref": "#/x"}):
        assert schema == rewrite(schema, "jsonschema")
    assert {**EMPTY, "description": "d"} == rewrite({"description": "d"}, "jsonschema")


# ---- anthropic ----


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"properties": {"a": A}}, {"properties": {"a": A}, "type": "object"}),
        ({"type": ["object", "null"]}, {"type": "object", "properties": {}}),
        (
            {"anyOf": [{"properties": {"a": A}, "required": ["a"]},
                       {"properties": {"a": B, "b": B}, "required": ["a", "b"]}]},
            {"type": "object", "properties": {"a": {"anyOf": [A, B]}, "b": B}, "required": ["a"]},
        ),
        (
            {"allOf": [{"properties": {"a": A}, "required": ["a"]},
                       {"properties": {"b": B}, "required": ["b"]}]},
            {"type": "object", "properties": {"a": A, "b": B}, "required": ["a", "b"]},
        ),
        (
            {"$ref": "#/$defs/p", "$defs": {"p": {"type": "object", "properties": {"a": A}}}},
            {"type": "object", "properties": {"a": A},
             "$defs": {"p": {"type": "object", "properties": {"a": A}}}},
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://a.example/x"}}},
            {"type": "object", "properties": {"a": {}}},
        ),
    ],
)  # fmt: skip
def test_an_object_at_the_top(schema: Any, told: Any) -> None:
    assert told == rewrite(schema, "anthropic")


def test_references_further_inside_stay() -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/p"}}, "$defs": {"p": A}}
    assert schema == rewrite(schema, "anthropic")


# ---- openai_strict ----


def test_strict_objects_are_closed_and_ask_for_everything() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": A,
            "b": {"type": "object", "properties": {"c": B, "d": {"enum": ["x"]}}},
            "e": {"oneOf": [A, B]},
            "f": {"type": ["string", "null"]},
        },
        "required": ["a", "b", "e"],
    }
    found: Any = rewrite(schema, "openai_strict")
    assert (["a", "b", "e", "f"], False) == (found["required"], found["additionalProperties"])
    inner = found["properties"]["b"]
    assert (["c", "d"], False) == (inner["required"], inner["additionalProperties"])
    assert {"type": ["integer", "null"]} == inner["properties"]["c"]
    assert {"anyOf": [{"enum": ["x"]}, {"type": "null"}]} == inner["properties"]["d"]
    assert {"anyOf": [A, B]} == found["properties"]["e"]
    assert {"type": ["string", "null"]} == found["properties"]["f"]
    Draft202012Validator.check_schema(found)


def test_strict_takes_no_all_of_and_no_words_beside_a_reference() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"allOf": [{"$ref": "#/$defs/p"}], "description": "d"},
            "b": {"$ref": "#/$defs/p", "description": "d"},
            "c": {"$ref": "#/$defs/o"},
        },
        "required": ["a", "b", "c"],
        "$defs": {"p": {"enum": ["x"]}, "o": {"type": "object", "properties": {"y": A}}},
    }
    found: Any = rewrite(schema, "openai_strict")
    said = {"enum": ["x"], "description": "d"}
    assert {"a": said, "b": said, "c": {"$ref": "#/$defs/o"}} == found["properties"]
    assert ["y"] == found["$defs"]["o"]["required"]


# ---- gemini ----


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ({"const": "x"}, {"enum": ["x"], "type": "string"}),
        ({"enum": [1, 2]}, {"enum": ["1", "2"], "type": "string"}),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [A, B]}),
        ({"oneOf": [A, B]}, {"anyOf": [A, B]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 0}),
        ({"type": "array"}, {"type": "array", "items": A}),
        ({"type": "string", "format": "uuid"}, A),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"$ref": "#/$defs/p", "description": "d"}, {"type": "integer", "description": "d"}),
        (
            {"type": "object", "properties": {"x": A}, "required": ["x", "y"],
             "additionalProperties": False, "patternProperties": {"z": A}, "$schema": "s"},
            {"type": "object", "properties": {"x": A}, "required": ["x"]},
        ),
        (
            {"allOf": [{"properties": {"x": A}}, {"properties": {"y": B}}]},
            {"type": "object", "properties": {"x": A, "y": B}},
        ),
        ({"allOf": [{"$ref": "#/$defs/p"}], "title": "t"}, {"type": "integer", "title": "t"}),
        ({"allOf": [{"allOf": [A]}, {"maxLength": 3}]}, {"type": "string", "maxLength": 3}),
        ({"allOf": [{"enum": ["x", "y"]}]}, {"type": "string", "enum": ["x", "y"]}),
    ],
)  # fmt: skip
def test_the_openapi_subset(inner: Any, told: Any) -> None:
    schema = {"type": "object", "properties": {"a": inner}, "$defs": {"p": B}}
    found: Any = rewrite(schema, "gemini")
    assert {"type": "object", "properties": {"a": told}} == found


def test_a_schema_that_contains_itself_ends() -> None:
    tree = {"type": "object", "properties": {"a": A, "l": {"$ref": "#"}, "r": {"$ref": "#"}}}
    inner = {"type": "object", "properties": {"a": A, "l": {}, "r": {}}}
    wanted = {"type": "object", "properties": {"a": A, "l": inner, "r": inner}}
    assert wanted == rewrite(tree, "gemini")


@pytest.mark.parametrize("profile", ["gemini", "anthropic"])
@pytest.mark.parametrize("name", ["properties", "anyOf"])
def test_references_that_multiply_are_not_written_out_for_ever(
    profile: SchemaProfile, name: str
) -> None:
    defs: dict[str, Any] = {}
    for at in range(40):
        two = [{"$ref": f"#/$defs/d{at + 1}"}] * 2
        inside = {"properties": {"a": two[0], "b": two[1]}} if name == "properties" else {name: two}
        defs[f"d{at}"] = {"type": "object", **inside}
    found = rewrite({"$ref": "#/$defs/d0", "$defs": defs}, profile)
    assert len(repr(found)) < 2_000_000


KEYS = st.sampled_from(["a", "b", "c"])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([A, B, {"type": ["string", "null"]}, {"const": 1}, {"enum": ["x", 2, None]},
                     {"$ref": "#/$defs/p"}, {"$ref": "https://a.example/x"}, {}]),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("object"),
                               "properties": st.dictionaries(KEYS, inner, max_size=3)}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=8,
)  # fmt: skip


@given(SCHEMAS, st.sampled_from(PROFILES))
@example({"const": 1}, "gemini")
@example({"enum": ["x"]}, "anthropic")
def test_whatever_comes_is_a_schema_of_an_object(schema: Any, profile: SchemaProfile) -> None:
    found: Any = rewrite({**schema, "$defs": {"p": A}}, profile)
    Draft202012Validator.check_schema(found)
    if profile in ("anthropic", "gemini"):
        assert "object" == found["type"]
        assert not {"anyOf", "oneOf", "allOf", "$ref"} & set(found)
    if profile == "gemini":
        words = repr(found)
        for name in ("$ref", "$defs", "'const'", "oneOf", "allOf", "additionalProperties"):
            assert name not in words
