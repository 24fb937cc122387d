"""What a request brings that its upstream's dialect has no words for.

`render` of every dialect comes here first: extras belong to the dialect they came in and go no
further, fields whose loss would change what is meant are refused, all others are named in
`dropped`, and hints are left out without a word. What comes of a refusal `losses.py` decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from engine.chat import (
    ChatRequest,
    Extras,
    Media,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from engine.errors import RequestError

from .answered import in_place
from .losses import Lost
from .profile import Profile

# Left out without a word: hints, and what only repeats in one dialect's spelling what the model
# says already.
_SILENT = frozenset(
    {
        "betas", "billing_policy", "diagnostics", "fallbacks", "include",
        "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "service_tier", "speed", "store", "truncation", "user_profile_id",
        "verbosity", "workspace_id",
        "function_call", "functions", "logprobs", "max_tokens", "n", "response_format", "stop",
        "stream", "stream_options", "top_logprobs",
        "keep_alive",
        "output_config", "thinking",
        "generationConfig.format", "generationConfig.thinkingConfig", "labels", "serviceTier",
        "access_programs", "continued_response_id", "input", "reasoning", "text",
    }
)  # fmt: skip
_REFUSED = frozenset(
    {"audio", "background", "cachedContent", "container", "conversation", "inference_geo",
     "mcp_servers", "previous_response_id", "prompt"}
)  # fmt: skip
# Dialects whose clients offer the provider's own tools as a matter of course (Codex: web_search in
# every request): what nobody can run is left out and named.
_OFFERS_HOSTED = frozenset({"openai_responses"})
# Objects whose fields are named one by one.
_GROUPS = frozenset({"options", "toolConfig"})
# What an answer is to be made of, where it is no text.
_MODALITIES: dict[str, object] = {
    "modalities": ["text"],
    "generationConfig.responseModalities": ["TEXT"],
}
# Left out without a word only where they come from this dialect: others have no such field.
_SILENT_OF = {
    "anthropic_messages": frozenset({"cache_control"}),
    "ollama": frozenset({"format", "generate", "think"}),
}

_LEGACY = "functions"
_SYSTEM = ("system", "developer")


def foreign_extras(
    request: ChatRequest,
    profile: Profile,
    dropped: list[str],
    *,
    shows: bool = False,
    lent: frozenset[str] = frozenset(),
) -> Extras:
    """Top-level extras of another dialect that the profile sends on; the others are named.

    shows: the dialect can ask for pictures; lent: its own fields that foreign clients may say
    """
    kept: Extras = {}
    asked = shows and bool(request.out.modalities)
    said = _SILENT_OF.get(request.dialect, frozenset())
    for name, value in request.extras.items():
        if name in said or (name in _REFUSED and value is False):
            continue
        if name in _GROUPS and isinstance(value, dict):
            kept |= {key: held for key, held in value.items() if key in profile.forward_extras}
            dropped += [f"{name}.{key}" for key in value if key not in kept]
            continue
        if name in profile.forward_extras or name in lent:
            kept[name] = value
        elif name in _REFUSED or (_MODALITIES.get(name, value) != value and not asked):
            message = f"{name}: the upstream of this model cannot do this"
            raise RequestError("unsupported", message, param=name)
        elif name not in _SILENT and name not in _MODALITIES:
            dropped.append(name)
    return kept


def native(messages: list[Message], dialect: str) -> list[Message]:
    """The messages without what other dialects added to them; their empty system messages go.

    Results of tools stand where every dialect takes them.
    """
    if all(m.dialect in ("", dialect) for m in messages):
        return [m for m in messages if m.parts or m.dialect or m.role not in _SYSTEM]
    kept = (m if m.dialect in ("", dialect) else bare(m) for m in messages)
    return in_place([m for m in kept if m.parts or m.dialect or m.role not in _SYSTEM])


def bare(message: Message) -> Message:
    """The message without what its dialect added to it; system texts become one."""
    if message.role in _SYSTEM:
        text = "\n\n".join(p.text for p in message.parts if isinstance(p, Text) and p.text)
        return Message(message.role, [Text(text)] if text else [])
    return Message(message.role, [_plain(part) for part in message.parts], message.name)


def _plain(part: Part) -> Part:
    if isinstance(part, Text):
        return Text(part.text)
    if isinstance(part, ToolResult):
        return replace(part, parts=[_plain(inner) for inner in part.parts], extras={})
    if isinstance(part, Media):
        return _plain_media(part)
    if isinstance(part, Reasoning):
        named = {"field": part.extras["field"]} if "field" in part.extras else {}
        return replace(part, extras=named)
    return replace(part, extras={}) if isinstance(part, ToolCall) else part


def _plain_media(part: Media) -> Media:
    if part.data is None and part.url is None and not part.uploaded:
        message = f"{part.kind} by file id cannot be sent to the upstream of this model"
        raise RequestError("unsupported", message, about=part)
    named = part.name is not None or part.mime != "application/pdf"
    return replace(part, extras={}, name=part.name if named else "document.pdf")


def native_tools(tools: list[Tool], dialect: str) -> list[Tool]:
    """The tools without extras of other dialects. Raises RequestError for a foreign hosted tool:
    nobody would run it."""
    return [t if t.dialect in ("", dialect) else _bare_tool(t) for t in tools]


def _bare_tool(tool: Tool) -> Tool:
    if tool.kind == "hosted":
        message = f"tools: the upstream of this model does not run the tool `{tool.name}`"
        raise RequestError("unsupported", message, param="tools", about=tool)
    return replace(tool, extras={})


def understood(request: ChatRequest, dialect: str) -> ChatRequest:
    """The request with tools and choice in words that every dialect has. Fills `dropped`.

    Of another dialect's request the provider's own tools go where it is the custom to offer them,
    and a choice among some tools leaves only these. The legacy form of tools (`functions`) has room
    for one call in an answer.
    """
    if request.dialect == dialect:
        return request
    left = [tool for tool in request.tools if _goes(tool, dialect)]
    tools = [tool for tool in request.tools if tool not in left]
    gone = [Lost(f"tools.{tool.name}") for tool in left]
    choice, offered = request.tool_choice, tools
    if choice is not None and choice.mode == "other":
        tools, choice = _chosen(tools, choice, request.dialect in _OFFERS_HOSTED)
        gone += [Lost("tool_choice")] if choice.mode == "other" else []
    elif choice is not None and choice.names and choice.mode in ("auto", "required"):
        tools = [tool for tool in tools if tool.name in choice.names]
        choice = ToolChoice(choice.mode)
    gone += [Lost(f"tools.{tool.name}") for tool in offered if tool not in tools]
    request.dropped += [name for name in gone if name not in request.dropped]
    alone = request.parallel is None and legacy_tools(request)
    parallel = False if alone else request.parallel
    return replace(request, tools=tools, tool_choice=choice, parallel=parallel)


def legacy_tools(request: ChatRequest | None) -> bool:
    """Whether the client speaks `functions` of Chat, and so expects one `function_call`."""
    return request is not None and request.dialect == "openai_chat" and _LEGACY in request.extras


def _goes(tool: Tool, dialect: str) -> bool:
    return tool.kind == "hosted" and tool.dialect in _OFFERS_HOSTED - {dialect}


def _chosen(tools: list[Tool], choice: ToolChoice, hosted: bool) -> tuple[list[Tool], ToolChoice]:
    """What is left of a choice that only its own dialect has."""
    raw = choice.raw if isinstance(choice.raw, dict) else {}
    kind = raw.get("type")
    if kind == "allowed_tools":
        held = raw.get(kind)
        allowed = held if isinstance(held, dict) else raw
        listed = allowed.get("tools")
        names: list[object] = [*choice.names] or [_name(tool) for tool in listed or []]
        kept = [tool for tool in tools if tool.name in names] if names else tools
        return kept, ToolChoice("required" if allowed.get("mode") == "required" else "auto")
    if hosted and isinstance(kind, str):
        message = f"tool_choice: the upstream of this model does not run the tool `{kind}`"
        raise RequestError("unsupported", message, param="tool_choice")
    return tools, choice


def _name(tool: object) -> object:
    """The name in an entry of `allowed_tools`, flat or nested."""
    fields = tool if isinstance(tool, dict) else {}
    inner = fields.get(fields.get("type"))
    return (inner if isinstance(inner, dict) else fields).get("name")


def settle_system(messages: list[Message], later: Literal["keep", "user", "lift"]) -> list[Message]:
    """The messages with system messages after the first turn put where the upstream takes them."""
    if later == "keep":
        return messages
    if later == "lift":
        return sorted(messages, key=lambda message: message.role not in _SYSTEM)
    return list(_as_turns(messages))


def _as_turns(messages: list[Message]) -> Iterator[Message]:
    begun = False
    for message in messages:
        begun = begun or message.role not in _SYSTEM
        if begun and message.role in _SYSTEM:
            texts = [part for part in message.parts if isinstance(part, Text) and part.text]
            words = "\n\n".join(part.text for part in texts)
            marks = texts[-1].extras if texts else {}
            said = Text(f"<system>\n{words}\n</system>", extras=marks)
            yield Message("user", [said], dialect=message.dialect)
        else:
            yield message
