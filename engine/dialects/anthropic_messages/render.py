"""ChatRequest -> Messages request body.

What came from this dialect goes back as it came, up to key order and explicit defaults; what came
from another is said with the means of this one. Fields that have no place here are named in
`request.dropped`. The turns are the business of turns.py, content blocks that of blocks.py.
"""

from __future__ import annotations

from engine.chat import (
    ChatRequest,
    Extras,
    Output,
    Sampling,
    Think,
    Tool,
    ToolCall,
    ToolChoice,
)
from engine.dialects.borrowed import lent_by
from engine.dialects.foreign import foreign_extras, native_tools
from engine.dialects.json_mode import wish
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError

from .parse import CHOICES, NAME, SPELLINGS, read_format, read_think
from .turns import messages, render_turns, split, system

_MOST = 8192  # tokens asked for when neither client, model nor profile says how many
_NO_SCHEMA: Extras = {"type": "object", "properties": {}}


def render(request: ChatRequest, model: str, profile: Profile = PROFILE) -> dict[str, object]:
    """The body for an upstream that calls the model `model`. Fills `request.dropped`.

    Raises RequestError(unsupported) for what cannot be said here, as several answers at once.
    """
    own = request.dialect == NAME
    dropped: list[str] = []
    body: dict[str, object] = {"model": model, "max_tokens": _most(request.out, profile)}
    if own:
        body |= {k: v for k, v in request.extras.items() if k not in SPELLINGS}
        _set(body, "metadata", request.metadata)
    else:
        body |= foreign_extras(request, profile, dropped, lent=lent_by(request.dialect, NAME))
        _unsayable(request, dropped)
    _prompt(body, request, profile, dropped)
    _tools(body, request, own, dropped)
    _sampling(body, request.sampling, profile, own, dropped)
    _stops(body, request.out.stop, own, dropped)
    _think(body, request, profile, own, dropped)
    _in_a_loop(body, own, dropped)
    _format(body, request, own)
    if request.stream:
        body["stream"] = True
    request.dropped += [name for name in dropped if name not in request.dropped]
    return body


def _set(body: Extras, name: str, value: object) -> None:
    if value is not None:
        body[name] = value


def _most(out: Output, profile: Profile) -> int:
    if out.max_tokens is None:
        return profile.max_output or _MOST
    return min(out.max_tokens, profile.max_output or out.max_tokens)


def _unsayable(request: ChatRequest, dropped: list[str]) -> None:
    sampling, out = request.sampling, request.out
    if out.n > 1:
        message = "n: the upstream of this model gives one answer at a time"
        raise RequestError("unsupported", message, param="n")
    for name, value in (
        ("presence_penalty", sampling.presence),
        ("frequency_penalty", sampling.frequency),
        ("logit_bias", sampling.logit_bias),
        ("logprobs", out.logprobs is not None),
    ):
        if value:
            dropped.append(name)


def _sampling(
    body: Extras, given: Sampling, profile: Profile, own: bool, dropped: list[str]
) -> None:
    """Temperature, top_p and top_k as far as the upstream takes them."""
    warmth = given.temperature
    if warmth is not None and not own:
        warmth = min(warmth, 1)
    found = {"temperature": warmth, "top_p": given.top_p, "top_k": given.top_k}
    said = {name: value for name, value in found.items() if value is not None}
    gone = list(said) if profile.sampling == "none" else []
    if profile.sampling == "one" and "temperature" in said and "top_p" in said:
        gone = ["top_p"]
    dropped += gone
    body |= {name: value for name, value in said.items() if name not in gone}


def _stops(body: Extras, stop: list[str], own: bool, dropped: list[str]) -> None:
    kept = stop if own else [word for word in stop if word.strip()]
    if kept:
        body["stop_sequences"] = kept
    if len(kept) < len(stop):
        dropped.append("stop")


# ---- thinking and format ----

# Tokens of thinking for each effort, and back again.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768,
            "max": 65536}  # fmt: skip
_LEAST = 1024  # tokens of thinking; a smaller budget is refused


def _think(
    body: Extras, request: ChatRequest, profile: Profile, own: bool, dropped: list[str]
) -> None:
    """`thinking` and the effort of `output_config`."""
    think, spelt = request.think, request.extras if own else {}
    sent, config = spelt.get("thinking"), spelt.get("output_config")
    if own and profile.thinking == "as_sent" and read_think(sent, config) == think:
        _set(body, "thinking", sent)
        if isinstance(config, dict) and "effort" in config:
            body["output_config"] = {"effort": config["effort"]}
    elif not think.asked:
        return
    elif profile.thinking == "none":
        dropped.append("thinking" if own else "reasoning_effort")
    elif think.mode == "off" or think.effort == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        (_by_budget if profile.thinking == "budget" else _by_effort)(body, think)
        if not own:
            _beside_thinking(body, request.tool_choice, dropped)


def _by_effort(body: Extras, think: Think) -> None:
    effort = think.effort
    if effort is None and think.budget is not None:
        effort = next((word for word, most in _BUDGETS.items() if think.budget <= most), "max")
    asked: Extras = {"type": "adaptive"}
    if think.show is not None:
        asked["display"] = "summarized" if think.show else "omitted"
    body["thinking"] = asked
    if effort is not None:
        body["output_config"] = {"effort": "low" if effort == "minimal" else effort}


