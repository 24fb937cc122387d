"""ChatRequest -> generateContent request body. Model and stream go into the path.

What came from this dialect goes back as it came, up to key order and the grouping of tools; what
came from another is said with the means of this one. Fields that have no place here are named in
`request.dropped`. The contents are the business of turns.py.
"""

from __future__ import annotations

import re
from typing import Any

from engine.chat import ChatRequest, Extras, Message, Output, Think, Tool, ToolChoice
from engine.dialects.foreign import foreign_extras, native_tools
from engine.dialects.profile import PROFILE, Profile
from engine.errors import RequestError

from .names import NAME
from .parse import CONFIG, FORMAT, SPELLINGS, THINKING, read_form, read_think
from .turns import SENTINEL, contents, split, system

_MOST_STOPS = 5
_GENERATION = re.compile(r"gemini-(\d+)")


def render(request: ChatRequest, model: str, profile: Profile = PROFILE) -> dict[str, object]:
    """The body for an upstream that calls the model `model`. Fills `request.dropped`.

    Raises RequestError(unsupported) for what cannot be said here, as a picture by its URL.
    """
    own = request.dialect == NAME
    dropped: list[str] = []
    lead, turns = split(request.messages, profile)
    body: dict[str, object] = {"contents": contents(turns, profile, dropped)}
    if _generation(model) >= 3:
        _sign(body["contents"])
    if lead:
        body["systemInstruction"] = system(lead)
    config: Extras = {}
    if own:
        _own_extras(body, config, request.extras)
    else:
        body |= foreign_extras(request, profile, dropped, shows=True)
        _set(config, "responseModalities", [m.upper() for m in request.out.modalities] or None)
        _unsayable(request, dropped)
    _tools(body, request, profile, dropped)
    _sampling(config, request, dropped)
    _limits(config, request.out, profile, own, dropped)
    _think(config, request, model, profile, dropped)
    _format(config, request.out, request.extras.get(FORMAT) if own else None)
    if config:
        body[CONFIG] = config
    request.dropped += [name for name in dropped if name not in request.dropped]
    return body


def messages(items: list[Message], profile: Profile = PROFILE) -> list[Any]:
    """`contents` of a request body: what follows the leading system messages.

    Where there are system messages only, they are given, as the parts of `systemInstruction`.
    """
    lead, turns = split(items, profile)
    if lead and not turns:
        parts: Any = system(lead)["parts"]
        return list(parts)
    return list(contents(turns, profile))


def _generation(model: str) -> int:
    """The number of a Gemini model's generation, 0 for a model of another name."""
    found = _GENERATION.search(model)
    return int(found[1]) if found else 0


