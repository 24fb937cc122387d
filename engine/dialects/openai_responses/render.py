"""ChatRequest -> Responses request body.

What came from this dialect goes back as it came, up to key order, explicit nulls and the ids of
items, which only the answers' own API knows. What came from another is said with the means of this
one, and nothing is stored: thinking is asked for in its encrypted form, so that it can come back.
Fields that have no place here are named in `request.dropped`. Items are the business of turns.py.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest, Extras, Output, Tool, ToolChoice
from engine.dialects.foreign import foreign_extras, native_tools
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.searching import SEARCH
from engine.errors import RequestError

from .items import NAME
from .parse import ENCRYPTED, LOGPROBS, SPELLINGS, asks, read_text, read_think
from .turns import messages, prompt

_LEAST = 16  # tokens an answer may at least be limited to
# Most tokens of thinking that count as each effort; more is xhigh.
_EFFORTS = ((1024, "low"), (8192, "medium"), (24576, "high"))


def render(request: ChatRequest, model: str, profile: Profile = PROFILE) -> dict[str, object]:
    """The body for an upstream that calls the model `model`. Fills `request.dropped`.

    Raises RequestError(unsupported) for what cannot be said here, as several answers at once.
    """
    own = request.dialect == NAME
    dropped: list[str] = []
    body: dict[str, object] = {"model": model}
    instructions, body["input"] = prompt(request, profile, dropped)
    _set(body, "instructions", instructions)
    if own:
        body |= {k: v for k, v in request.extras.items() if k not in SPELLINGS}
        for name in ("top_logprobs", "stream_options"):
            _set(body, name, request.extras.get(name))
        _set(body, "user", request.user)
        _set(body, "metadata", request.metadata)
    else:
        body |= {"store": False, **foreign_extras(request, profile, dropped)}
        _unsayable(request, dropped)
        _include(body, request, profile)
    if request.tools:
        body["tools"] = tools(request.tools)
        _set(body, "tool_choice", request.tool_choice and _choice(request))
        _set(body, "parallel_tool_calls", request.parallel)
    _set(body, "temperature", request.sampling.temperature)
    _set(body, "top_p", request.sampling.top_p)
    if request.out.max_tokens is not None:
        body["max_output_tokens"] = request.out.max_tokens if own else _most(request.out)
    _set(body, "reasoning", _reasoning(request, own, profile, dropped))
    _set(body, "text", text_config(request))
    if request.stream:
        body["stream"] = True
    request.dropped += [name for name in dropped if name not in request.dropped]
    return body


def _set(body: Extras, name: str, value: object) -> None:
    if value is not None:
        body[name] = value


def _most(out: Output) -> int:
    """What is no number of tokens is left for the upstream to refuse."""
    assert out.max_tokens is not None
    return _LEAST if 0 < out.max_tokens < _LEAST else out.max_tokens


def _unsayable(request: ChatRequest, dropped: list[str]) -> None:
    sampling, out = request.sampling, request.out
    if out.n > 1:
        message = "n: the upstream of this model gives one answer at a time"
        raise RequestError("unsupported", message, param="n")
    for name, value in (
        ("top_k", sampling.top_k),
        ("presence_penalty", sampling.presence),
        ("frequency_penalty", sampling.frequency),
        ("logit_bias", sampling.logit_bias),
        ("stop", out.stop),
    ):
        if value:
            dropped.append(name)


def _include(body: Extras, request: ChatRequest, profile: Profile) -> None:
    include: list[object] = []
    if profile.reasoning_effort == "send":  # models that do not reason refuse it
        include.append(ENCRYPTED)
    if request.out.logprobs is not None:
        include.append(LOGPROBS)
        _set(body, "top_logprobs", request.out.logprobs or None)
    if include:
        body["include"] = include


def resumable(request: ChatRequest, profile: Profile = PROFILE) -> ChatRequest:
    """A request of this API whose thinking comes in its encrypted form, too.

    An upstream that stores the answer would know its thinking by an id, but not in a turn that is
    sent back in full.
    """
    if request.dialect != NAME or profile.reasoning_effort != "send" or asks(request, ENCRYPTED):
        return request
    given = request.extras.get("include")
    include = [*(given if isinstance(given, list) else []), ENCRYPTED]
    return replace(request, extras={**request.extras, "include": include})


def _reasoning(
    request: ChatRequest, own: bool, profile: Profile, dropped: list[str]
) -> Extras | None:
    """`reasoning`: how much to think, and whether to tell of it."""
    think, sent = request.think, request.extras.get("reasoning") if own else None
    if isinstance(sent, dict) and read_think(sent) == think:
        return sent
    effort = think.effort
    if effort is None and think.mode == "off":
        effort = "none"
    elif effort is None and think.budget is not None:
        effort = next((word for most, word in _EFFORTS if think.budget <= most), "xhigh")
    found: Extras = {} if effort is None else {"effort": effort}
    if think.show or (think.show is None and think.mode in ("on", "adaptive")):
        found["summary"] = "auto"
    if profile.reasoning_effort == "drop":
        dropped += ["reasoning_effort"] if found else []
        return None
    return found or None


def text_config(request: ChatRequest) -> Extras | None:
    """`text`: the format of the answer, and how long it shall be."""
    out = request.out
    sent = request.extras.get("text") if request.dialect == NAME else None
    said = (out.format, out.schema, out.schema_name, out.strict)
    if isinstance(sent, dict):
        was = read_text(sent)
        if (was.format, was.schema, was.schema_name, was.strict) == said:
            return {"format": {"type": "text"}, **sent}
    found: Extras = {}
    if out.format == "schema":
        form: Extras = {"type": "json_schema", "name": out.schema_name or "answer"}
        form["schema"] = out.schema
        _set(form, "description", out.schema_about)
        _set(form, "strict", out.strict)
        found["format"] = form
    elif out.format is not None:
        found["format"] = {"type": "json_object" if out.format == "json" else "text"}
    _set(found, "verbosity", out.verbosity)
    return found or None


# ---- tools ----


def tools(items: list[Tool]) -> list[object]:
    """`tools` of a request body: those of a namespace together again, hosted ones as they came."""
    out: list[object] = []
    spaces: dict[str, list[object]] = {}
    for tool, was in zip(native_tools(items, NAME), items, strict=True):
        space = tool.extras.get("namespace")
        made = tool.raw if tool.kind == "hosted" else _tool(tool, was, space)
        if not isinstance(space, dict):
            out.append(made)
        elif space["name"] in spaces:
            spaces[space["name"]].append(made)
        else:
            spaces[space["name"]] = [made]
            out.append({"type": "namespace", **space, "tools": spaces[space["name"]]})
    return out


def _tool(tool: Tool, was: Tool, space: object) -> Extras:
    name = tool.name
    if isinstance(space, dict):
        name = name.removeprefix(f"{space['name']}__")
    out: Extras = {"type": tool.kind, "name": name}
    _set(out, "description", tool.description)
    if tool.kind == "function":
        _set(out, "parameters", tool.schema)
        strict = tool.strict
        if was.dialect != NAME:  # elsewhere a schema is not strict unless that is said
            out.setdefault("parameters", {"type": "object", "properties": {}})
            strict = bool(strict)
        _set(out, "strict", strict)
    return {**{n: v for n, v in tool.extras.items() if n != "namespace"}, **out}


def tool_choice(choice: ToolChoice) -> object:
    """`tool_choice` of a request body; what only another dialect can say becomes auto."""
    if choice.mode in ("auto", "none", "required"):
        return choice.mode
    raw = choice.raw if isinstance(choice.raw, dict) else {}
    kind = raw.get("type")
    if raw == SEARCH:
        return raw
    if choice.mode == "named" and choice.names:
        kind = "custom" if kind == "custom" else "function"
        return {"type": kind, "name": choice.names[0]}
    if kind == "allowed_tools" and isinstance(inner := raw.get("allowed_tools"), dict):
        return {"type": kind, "mode": inner.get("mode", "auto"), "tools": _flat(inner.get("tools"))}
    return "auto"


def _flat(listed: object) -> list[object]:
    """Entries of Chat's `allowed_tools`, whose names stand one level deeper."""
    out: list[object] = []
    for tool in listed if isinstance(listed, list) else []:
        inner = tool.get(tool.get("type")) if isinstance(tool, dict) else None
        out.append({"type": tool["type"], **inner} if isinstance(inner, dict) else tool)
    return out


def _choice(request: ChatRequest) -> object:
    choice = request.tool_choice
    assert choice is not None
    return choice.raw if request.dialect == NAME and choice.raw is not None else tool_choice(choice)


__all__ = ["messages", "render", "resumable", "text_config", "tool_choice", "tools"]
