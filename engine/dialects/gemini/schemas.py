"""Schemas of the API: OpenAPI with types in capitals -> JSON Schema, as all other APIs take it."""

from __future__ import annotations

from .names import CAMEL

_COUNTS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
)
_DROPPED = frozenset({"nullable", "propertyOrdering", "example"})
_DEEPEST = 100


def json_schema(schema: object, depth: int = 0) -> object:
    """The JSON Schema that means the same. What is JSON Schema already stays as it is."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return schema
    given: dict[str, object] = {CAMEL.get(str(n), str(n)): value for n, value in schema.items()}
    out = {
        name: _value(name, value, depth + 1)
        for name, value in given.items()
        if name not in _DROPPED
    }
    if out.get("format") == "enum":
        del out["format"]
    kind = out.get("type")
    if given.get("nullable") is True and isinstance(kind, str):
        out["type"] = [kind, "null"]
        choices = out.get("enum")
        if isinstance(choices, list) and None not in choices:
            out["enum"] = [*choices, None]
    return out


def _value(name: str, value: object, depth: int) -> object:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name == "properties" and isinstance(value, dict):
        return {key: json_schema(inner, depth) for key, inner in value.items()}
    if name in ("items", "additionalProperties"):
        return json_schema(value, depth)
    if name in ("anyOf", "prefixItems") and isinstance(value, list):
        return [json_schema(inner, depth) for inner in value]
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)  # 64-bit integers are strings in protobuf's JSON
    return value