def _sign(made: Any) -> None:
    """Put the sentinel where a signature was lost: on the first call of a step (row 27)."""
    for content in made:
        if content["role"] != "model":
            continue
        first = next((part for part in content["parts"] if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", SENTINEL)


def _own_extras(body: Extras, config: Extras, extras: Extras) -> None:
    for name, value in extras.items():
        if name in SPELLINGS:
            continue
        holder, _, inner = name.partition(".")
        if inner and holder == CONFIG:
            config[inner] = value
        else:
            body[name] = value


def _unsayable(request: ChatRequest, dropped: list[str]) -> None:
    if request.parallel is False and request.tools:
        dropped.append("parallel_tool_calls")
    if request.sampling.logit_bias:
        dropped.append("logit_bias")


def _set(into: Extras, name: str, value: object) -> None:
    if value is not None:
        into[name] = value


# ---- generationConfig ----


def _sampling(config: Extras, request: ChatRequest, dropped: list[str]) -> None:
    sampling = request.sampling
    for name, value in (
        ("temperature", sampling.temperature),
        ("topP", sampling.top_p),
        ("topK", sampling.top_k),
        ("presencePenalty", sampling.presence),
        ("frequencyPenalty", sampling.frequency),
        ("seed", sampling.seed),
    ):
        _set(config, name, value)


def _limits(config: Extras, out: Output, profile: Profile, own: bool, dropped: list[str]) -> None:
    most = out.max_tokens
    if most is not None and profile.max_output is not None:
        most = min(most, profile.max_output)
    _set(config, "maxOutputTokens", most)
    stops = out.stop if own else [word for word in out.stop if word][:_MOST_STOPS]
    if stops:
        config["stopSequences"] = stops
    if len(stops) < len(out.stop):
        dropped.append("stop")
    if out.n != 1:
        config["candidateCount"] = out.n
    if out.logprobs is not None:
        config["responseLogprobs"] = True
        _set(config, "logprobs", out.logprobs or None)


def _format(config: Extras, out: Output, sent: object) -> None:
    if isinstance(sent, dict) and read_form(sent) == (out.format, out.schema):
        config |= sent
    elif out.format in ("json", "schema"):
        config["responseMimeType"] = "application/json"
        if out.format == "schema":
            config["responseJsonSchema"] = out.schema


# Tokens of thinking for each effort, and the name of its level.
_EFFORTS: dict[str, tuple[int, str]] = {
    "none": (0, "MINIMAL"),
    "minimal": (512, "MINIMAL"),
    "low": (1024, "LOW"),
    "medium": (8192, "MEDIUM"),
    "high": (24576, "HIGH"),
    "xhigh": (32768, "XHIGH"),
    "max": (32768, "XHIGH"),
}
_LEAST = 128  # tokens of thinking of a model that cannot do without


def _think(
    config: Extras, request: ChatRequest, model: str, profile: Profile, dropped: list[str]
) -> None:
    """`thinkingConfig`: a level for the models of generation 3 and later, else a budget."""
    think, own = request.think, request.dialect == NAME
    sent = request.extras.get(THINKING) if own else None
    if sent is not None and read_think(sent) == think and profile.thinking == "as_sent":
        config["thinkingConfig"] = sent
    elif not think.asked:
        return
    elif profile.thinking == "none":
        dropped.append("thinkingConfig" if own else "reasoning_effort")
    else:
        by_level = _generation(model) >= 3 and profile.thinking != "budget"
        said = _level(think, model) if by_level else _budget(think, model, request.out.max_tokens)
        off = think.mode == "off" or think.effort == "none"
        hidden = off or think.show is False
        config["thinkingConfig"] = said if hidden else {**said, "includeThoughts": True}


def _effort(think: Think) -> str | None:
    if think.mode == "off":
        return "none"
    if think.effort is not None or think.budget is None:
        return think.effort
    rising = [(most, word) for word, (most, _) in _EFFORTS.items() if word not in ("none", "max")]
    return next((word for most, word in rising if think.budget <= most), "xhigh")


def _level(think: Think, model: str) -> Extras:
    effort = _effort(think)
    if effort is None:
        return {}
    _, level = _EFFORTS.get(effort, _EFFORTS["medium"])
    return {"thinkingLevel": "LOW" if level == "MINIMAL" and "pro" in model else level}


def _budget(think: Think, model: str, most: int | None) -> Extras:
    effort = _effort(think)
    if think.budget is None and effort is None:
        return {"thinkingBudget": -1}
    budget = think.budget if think.budget is not None and effort != "none" else None
    if budget is None:
        budget, _ = _EFFORTS.get(effort or "medium", _EFFORTS["medium"])
    if most is not None and budget >= most:
        budget = most // 2
    return {"thinkingBudget": max(budget, _LEAST) if "pro" in model else budget}


# ---- tools ----


def _tools(body: Extras, request: ChatRequest, profile: Profile, dropped: list[str]) -> None:
    if not request.tools:
        return
    body["tools"] = tools(request.tools, profile)
    if any(tool.strict for tool in request.tools):
        dropped.append("tools.strict")
    choice = request.tool_choice
    if choice is None:
        return
    if choice.mode == "other":
        dropped.append("tool_choice")
        return
    held = body.get("toolConfig")
    config = {**held} if isinstance(held, dict) else {}
    body["toolConfig"] = {**config, "functionCallingConfig": tool_choice(choice)}


def tools(items: list[Tool], profile: Profile = PROFILE) -> list[object]:
    """`tools` of a request body: all functions in one entry, hosted tools as they came."""
    found = native_tools(items, NAME)
    field = "parameters" if profile.tool_schemas == "gemini" else "parametersJsonSchema"
    functions = [
        _function(tool, was, field)
        for tool, was in zip(found, items, strict=True)
        if tool.kind != "hosted"
    ]
    hosted = [tool.raw for tool in found if tool.kind == "hosted"]
    return [{"functionDeclarations": functions}, *hosted] if functions else hosted


_NOTHING: Extras = {"type": "object", "properties": {}}


def _function(tool: Tool, was: Tool, field: str) -> Extras:
    """field: where its schema goes. An object without properties is refused there: none is sent."""
    if tool.kind == "custom":
        message = f"tools: the upstream of this model cannot take the custom tool `{tool.name}`"
        raise RequestError("unsupported", message, param="tools", about=was)
    out: Extras = {"name": tool.name}
    _set(out, "description", tool.description)
    if "parameters" not in tool.extras and tool.schema and tool.schema != _NOTHING:
        out[field] = tool.schema
    return {**out, **tool.extras}


_WORDS = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def tool_choice(choice: ToolChoice) -> object:
    """`functionCallingConfig`; what only another dialect can say becomes AUTO."""
    raw, word = choice.raw, _WORDS.get(choice.mode, "AUTO")
    if isinstance(raw, dict) and isinstance(raw.get("mode"), str):
        same = raw["mode"] == word or (raw["mode"] == "VALIDATED" and word == "AUTO")
        if same:
            return raw
    out: Extras = {"mode": word}
    if word == "ANY" and choice.names:
        out["allowedFunctionNames"] = choice.names
    return out


__all__ = ["messages", "render", "tool_choice", "tools"]
