"""Schemas to which a Messages upstream can hold an answer, or the arguments of a strict tool.

The API makes a grammar of the schema and refuses what it has no rule for: every object must be
closed, numbers and texts have no bounds, nothing refers to itself. Bounds go into the description,
as Anthropic's own SDKs put them there. Where an object may hold anything no schema can be sent: an
answer's is told in words then, and a tool is not strict.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Tool
from engine.wire import dumps

from .profile import Profile
from .schema_answer import in_words
from .tool_schemas import target

Schema = dict[str, object]

_KEPT = ("title", "description", "type", "enum", "const", "default")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_DEFINED = ("$defs", "definitions")
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_BOUNDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
     "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems"}
)  # fmt: skip


def held(request: ChatRequest, profile: Profile) -> ChatRequest:
    """The request with schemas that the API takes. Fills `dropped`."""
    out = request.out
    if out.format == "schema" and profile.json_schema == "native":
        found = sayable(out.schema)
        if found is None:
            request = in_words(replace(request, out=replace(out, format=None)), out.schema)
        else:
            request = replace(request, out=replace(out, schema=found))
    if any(tool.strict for tool in request.tools):
        tools = [_tool(tool) if tool.strict else tool for tool in request.tools]
        if any(tool.strict is None for tool in tools) and "tools.strict" not in request.dropped:
            request.dropped.append("tools.strict")
        request = replace(request, tools=tools)
    return request


def _tool(tool: Tool) -> Tool:
    found = sayable(tool.schema or {"type": "object", "properties": {}})
    return replace(tool, strict=None) if found is None else replace(tool, schema=found)


def sayable(schema: object) -> Schema | None:
    """The schema as the API takes it, None where it cannot."""
    if not isinstance(schema, dict):
        return None
    try:
        return _Fitting(schema).fit(schema, ())
    except (_Unsayable, RecursionError):
        return None


class _Unsayable(Exception):
    pass


class _Fitting:
    """Fits the parts of one schema. sound: references that are known to lead to an end."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._sound: set[str] = set()

    def fit(self, schema: object, path: tuple[str, ...]) -> Schema:
        """path: the references that led here."""
        if not isinstance(schema, dict):
            raise _Unsayable
        schema = _alone(schema)
        defined: Schema = {
            name: {key: self.fit(value, path) for key, value in _map(schema[name]).items()}
            for name in _DEFINED
            if name in schema
        }
        if "$ref" in schema:
            return {**defined, "$ref": self._followed(schema["$ref"], path)}
        out: Schema = {name: schema[name] for name in _KEPT if name in schema}
        out |= self._branches(schema, path)
        if not out.keys() & {"type", "enum", "const", "anyOf", "allOf"}:
            raise _Unsayable
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "object" in kinds or "properties" in schema:
            out |= self._object(schema, path)
        if "items" in schema:
            out["items"] = self.fit(schema["items"], path)
        return {**defined, **_told(schema, out)}

    def _followed(self, ref: object, path: tuple[str, ...]) -> str:
        found = target(self._root, ref)
        if found is None or not isinstance(ref, str) or ref in path:
            raise _Unsayable
        if ref not in self._sound:
            self.fit(found, (*path, ref))
            self._sound.add(ref)
        return ref

    def _branches(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        out: Schema = {}
        for name in _BRANCHES:
            branches = schema.get(name)
            if isinstance(branches, list):
                found = [self.fit(branch, path) for branch in branches]
                if name == "allOf" and any("$ref" in branch for branch in found):
                    raise _Unsayable
                out["allOf" if name == "allOf" else "anyOf"] = found
        return out

    def _object(self, schema: Schema, path: tuple[str, ...]) -> Schema:
        more, properties = schema.get("additionalProperties"), _map(schema.get("properties"))
        if isinstance(more, dict) or "patternProperties" in schema:
            raise _Unsayable
        if "properties" not in schema and more is not False:  # it may hold anything
            raise _Unsayable
        out: Schema = {"properties": {n: self.fit(value, path) for n, value in properties.items()}}
        required = schema.get("required")
        if isinstance(required, list):
            names = [name for name in required if isinstance(name, str)]
            out["required"] = [name for name in names if name in properties]
        return {**out, "additionalProperties": False}


def _map(value: object) -> Schema:
    return value if isinstance(value, dict) else {}


def _alone(schema: Schema) -> Schema:
    """A single branch that all must fit, as generators write it, together with what stands around
    it."""
    branches = schema.get("allOf")
    if isinstance(branches, list) and len(branches) == 1 and isinstance(branches[0], dict):
        return {**branches[0], **{name: item for name, item in schema.items() if name != "allOf"}}
    return schema


def _told(schema: Schema, out: Schema) -> Schema:
    """The bounds that have a place, and in words those that have none."""
    words: list[str] = []
    for name, value in schema.items():
        if name not in _BOUNDS:
            continue
        known = name == "format" and isinstance(value, str) and value in _FORMATS
        if known or (name == "minItems" and value in (0, 1)):
            out[name] = value
        else:
            words.append(f"{name}: {dumps(value).decode()}")
    if words:
        about = [out["description"]] if isinstance(out.get("description"), str) else []
        out["description"] = "\n\n".join(map(str, [*about, f"({', '.join(words)})"]))
    return out
