"""JSON Schema of a tool as an upstream takes it: a rewriter with named profiles.

jsonschema     as it came; a tool without parameters takes none
openai_strict  objects closed, every property required, those that were not may be null; no allOf,
               and no words beside a $ref
anthropic      an object at the top: no anyOf, oneOf, allOf or $ref there, and no remote $ref
gemini         the OpenAPI subset: references written out, no const, type lists or closed objects

Order of keys is kept, descriptions too. What cannot be said is widened, never narrowed: the model
may then say more than the tool takes, and the tool tells it so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from .profile import SchemaProfile

Schema = dict[str, object]
Path = tuple[object, ...]  # references that lead to a place

_MOST = 4000  # schemas written out in one; references within references may stand for any number
_BRANCHES = ("anyOf", "oneOf", "allOf")


def rewrite(schema: object, profile: SchemaProfile) -> Schema:
    """The schema of a tool's arguments, always one of an object. The given one is not changed."""
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    return _PROFILES[profile](schema)


def _as_given(schema: Schema) -> Schema:
    if "type" in schema or any(name in schema for name in (*_BRANCHES, "$ref")):
        return schema
    return {"type": "object", "properties": {}, **schema}


# ---- walking ----

_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
        "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def _inside(schema: Schema, step: Callable[[Schema], Schema]) -> Schema:
    """A copy in which `step` was done to every schema directly inside."""
    out: Schema = {}
    for name, value in schema.items():
        if name in _ONE and isinstance(value, dict):
            out[name] = step(value)
        elif name in _LISTS and isinstance(value, list):
            out[name] = [step(item) if isinstance(item, dict) else item for item in value]
        elif name in _MAPS and isinstance(value, dict):
            out[name] = {
                key: step(item) if isinstance(item, dict) else item for key, item in value.items()
            }
        else:
            out[name] = value
    return out


