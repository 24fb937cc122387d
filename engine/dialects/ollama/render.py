"""ChatRequest -> chat request body.

What came from this dialect goes back as it came, up to key order and explicit defaults; what came
from another is said with the means of this one. Tool calls and results have no ids here: a result
says the name of its tool, and order does the rest. A choice of tools cannot be said: without any
(`none`) the tools stay at home, a forced call is named in `request.dropped`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)
from engine.dialects.arguments import arguments
from engine.dialects.foreign import foreign_extras, native, native_tools, settle_system
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError

from .generate import MARK
from .parse import NAME, SPELLINGS, read_format, read_think


def render(request: ChatRequest, model: str, profile: Profile = PROFILE) -> dict[str, object]:
    """The body for an upstream that calls the model `model`. Fills `request.dropped`.

    Raises RequestError(unsupported) for what cannot be said here, as an image by URL.
    """
    own = request.dialect == NAME
    dropped: list[str] = []
    body: dict[str, object] = {
        "model": model,
        "messages": messages(request.messages, profile, dropped),
        "stream": request.stream,
    }
    spelt = request.extras if own else {}
    kept = (
        {name: value for name, value in spelt.items() if name not in (*SPELLINGS, "options", MARK)}
        if own
        else foreign_extras(request, profile, dropped)
    )
    body |= kept
    _tools(body, request, dropped)
    options = _options(request, spelt.get("options"))
    if options:
        body["options"] = options
    _format(body, request, spelt)
    _think(body, request.think, spelt, own, profile, dropped)
    if request.out.logprobs is not None:
        body["logprobs"] = True
        _set(body, "top_logprobs", request.out.logprobs or None)
    _unsayable(request, dropped)
    request.dropped += [name for name in dropped if name not in request.dropped]
    return body


def _set(body: Extras, name: str, value: object) -> None:
    if value is not None:
        body[name] = value


def _unsayable(request: ChatRequest, dropped: list[str]) -> None:
    if request.out.n > 1:
        message = "n: the upstream of this model gives one answer at a time"
        raise RequestError("unsupported", message, param="n")
    if request.sampling.logit_bias:
        dropped.append("logit_bias")


def _options(request: ChatRequest, spelt: object) -> Extras:
    """Limits and sampling; what else the client said in `options` stays."""
    sampling, out = request.sampling, request.out
    found: Extras = dict(spelt) if isinstance(spelt, dict) else {}
    for name, value in (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("top_k", sampling.top_k),
        ("presence_penalty", sampling.presence),
        ("frequency_penalty", sampling.frequency),
        ("seed", sampling.seed),
        ("num_predict", out.max_tokens),
        ("stop", out.stop or None),
    ):
        _set(found, name, value)
    return found


def _format(body: Extras, request: ChatRequest, spelt: Extras) -> None:
    out, sent = request.out, spelt.get("format")
    if sent is not None and read_format(sent) == (out.format, out.schema):
        body["format"] = sent
    elif out.format == "schema":
        body["format"] = out.schema
    elif out.format == "json":
        body["format"] = "json"


def _think(
    body: Extras, think: Think, spelt: Extras, own: bool, profile: Profile, dropped: list[str]
) -> None:
    """`think`: true or false, or how much where the upstream's models take a level."""
    sent = spelt.get("think")
    if not think.asked:
        return
    if profile.thinking == "none":
        dropped.append("think" if own else "reasoning_effort")
    elif own and read_think(sent) == think:
        body["think"] = sent
    elif think.mode == "off" or think.effort == "none":
        body["think"] = False
    else:
        body["think"] = (profile.think_levels and _LEVELS.get(think.effort or "")) or True


_LEVELS = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high",
    "max": "high",
}  # fmt: skip


# ---- tools ----


def _tools(body: Extras, request: ChatRequest, dropped: list[str]) -> None:
    choice = request.tool_choice
    if not request.tools:
        return
    if choice is None or choice.mode != "none":
        body["tools"] = tools(request.tools)
    if choice is not None and choice.mode not in ("auto", "none"):
        dropped.append("tool_choice")
    if any(tool.strict for tool in request.tools):
        dropped.append("tools.strict")
    if request.parallel is False:
        dropped.append("parallel_tool_calls")


