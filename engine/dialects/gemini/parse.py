"""generateContent request body -> ChatRequest. Model and stream stand in the path: the Target.

Nothing is lost: a field the model has no place for stays in `extras`, those of `generationConfig`
under their dotted name, so that what is dropped elsewhere is named exactly. `extras` also keep a
known field as the client wrote it where the model knows a part of it only (`SPELLINGS`). Names may
come in camelCase or in snake_case. The system instruction is the first message; the contents are
the business of contents.py.
"""

from __future__ import annotations

from typing import Literal

from engine.chat import (
    ChatRequest,
    Extras,
    Message,
    Output,
    Sampling,
    Think,
    Tool,
    ToolChoice,
)
from engine.dialects.contract import HERE, Target
from engine.dialects.pictures import modalities
from engine.dialects.reading import body_fields, mismatch, need, read_body, take, words
from engine.errors import RequestError

from .contents import parts_of, read_contents
from .names import NAME, spelled
from .schemas import json_schema

CONFIG = "generationConfig"
FORMAT, THINKING = f"{CONFIG}.format", f"{CONFIG}.thinkingConfig"
# Extras that repeat what the model says already.
SPELLINGS = frozenset({FORMAT, THINKING})
_JSON = "application/json"


def parse(body: bytes, target: Target = HERE) -> ChatRequest:
    """Raises RequestError(bad_request) that names the field, as `contents[2].parts[0]`.

    A body of countTokens may hold the whole request in `generateContentRequest`.
    """
    rest = spelled(body_fields(read_body(body)), "the request body")
    if rest.get("contents") is None and "generateContentRequest" in rest:
        rest = spelled(rest["generateContentRequest"], "generateContentRequest")
    config = spelled(rest.pop(CONFIG, None) or {}, CONFIG)
    request = ChatRequest(
        dialect=NAME,
        model=_model(rest, target),
        messages=[*_system(rest), *read_contents(rest)],
        sampling=_sampling(config),
        think=_think(config),
        out=_output(config),
        stream=bool(target.stream),
        want_usage=True,
    )
    request.tools, request.tool_choice = _tools(rest)
    request.extras = rest | {
        name if name in SPELLINGS else f"{CONFIG}.{name}": value for name, value in config.items()
    }
    return request


def _model(rest: Extras, target: Target) -> str:
    named = take(rest, "model", str) or ""
    model = target.model or named.removeprefix("models/")
    if not model:
        raise RequestError("bad_request", "model: it stands in the path", param="model")
    return model


def _system(rest: Extras) -> list[Message]:
    given = rest.pop("systemInstruction", None)
    if given is None:
        return []
    if isinstance(given, str):
        given = {"parts": [{"text": given}]}
    inner = spelled(given, "systemInstruction")
    inner.pop("role", None)
    parts = parts_of(inner, "systemInstruction.")
    return [Message("system", parts, extras=inner, dialect=NAME)] if parts else []


# ---- generationConfig ----

_WHERE = f"{CONFIG}."


def _whole(rest: Extras, name: str) -> int | None:
    """An integer, which some clients write as 40.0."""
    value = rest.get(name)
    if isinstance(value, float) and value.is_integer():
        rest[name] = int(value)
    return take(rest, name, int, _WHERE)


def _sampling(config: Extras) -> Sampling:
    return Sampling(
        temperature=take(config, "temperature", float, _WHERE),
        top_p=take(config, "topP", float, _WHERE),
        top_k=_whole(config, "topK"),
        presence=take(config, "presencePenalty", float, _WHERE),
        frequency=take(config, "frequencyPenalty", float, _WHERE),
        seed=_whole(config, "seed"),
    )


def read_think(given: object) -> Think:
    """What a `thinkingConfig` says: a budget of 0 is off, one of -1 is up to the model."""
    think = Think()
    config = spelled(given, THINKING) if isinstance(given, dict) else {}
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if isinstance(budget, int) and not isinstance(budget, bool):
        think.mode = "off" if budget == 0 else "adaptive" if budget < 0 else "on"
        think.budget = budget if budget > 0 else None
    shown = config.get("includeThoughts")
    think.show = shown if isinstance(shown, bool) else None
    if isinstance(level, str) and level != "THINKING_LEVEL_UNSPECIFIED":
        think.effort = level.lower()
    return think


