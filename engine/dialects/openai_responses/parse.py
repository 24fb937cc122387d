"""Responses request body -> ChatRequest; the items of its input are the business of items.py.

Nothing is lost: a field the model has no place for stays in the `extras` of its own level.
`extras` also keep `input`, `reasoning`, `text` and `include` as the client wrote them. The tools of
a namespace stand among the others as `namespace__name`; what the client said of the namespace is in
their extras. An explicit null equals its absence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from engine.chat import (
    ChatRequest,
    Extras,
    Message,
    Output,
    Sampling,
    Text,
    Think,
    Tool,
    ToolChoice,
)
from engine.dialects.reading import body_fields, fields, model_of, need, read_body, take
from engine.errors import RequestError
from engine.wire import Headers

from .items import NAME, flat_name, read_items

INPUT = "input"  # extra: the input as the client sent it
CONTINUED = "continued_response_id"  # extra: the answer whose conversation was put in front
# Top-level extras that repeat what the model says already, or that no body holds.
SPELLINGS = frozenset(
    {"reasoning", "reasoning.mode", "text", "top_logprobs", "stream_options", INPUT, CONTINUED}
)
INSTRUCTIONS = "instructions"  # extra of the message that came under this name
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"


def parse(body: bytes, headers: Headers) -> ChatRequest:
    """Raises RequestError(bad_request) that names the field, as `input[2].content`."""
    return parse_value(read_body(body))


def parse_value(value: object) -> ChatRequest:
    """`parse` for a body that is decoded already. The value is not changed."""
    rest = {name: item for name, item in body_fields(value).items() if item is not None}
    given = rest.get("input")
    request = ChatRequest(
        dialect=NAME,
        model=model_of(rest),
        messages=_instructions(rest) + _input(rest),
        parallel=take(rest, "parallel_tool_calls", bool),
        sampling=_sampling(rest),
        stream=bool(take(rest, "stream", bool)),
        want_usage=True,
        user=take(rest, "user", str),
        metadata=take(rest, "metadata", dict),
        tools=_tools(take(rest, "tools", list) or []),
    )
    request.tool_choice = _choice(rest.pop("tool_choice", None))
    request.think, request.out = _think(rest), _output(rest)
    if given is not None:
        rest[INPUT] = given
    request.extras = rest
    for name in ("previous_response_id", "prompt_cache_key", "safety_identifier"):
        if name in rest:
            need(dict(rest), name, str)
    return request


def asks(request: ChatRequest, what: str) -> bool:
    """Whether `include` names it."""
    include = request.extras.get("include")
    return isinstance(include, list) and what in include


# ---- top level ----


def _instructions(rest: Extras) -> list[Message]:
    text = take(rest, "instructions", str)
    if not text:
        return []
    return [Message("system", [Text(text)], extras={INSTRUCTIONS: True}, dialect=NAME)]


def _input(rest: Extras) -> list[Message]:
    given = rest.pop("input", None)
    if given is None:
        if "previous_response_id" in rest or "conversation" in rest or "prompt" in rest:
            return []
        raise RequestError("bad_request", "input: expected a string or a list", param="input")
    if isinstance(given, str):
        return [Message("user", [Text(given)], dialect=NAME)]
    if not isinstance(given, list):
        raise RequestError("bad_request", "input: expected a string or a list", param="input")
    return read_items(given)


def _sampling(rest: Extras) -> Sampling:
    return Sampling(
        temperature=take(rest, "temperature", float),
        top_p=take(rest, "top_p", float),
        presence=take(rest, "presence_penalty", float),
        frequency=take(rest, "frequency_penalty", float),
    )


def _think(rest: Extras) -> Think:
    given = take(rest, "reasoning", dict)
    if given is None:
        return Think()
    rest["reasoning"] = given
    if given.get("mode") not in (None, "standard"):
        rest["reasoning.mode"] = given["mode"]
    return read_think(given)


def read_think(given: object) -> Think:
    """What `reasoning` says."""
    given = given if isinstance(given, dict) else {}
    effort, shown = given.get("effort"), given.get("summary") or given.get("generate_summary")
    think = Think(show=True if shown else None)
    if isinstance(effort, str):
        think.mode, think.effort = "off" if effort == "none" else None, effort
    return think


_Format = Literal["text", "json", "schema"]
_FORMATS: dict[object, _Format] = {"text": "text", "json_object": "json", "json_schema": "schema"}


def read_text(given: object) -> Output:
    """Format and verbosity of `text`; format None if it has none that is known."""
    given = given if isinstance(given, dict) else {}
    form, out = given.get("format"), Output()
    if isinstance(form, dict):
        out.format = _FORMATS.get(take(dict(form), "type", str, "text.format."))
    if out.format == "schema":
        spec, where = fields(form, "text.format"), "text.format."
        out.schema = take(spec, "schema", dict, where)
        out.schema_name = take(spec, "name", str, where)
        out.schema_about = take(spec, "description", str, where)
        out.strict = take(spec, "strict", bool, where)
    return out


def _output(rest: Extras) -> Output:
    given = take(rest, "text", dict)
    out = read_text(given)
    if given is not None:
        rest["text"] = given
        if "verbosity" in given:
            out.verbosity = take(dict(given), "verbosity", str, "text.")
    most = take(rest, "max_output_tokens", int)
    if most is not None and most < 1:
        raise RequestError(
            "bad_request", "max_output_tokens: must be at least 1", param="max_output_tokens"
        )
    out.max_tokens = most
    top, include = take(rest, "top_logprobs", int), take(rest, "include", list)
    if include is not None:
        rest["include"] = include
    if top is not None:
        rest["top_logprobs"] = top
    if LOGPROBS in (include or []):
        out.logprobs = top or 0
    return out


# ---- tools ----


def _tools(given: list[object]) -> list[Tool]:
    return [tool for at, raw in enumerate(given) for tool in _tool(raw, f"tools[{at}]")]


def _tool(raw: object, where: str) -> list[Tool]:
    rest = fields(raw, where)
    kind = need(rest, "type", str, where + ".")
    if kind == "namespace":
        return _namespace(rest, where + ".")
    read = _KINDS.get(kind)
    if read is None:
        return [Tool(name=kind, kind="hosted", raw=raw, dialect=NAME)]
    return [read(rest, where + ".")]


def _function(rest: Extras, where: str) -> Tool:
    return Tool(
        name=need(rest, "name", str, where),
        description=take(rest, "description", str, where),
        schema=take(rest, "parameters", dict, where),
        strict=take(rest, "strict", bool, where),
        extras=rest,
        dialect=NAME,
    )


def _custom(rest: Extras, where: str) -> Tool:
    name, words = need(rest, "name", str, where), take(rest, "description", str, where)
    return Tool(name=name, description=words, kind="custom", extras=rest, dialect=NAME)


_KINDS: dict[str, Callable[[Extras, str], Tool]] = {"function": _function, "custom": _custom}


def _namespace(rest: Extras, where: str) -> list[Tool]:
    """The tools in a namespace under names that hold it; `namespace` has the rest of it."""
    name = need(rest, "name", str, where)
    tools: list[Tool] = []
    for at, raw in enumerate(need(rest, "tools", list, where)):
        for tool in _tool(raw, f"{where}tools[{at}]"):
            if tool.kind != "hosted":
                tool.extras = {**tool.extras, "namespace": {"name": name, **rest}}
                tool.name = flat_name(name, tool.name)
            tools.append(tool)
    return tools


def _choice(raw: object) -> ToolChoice | None:
    if raw is None:
        return None
    if raw in ("auto", "none", "required"):
        return ToolChoice(raw)
    if isinstance(raw, str):
        return ToolChoice("other", raw=raw)
    rest = fields(raw, "tool_choice")
    kind = need(rest, "type", str, "tool_choice.")
    if kind in ("function", "custom"):
        return ToolChoice("named", [_chosen(rest, "tool_choice.")], raw)
    if kind == "allowed_tools":
        listed = enumerate(take(rest, "tools", list, "tool_choice.") or [])
        found = [(fields(tool, f"tool_choice.tools[{at}]"), at) for at, tool in listed]
        names = [_chosen(tool, f"tool_choice.tools[{at}].") for tool, at in found if "name" in tool]
        return ToolChoice("other", names, raw)
    return ToolChoice("other", raw=raw)


def _chosen(rest: Extras, where: str) -> str:
    space, name = take(rest, "namespace", str, where), need(rest, "name", str, where)
    return name if space is None else flat_name(space, name)