def target(root: Schema, ref: object) -> Schema | None:
    """What a local reference points at."""
    if not isinstance(ref, str) or not ref.startswith("#"):
        return None
    found: object = root
    for step in ref[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return cast("Schema", found) if isinstance(found, dict) else None


class _Root:
    """The whole schema, where references are looked up, and how much of it was written out."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._left = _MOST

    def resolved(self, schema: Schema, path: Path) -> tuple[Schema, Path]:
        """The schema with what it refers to in its place, and the references that led to it.

        Words beside a reference win. One that leads back to where it stands leads nowhere.
        """
        self._left -= 1
        while "$ref" in schema:
            ref = schema["$ref"]
            found = target(self._schema, ref) if ref not in path and self._left > 0 else None
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            if found is None:
                return beside, path
            schema, path = {**found, **beside}, (*path, ref)
        return schema, path


def _merged(schema: Schema, branches: list[Schema], *, every: bool) -> Schema:
    """One object out of several. every: all hold at once, so what each requires is required."""
    properties = dict(_map(schema.get("properties")))
    required = set(_list(schema.get("required")))
    wanted: list[set[object]] = []
    for branch in branches:
        for name, value in _map(branch.get("properties")).items():
            known = properties.get(name)
            if known is None or known == value or every:
                properties[name] = value if known is None else known
            else:
                properties[name] = _either(known, value)
        wanted.append(set(_list(branch.get("required"))))
    if wanted:
        required |= set.union(*wanted) if every else set.intersection(*wanted)
    out: Schema = {k: v for k, v in schema.items() if k not in ("properties", "required")}
    out |= {"type": "object", "properties": properties}
    if required:
        out["required"] = [name for name in properties if name in required]
    return out


def _either(one: object, two: object) -> object:
    known = one.get("anyOf") if isinstance(one, dict) and set(one) == {"anyOf"} else None
    choices = known if isinstance(known, list) else [one]
    return {"anyOf": choices if two in choices else [*choices, two]}


def _map(value: object) -> Schema:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _flat(root: _Root, schema: Schema, path: Path = ()) -> tuple[Schema, Path]:
    """An object schema without branches or reference at its top."""
    schema, path = root.resolved(schema, path)
    for name in _BRANCHES:
        branches = schema.get(name)
        if isinstance(branches, list):
            schema = {key: value for key, value in schema.items() if key != name}
            found = [
                _flat(root, branch, path)[0] for branch in branches if isinstance(branch, dict)
            ]
            schema = _merged(schema, found, every=name == "allOf")
    out = {name: value for name, value in schema.items() if name not in ("const", "enum")}
    return {**out, "type": "object", "properties": _map(schema.get("properties"))}, path


def _together(root: _Root, schema: Schema, path: Path) -> tuple[Schema, Path]:
    """A schema without `allOf`: one object, or where no branch is one the words of all branches.

    Generators write one branch to say something beside a reference: `allOf: [$ref], description`.
    """
    while isinstance(schema.get("allOf"), list):
        found = [root.resolved(b, path) for b in _list(schema["allOf"]) if isinstance(b, dict)]
        if any(_is_object(each) for each in (schema, *(branch for branch, _ in found))):
            return _flat(root, schema, path)
        schema = {name: value for name, value in schema.items() if name != "allOf"}
        for branch, way in found:
            schema, path = {**branch, **schema}, (*path, *way)
    return schema, path


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object" or "properties" in schema


# ---- profiles ----


def _anthropic(schema: Schema) -> Schema:
    flat = schema
    if schema.get("type") != "object" or any(name in schema for name in (*_BRANCHES, "$ref")):
        flat, _ = _flat(_Root(schema), schema)
        for name in ("$defs", "definitions"):  # what is deeper inside may still refer to them
            if name in schema:
                flat[name] = schema[name]
    return _local(flat)


def _local(schema: Schema) -> Schema:
    """Without references to elsewhere: nobody would fetch them."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and not ref.startswith("#"):
        schema = {name: value for name, value in schema.items() if name != "$ref"}
    return _inside(schema, _local)


def _strict(schema: Schema) -> Schema:
    root = _Root(schema)
    return _closed(root, schema, ())


def _closed(root: _Root, schema: Schema, path: Path) -> Schema:
    if "$ref" in schema and len(schema) > 1:  # strict mode takes no words beside a reference
        schema, path = root.resolved(schema, path)
    schema, path = _together(root, schema, path)  # nor `allOf`
    found = _inside(_renamed(schema), lambda inner: _closed(root, inner, path))
    if found.get("type") != "object" and "properties" not in found:
        return found
    properties = _map(found.get("properties"))
    required = _list(found.get("required"))
    told = {name: value if name in required else _nullable(value)
            for name, value in properties.items()}  # fmt: skip
    out = {k: v for k, v in found.items() if k != "patternProperties"}
    return {**out, "type": "object", "properties": told, "required": list(told),
            "additionalProperties": False}  # fmt: skip


def _renamed(schema: Schema) -> Schema:
    if "oneOf" not in schema:
        return schema
    return {"anyOf" if name == "oneOf" else name: value for name, value in schema.items()}


def _nullable(schema: object) -> object:
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return schema if kind == "null" else {**schema, "type": [kind, "null"]}
    if isinstance(kind, list) and "enum" not in schema:
        return schema if "null" in kind else {**schema, "type": [*kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


_OPENAPI = frozenset(
    {
        "type", "format", "title", "description", "nullable", "enum", "items", "properties",
        "required", "minItems", "maxItems", "minProperties", "maxProperties", "minLength",
        "maxLength", "pattern", "minimum", "maximum", "anyOf", "propertyOrdering", "example",
        "default",
    }
)  # fmt: skip
_FORMATS = frozenset({"date-time", "enum", "int32", "int64", "float", "double"})


def _gemini(schema: Schema) -> Schema:
    root = _Root(schema)
    return _openapi(root, *_flat(root, schema))


def _openapi(root: _Root, schema: Schema, path: Path) -> Schema:
    schema, path = root.resolved(schema, path)
    schema, path = _together(root, schema, path)
    schema = _bounds(_one_type(_renamed(schema)))
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
    kept = {name: value for name, value in schema.items() if name in _OPENAPI}
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    if "enum" in kept:  # texts are all that an enum may hold
        texts = [str(item) for item in _list(kept["enum"]) if item is not None and item != ""]
        kept |= {"enum": texts, "type": "string"}
    if kept.get("type") == "array" and not isinstance(kept.get("items"), dict):
        kept["items"] = {"type": "string"}
    out = _inside(kept, lambda inner: _openapi(root, inner, path))
    if "required" in out:
        known = _map(out.get("properties"))
        out["required"] = [name for name in _list(out["required"]) if name in known]
    return out


def _one_type(schema: Schema) -> Schema:
    """A list of types as one type that may be null, or as alternatives."""
    kinds = schema.get("type")
    if not isinstance(kinds, list):
        return schema
    real = [kind for kind in kinds if kind != "null"]
    out: Schema = {name: value for name, value in schema.items() if name != "type"}
    if len(real) < len(kinds):
        out["nullable"] = True
    if len(real) == 1:
        return {**out, "type": real[0]}
    return {**out, "anyOf": [{"type": kind} for kind in real]} if real else out


def _bounds(schema: Schema) -> Schema:
    """Exclusive bounds as the nearest ones the subset has."""
    out = dict(schema)
    for name, other in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        value = out.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            out.setdefault(other, value)
    return out


_PROFILES: dict[SchemaProfile, Callable[[Schema], Schema]] = {
    "jsonschema": _as_given,
    "openai_strict": _strict,
    "anthropic": _anthropic,
    "gemini": _gemini,
}