def _think(config: Extras) -> Think:
    given = take(config, "thinkingConfig", dict, _WHERE)
    if given is None:
        return Think()
    config[THINKING] = given
    return read_think(given)


def wants_thoughts(request: ChatRequest) -> bool:
    """Whether a client of this API asked to see thoughts; every other is shown them."""
    if request.dialect != NAME:
        return True
    given = request.extras.get(THINKING)
    return isinstance(given, dict) and spelled(given, THINKING).get("includeThoughts") is True


def _output(config: Extras) -> Output:
    out = Output(
        max_tokens=_whole(config, "maxOutputTokens"),
        stop=words(config, "stopSequences"),
        n=_whole(config, "candidateCount") or 1,
        modalities=modalities(config.get("responseModalities")),
    )
    asked, top = take(config, "responseLogprobs", bool, _WHERE), _whole(config, "logprobs")
    if asked:
        out.logprobs = top or 0
    _form(config, out)
    return out


_FORM = ("responseMimeType", "responseSchema", "responseJsonSchema")


def read_form(form: Extras) -> tuple[Literal["json", "schema"], object]:
    """format and JSON Schema of the fields that ask for JSON."""
    if form.get("responseJsonSchema") is not None:
        return "schema", form["responseJsonSchema"]
    if form.get("responseSchema") is not None:
        return "schema", json_schema(form["responseSchema"])
    return "json", None


def _form(config: Extras, out: Output) -> None:
    """What is no JSON (an enum as text) stays among the extras."""
    kind = config.get("responseMimeType")
    if kind == "text/plain":
        del config["responseMimeType"]
    elif kind == _JSON:
        form = {name: config.pop(name) for name in _FORM if name in config}
        out.format, out.schema = read_form(form)
        config[FORMAT] = form


# ---- tools ----


def _tools(rest: Extras) -> tuple[list[Tool], ToolChoice | None]:
    """The tools, and which may be called."""
    found: list[Tool] = []
    for at, raw in enumerate(take(rest, "tools", list) or []):
        found += _group(spelled(raw, f"tools[{at}]"), f"tools[{at}].")
    return found, _choice(rest)


def _group(rest: Extras, where: str) -> list[Tool]:
    """An entry of `tools`: functions, and tools that the provider runs."""
    functions = take(rest, "functionDeclarations", list, where) or []
    where += "functionDeclarations"
    found = [_function(spelled(raw, f"{where}[{at}]"), f"{where}[{at}].")
             for at, raw in enumerate(functions)]  # fmt: skip
    hosted = [Tool(name, kind="hosted", raw={name: value}, dialect=NAME)
              for name, value in rest.items()]  # fmt: skip
    return found + hosted


def _function(rest: Extras, where: str) -> Tool:
    given = take(rest, "parameters", dict, where)
    schema = take(rest, "parametersJsonSchema", dict, where)
    if schema is None and given is not None:
        schema = json_schema(given)  # type: ignore[assignment]
        rest["parameters"] = given
    return Tool(
        name=need(rest, "name", str, where),
        description=take(rest, "description", str, where),
        schema=schema,
        extras=rest,
        dialect=NAME,
    )


_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "MODE_UNSPECIFIED": "auto",
    "AUTO": "auto",
    "VALIDATED": "auto",
    "NONE": "none",
    "ANY": "required",
}


def _choice(rest: Extras) -> ToolChoice | None:
    where = "toolConfig"
    config = spelled(rest.pop(where, None) or {}, where)
    raw = take(config, "functionCallingConfig", dict, f"{where}.")
    if config:
        rest[where] = config
    if raw is None:
        return None
    inner, where = spelled(raw, where), f"{where}.functionCallingConfig."
    word = (take(inner, "mode", str, where) or "AUTO").upper()
    mode = _MODES.get(word)
    if mode is None:
        raise mismatch(f"{where}mode", f"one of {', '.join(_MODES)}", f"'{word[:40]}'")
    names = words(inner, "allowedFunctionNames") if word in ("ANY", "VALIDATED") else []
    single = mode == "required" and len(names) == 1
    return ToolChoice("named" if single else mode, names, raw)
