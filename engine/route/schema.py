"""JSON Schema (draft-07) of a file, from the option dataclasses that also read and document it.

A file with `extends` may leave out what its parent says, remove a key with null and splice lists
with `inherit`; it is held against definitions that end in `.partial`. What a schema cannot say
(what a template reads, which variables exist) is left to `check`.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal, Union, get_args, get_origin

from engine.errors import Problem
from engine.options import (
    Condition,
    Duration,
    Path,
    Regex,
    Secret,
    Selector,
    Size,
    Template,
    Tree,
    Word,
)
from engine.transform import METHODS

from .fields import Field, fields_of
from .http_spec import StepSpec
from .manual import default_of, reference, sentence
from .nodes import Node, read
from .spec import ValueSpec
from .transforms import Loaded

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
FIRST = "0.1"  # the release that has every key without `since`

_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
_SCALAR: Schema = {"type": ["string", "number", "boolean"]}
_PATH: Schema = {"type": "string", "pattern": r"^\$"}
_PATHS: Schema = {"anyOf": [_PATH, {"type": "array", "items": _PATH, "minItems": 1}]}
_NAME = "^[a-z][a-z0-9_]*$"

_KINDS: dict[Any, Schema] = {
    str: _SCALAR,
    Secret: _SCALAR,
    Regex: _SCALAR,
    bool: {"anyOf": [{"type": "boolean"}, _REFERENCE]},
    int: {"anyOf": [{"type": "integer"}, _REFERENCE]},
    float: {"anyOf": [{"type": "number"}, _REFERENCE]},
    Duration: {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*(0|[0-9]+(\.[0-9]+)?(ms|s|m|h|d))\s*$"},
            {"const": 0},
            _REFERENCE,
        ]
    },
    Size: {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]+(B|KiB|MiB|GiB)?\s*$"},
            {"type": "integer", "minimum": 0},
            _REFERENCE,
        ]
    },
    Template: {"type": ["string", "number", "boolean", "null"]},
    Condition: {**_SCALAR, "not": {"type": "string", "pattern": r"^\s*\{\{"}},
    Path: _PATHS,
    Word: {"anyOf": [_SCALAR, {"type": "array", "items": _PATH, "minItems": 1}]},
    Selector: {"type": "object"},
    Tree: {},
    Any: {},
}

_SAMPLES: dict[Any, Any] = {
    str: "text",
    bool: True,
    int: 1,
    float: 1.5,
    Duration: "20s",
    Size: "8MiB",
    Regex: "token=([a-z0-9]+)",
    Template: "{{ req.prompt }}",
    Condition: "req.stream",
    Path: "$.data.text",
    Word: "$.data.reason",
    Selector: {"type": "delta"},
    Secret: "${env:API_KEY}",
    Tree: "{{ req.prompt }}",
    Node: "think_tags",
    Any: "text",
}


def json_schema(root: type, transforms: Sequence[Loaded] = ()) -> Schema:
    """The schema of files whose top level is `root`; `transforms` bring their options along."""
    writer = _Writer(root, transforms)
    whole = writer.refer(root, "", partial=False)
    top: Schema = {"$schema": DRAFT, "title": sentence(root) or root.__name__}
    if "extends" in fields_of(root):
        heir = {"type": "object", "required": ["extends"]}
        top |= {"if": heir, "then": writer.refer(root, "", partial=True), "else": whole}
    else:
        top |= {"allOf": [whole]}
    return {**top, "definitions": writer.definitions}


class _Writer:
    """Collects one definition for each option dataclass."""

    def __init__(self, root: type, transforms: Sequence[Loaded]) -> None:
        self.root = root
        self.transforms = transforms
        self.definitions: dict[str, Schema] = {}

    def refer(self, kind: type, prefix: str, *, partial: bool) -> Schema:
        """A reference to the definition of a dataclass, which is written if it is not there yet."""
        name = f"{prefix}{kind.__name__}{'.partial' if partial else ''}"
        if name not in self.definitions:
            self.definitions[name] = {}  # a dataclass may hold itself
            self.definitions[name] = self.options(kind, prefix, partial=partial)
        return {"$ref": f"#/definitions/{name}"}

    def options(self, kind: type, prefix: str, *, partial: bool) -> Schema:
        fields = fields_of(kind)
        properties = {
            key: self.property(kind, field, prefix, partial=partial)
            for key, field in fields.items()
        }
        out: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
        if kind is self.root:
            properties["$schema"] = _SCHEMA_KEY
            out["patternProperties"] = {"^x-": {}}
        if not partial:
            out |= _presence(kind, fields)
        shorthand = getattr(kind, "SHORTHAND", None)
        if shorthand is None:
            return out
        field = fields[shorthand]
        return {"anyOf": [out, self.value(kind, field.annotation, field, prefix, partial=False)]}

    def property(self, kind: type, field: Field, prefix: str, *, partial: bool) -> Schema:
        value = self.value(kind, field.annotation, field, prefix, partial=partial)
        if partial:
            value = {"anyOf": [value, {"type": "null"}]}
        elif "$ref" in value:
            value = {"allOf": [value]}  # beside `$ref` nothing else counts
        return {**value, **_notes(field)}

    def value(
        self, kind: type, annotation: Any, field: Field, prefix: str, *, partial: bool
    ) -> Schema:
        """The schema of one type. Items of lists are whole: lists replace, only maps merge."""
        origin, args = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            return {
                "anyOf": [self.value(kind, arg, field, prefix, partial=partial) for arg in args]
            }
        if annotation is types.NoneType:
            return {"type": "null"}
        if origin is Literal:
            return _words(args)
        if origin is list:
            return self.list_of(kind, args[0], field, prefix, partial=partial)
        if origin is dict:
            item = self.value(kind, args[1], field, prefix, partial=partial)
            items = {"anyOf": [item, {"type": "null"}]} if partial else item
            return {"type": "object", "additionalProperties": items}
        if annotation is Node:
            return self.transform(kind)
        if annotation is str and field.metadata.get("choices"):
            return _words(field.metadata["choices"])
        if annotation in _KINDS:
            return _KINDS[annotation]
        return self.refer(annotation, prefix, partial=partial)

    def list_of(self, kind: type, item: Any, field: Field, prefix: str, *, partial: bool) -> Schema:
        one = self.value(kind, item, field, prefix, partial=False)
        items = {"anyOf": [one, {"const": "inherit"}]} if partial else one
        whole: Schema = {"type": "array", "items": items}
        return {"anyOf": [whole, one]} if field.metadata.get("lone") else whole

    # ---- transforms ----

    def transform(self, kind: type) -> Schema:
        """A name, or one name with its options. Names that are not known here are taken, too."""
        wanted = _DOORS.get(kind, _LIST_METHODS)
        fitting = [loaded for loaded in self.transforms if loaded.methods & wanted]
        properties = {loaded.name: self.options_of(loaded) for loaded in fitting}
        in_list = wanted is _LIST_METHODS
        if in_list:
            properties["when"] = {**_KINDS[Condition], "description": "only if this holds"}
        names: list[Schema] = [{"type": "string", "pattern": _NAME}]
        if fitting:
            names.insert(0, {"enum": [loaded.name for loaded in fitting]})
        written = {
            "type": "object",
            "properties": properties,
            "patternProperties": {_NAME: {}},
            "additionalProperties": False,
            **(_NAME_AND_WHEN if in_list else _ONE_KEY),
        }
        return {"anyOf": [*names, written]}

    def options_of(self, loaded: Loaded) -> Schema:
        nothing: Schema = {"type": "null", "description": loaded.doc}
        if loaded.options is None:
            return nothing
        options = self.refer(loaded.options, f"{loaded.name}.", partial=False)
        if any(field.required for field in fields_of(loaded.options).values()):
            return {"allOf": [options], "description": loaded.doc}
        return {"anyOf": [options, nothing], "description": loaded.doc}


_DOORS: dict[type, frozenset[str]] = {
    ValueSpec: frozenset({"produce"}),
    StepSpec: frozenset({"extract"}),
}
_LIST_METHODS: frozenset[str] = frozenset(METHODS) - {"produce", "extract"}

_ONE_KEY: Schema = {"minProperties": 1, "maxProperties": 1}
_NAME_AND_WHEN: Schema = {
    "if": {"required": ["when"]},
    "then": {"minProperties": 2, "maxProperties": 2},
    "else": _ONE_KEY,
}

_SCHEMA_KEY: Schema = {
    "type": "string",
    "description": "for editors; it means nothing to the engine",
    "examples": ["./route.v1.json"],
    "x-since": FIRST,
}


def _presence(kind: type, fields: dict[str, Field]) -> Schema:
    """Which keys must be there, and which exclude one another."""
    out: Schema = {}
    required = [key for key, field in fields.items() if field.required]
    if required:
        out["required"] = required
    if one_of := getattr(kind, "ONE_OF", ()):
        out["oneOf"] = [{"required": [key]} for key in one_of]
    if rivals := getattr(kind, "AT_MOST_ONE", ()):
        out["not"] = {"anyOf": [{"required": list(pair)} for pair in combinations(rivals, 2)]}
    return out


def _words(words: Sequence[Any]) -> Schema:
    enum: Schema = {"enum": list(words)}
    texts = all(isinstance(word, str) for word in words)
    return {"anyOf": [enum, _REFERENCE]} if texts else enum


def _notes(field: Field) -> Schema:
    """What a person may want to know of a key."""
    data = field.metadata
    out: Schema = {
        "description": data.get("doc", ""),
        "examples": _examples(field),
        "x-since": data.get("since") or FIRST,
    }
    default = default_of(field)
    if default is not None:
        out["default"] = default
    if data.get("deprecated"):
        out |= {"deprecated": True, "deprecationMessage": data["deprecated"]}
    if data.get("roots"):
        out["x-context"] = [root for root in data["roots"] if root != "="]
    return out


def _examples(field: Field) -> list[Any]:
    example = field.metadata.get("example")
    if isinstance(example, str):
        problems: list[Problem] = []
        tree = read(example, "", problems)
        return [example if tree is None or problems else tree.plain()]
    if example is not None:
        return [example]
    return [_sample(field.annotation, field.metadata.get("choices", ()))]


def _sample(annotation: Any, choices: Sequence[str] = ()) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _sample(args[0], choices)
    if origin is Literal:
        return args[0]
    if origin is list:
        return [_sample(args[0], choices)]
    if origin is dict:
        return {"name": _sample(args[1])}
    if annotation is str and choices:
        return choices[0]
    if annotation in _SAMPLES:
        return _SAMPLES[annotation]
    return _sample_options(annotation)


def _sample_options(kind: type) -> Any:
    """The least one would write for a dataclass: what is required, one of its variants, a key."""
    fields = fields_of(kind)
    needed = [key for key, field in fields.items() if field.required]
    needed += getattr(kind, "ONE_OF", ())[:1]
    return {key: _examples(fields[key])[0] for key in needed or list(fields)[:1]}


__all__ = ["json_schema", "reference"]