def _by_budget(body: Extras, think: Think) -> None:
    """A budget is below max_tokens, which is raised if there is no room for both."""
    budget = think.budget or _BUDGETS.get(think.effort or "medium", _BUDGETS["medium"])
    budget, most = max(budget, _LEAST), body["max_tokens"]
    assert isinstance(most, int)
    if most <= budget:
        budget = max(_LEAST, most // 2)
        body["max_tokens"] = max(most, budget + _LEAST)
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _beside_thinking(body: Extras, choice: ToolChoice | None, dropped: list[str]) -> None:
    """The API refuses thinking beside a forced call, and temperature, top_p, top_k beside it."""
    if choice is not None and choice.mode in ("required", "named"):
        del body["thinking"]
        dropped.append("reasoning_effort")
        return
    gone = [name for name in ("temperature", "top_p", "top_k") if name in body]
    for name in gone:
        del body[name]
    dropped += gone


def _in_a_loop(body: Extras, own: bool, dropped: list[str]) -> None:
    """Thinking by a budget wants a turn whose tools were just answered to begin with thinking.

    Where its own is lost, the model goes on without, for this one request.
    """
    thinking, turns = body.get("thinking"), body["messages"]
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    assert isinstance(turns, list)
    called = next((turn for turn in reversed(turns) if turn["role"] == "assistant"), None)
    if called is None or not _holds(called, "tool_use") or not _holds(turns[-1], "tool_result"):
        return
    if called["content"][0].get("type") not in ("thinking", "redacted_thinking"):
        del body["thinking"]
        dropped.append("thinking" if own else "reasoning_effort")


def _holds(turn: Extras, kind: str) -> bool:
    """Whether a turn has a block of this type."""
    content = turn["content"]
    return isinstance(content, list) and any(block.get("type") == kind for block in content)


def _format(body: Extras, request: ChatRequest, own: bool) -> None:
    """The format of `output_config`; its other fields go on beside it."""
    out, sent = request.out, request.extras.get("output_config") if own else None
    found: Extras = {}
    if isinstance(sent, dict) and read_format(sent) == (out.format, out.schema):
        found = {name: value for name, value in sent.items() if name != "effort"}
    elif out.format == "schema":
        found = {"format": {"type": "json_schema", "schema": out.schema}}
    if found:
        config = body.get("output_config")
        body["output_config"] = {**(config if isinstance(config, dict) else {}), **found}


# ---- tools ----


def _tools(body: Extras, request: ChatRequest, own: bool, dropped: list[str]) -> None:
    if request.tools:
        body["tools"] = tools(request.tools)
        _set(body, "tool_choice", _choice(request.tool_choice, request.parallel, own))
        if request.tool_choice is not None and request.tool_choice.mode == "other" and not own:
            dropped.append("tool_choice")
    elif not own:
        names = {part.name for message in request.messages for part in message.parts
                 if isinstance(part, ToolCall)}  # fmt: skip
        if names:  # calls in the history need their tools, though none may be called
            body["tools"] = [{"name": n, "input_schema": _NO_SCHEMA} for n in sorted(names)]
            body["tool_choice"] = {"type": "none"}


def tools(items: list[Tool]) -> list[object]:
    """`tools` of a request body. Hosted tools go back as they came."""
    return [_tool(tool, was) for tool, was in zip(native_tools(items, NAME), items, strict=True)]


def _tool(tool: Tool, was: Tool) -> object:
    if tool.kind == "hosted":
        return tool.raw
    if tool.kind == "custom":
        message = f"tools: the upstream of this model cannot take the custom tool `{tool.name}`"
        raise RequestError("unsupported", message, param="tools", about=was)
    out: Extras = {"name": tool.name}
    _set(out, "description", tool.description)
    if was.dialect == NAME:
        _set(out, "input_schema", tool.schema)
    else:
        schema = tool.schema if isinstance(tool.schema, dict) else {}
        out["input_schema"] = schema if "type" in schema else {**_NO_SCHEMA, **schema}
    _set(out, "strict", tool.strict)
    return {**tool.extras, **out}


_WORDS: dict[str, object] = {mode: word for word, mode in CHOICES.items()}


def tool_choice(choice: ToolChoice) -> object:
    """`tool_choice` of a request body; what only another dialect can say becomes auto."""
    raw = choice.raw
    same = isinstance(raw, dict) and CHOICES.get(raw.get("type")) == choice.mode
    if same and (choice.mode != "named" or raw.get("name") in choice.names):  # type: ignore[attr-defined]
        return raw
    if choice.mode == "named" and choice.names:
        return {"type": "tool", "name": choice.names[0]}
    return {"type": _WORDS.get(choice.mode, "auto")}


def _choice(choice: ToolChoice | None, parallel: bool | None, own: bool) -> object:
    if choice is None and parallel is not False:
        return None
    if choice is not None and choice.mode == "other" and own:
        return choice.raw
    found = tool_choice(choice or ToolChoice("auto"))
    assert isinstance(found, dict)
    said = "disable_parallel_tool_use"
    if parallel is None or found.get("type") == "none" or found.get(said) is (not parallel):
        return found
    others = {name: value for name, value in found.items() if name != said}
    return others if parallel else {**others, said: True}


def _prompt(body: Extras, request: ChatRequest, profile: Profile, dropped: list[str]) -> None:
    lead, turns = split(request.messages, profile)
    if request.out.format == "json":
        lead = [*lead, wish()]
        dropped.append("response_format")
    if lead:
        body["system"] = system(lead)
    body["messages"] = render_turns(turns, profile, dropped)


__all__ = ["messages", "render", "tool_choice", "tools"]