def tools(items: list[Tool]) -> list[object]:
    """`tools` of a request body. Raises RequestError(unsupported) for what is no function."""
    return [_tool(tool) for tool in native_tools(items, NAME)]


def _tool(tool: Tool) -> object:
    if tool.kind != "function":
        message = (
            f"tools: the upstream of this model cannot take the {tool.kind} tool `{tool.name}`"
        )
        raise RequestError("unsupported", message, param="tools", about=tool)
    inner: Extras = {"name": tool.name}
    _set(inner, "description", tool.description)
    bare = None if tool.dialect == NAME else {"type": "object", "properties": {}}
    _set(inner, "parameters", tool.schema or bare)
    return {"type": "function", **_nested(tool.extras, inner)}


def tool_choice(choice: ToolChoice) -> object:
    """The word for a choice of tools; requests of this API have no place for it."""
    return choice.mode


def _nested(extras: Extras, inner: Extras) -> Extras:
    """An object's extras with `inner` as its function, where extras may hold more of it."""
    more = extras.get("function")
    return {**extras, "function": {**inner, **more} if isinstance(more, dict) else inner}


# ---- messages ----


def messages(
    items: list[Message], profile: Profile = PROFILE, dropped: list[str] | None = None
) -> list[object]:
    """`messages` of a request body. Parts that have no form here are named in `dropped`."""
    out: list[object] = []
    names: dict[str, str] = {}
    lost = [] if dropped is None else dropped
    later = "keep" if profile.later_system == "as_sent" else profile.later_system
    for message in settle_system(native(items, NAME), later):
        names |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        out += [_result(result, message, names, lost) for result in results]
        rest: list[Part] = [part for part in message.parts if not isinstance(part, ToolResult)]
        if message.dialect != NAME and message.role == "assistant" and all(map(_foreign, rest)):
            lost += [part.kind for part in rest if isinstance(part, Opaque)]
        elif rest or not results:
            out.append(_message(message, rest, lost))
    return out


def _foreign(part: Part) -> bool:
    return isinstance(part, Opaque)


def _result(
    result: ToolResult, message: Message, names: dict[str, str], dropped: list[str]
) -> Extras:
    """A `tool` message: text, pictures, and the name of the tool that was called."""
    extras = message.extras if message.dialect == NAME else {}
    said = _content(result.parts, dropped)
    if result.is_error:
        said["content"] = f"Error: {said['content']}"
    out: Extras = {**extras, "role": "tool", **said}
    _set(out, "tool_name", result.name or names.get(result.call_id))
    return out


def _message(message: Message, parts: list[Part], dropped: list[str]) -> Extras:
    role = "system" if message.role == "developer" else message.role
    out: Extras = {**message.extras, "role": role}
    thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
    if thought:
        out["thinking"] = thought
    out |= _content(parts, dropped, "" if role == "assistant" else "\n")
    calls = [_call(part) for part in parts if isinstance(part, ToolCall)]
    if calls:
        out["tool_calls"] = calls
    return out


def _content(parts: list[Part], dropped: list[str], between: str = "\n") -> Extras:
    """`content`, and `images` if there are any. between: what parts texts of their own."""
    texts: list[str] = []
    pictures: list[str] = []
    for part in parts:
        say = _SAID.get(type(part))
        if say is not None:
            say(part, texts, pictures)
        elif isinstance(part, Opaque):
            dropped.append(part.kind)
    said: Extras = {"content": between.join(texts)}
    if pictures:
        said["images"] = pictures
    return said


def _text(part: Text | Refusal, texts: list[str], pictures: list[str]) -> None:
    if part.text:
        texts.append(text_of([part]))


def _media(part: Media, texts: list[str], pictures: list[str]) -> None:
    if part.kind != "image" or part.data is None:
        what = "an image by URL" if part.kind == "image" else part.kind
        message = f"{what} cannot be sent to the upstream of this model"
        raise RequestError("unsupported", message, about=part)
    pictures.append(part.data)


_SAID: dict[type, Callable[[Any, list[str], list[str]], None]] = {
    Text: _text,
    Refusal: _text,
    Media: _media,
}


def _call(call: ToolCall) -> Extras:
    inner: Extras = {"name": call.name, "arguments": arguments(call)}
    return _nested(call.extras, inner)


__all__ = ["messages", "render", "tool_choice", "tools"]
