"""What a Responses answer is made of: the response object, its items, usage, errors.

Every response object has all keys that the API and Open Responses require, null where there is
nothing to say; fields of the request come back as the client sent them or at their defaults.
"""

from __future__ import annotations

from math import ceil

from engine.chat import (
    ChatRequest,
    Citation,
    Media,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from engine.dialects.cited import placed
from engine.dialects.hosted import wants_json
from engine.dialects.outcomes import Answer, answer_for, message_for
from engine.dialects.provenance import seal
from engine.dialects.refused import parts_of
from engine.errors import ExchangeError, RequestError
from engine.events import ErrorEvent, Finish, Reply, Usage
from engine.wire import dumps

from .items import NAME
from .parse import CONTINUED, INSTRUCTIONS
from .render import text_config, tools
from .shown import ident_of, item_of, sayable

Fields = dict[str, object]

# ---- the response ----


def head(request_id: str, model: str, created: int, request: ChatRequest | None) -> Fields:
    """The response object of an answer that has just begun."""
    request = request or ChatRequest(NAME, model, [])
    extras, sampling, out = request.extras, request.sampling, request.out
    choice = request.tool_choice
    return {
        "id": "resp_" + request_id.removeprefix("req_"),
        "object": "response",
        "created_at": created,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": extras.get("previous_response_id", extras.get(CONTINUED)),
        "instructions": _instructions(request),
        "tools": [_tool(tool) for tool in tools(request.tools)],
        "tool_choice": "auto" if choice is None else choice.raw or choice.mode,
        "parallel_tool_calls": request.parallel is not False,
        "reasoning": {"effort": None, "summary": None, **_object(extras.get("reasoning"))},
        "text": text_config(request) or {"format": {"type": "text"}},
        "temperature": _number(sampling.temperature, 1.0),
        "top_p": _number(sampling.top_p, 1.0),
        "presence_penalty": _number(sampling.presence, 0.0),
        "frequency_penalty": _number(sampling.frequency, 0.0),
        "top_logprobs": extras.get("top_logprobs", 0),
        "max_output_tokens": out.max_tokens,
        "max_tool_calls": extras.get("max_tool_calls"),
        "truncation": extras.get("truncation", "disabled"),
        "store": extras.get("store") is not False,
        "background": extras.get("background", False),
        "service_tier": extras.get("service_tier", "default"),
        "metadata": request.metadata or {},
        "safety_identifier": extras.get("safety_identifier"),
        "prompt_cache_key": extras.get("prompt_cache_key"),
        "usage": None,
    }


def _object(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _number(value: float | None, default: float) -> float:
    return default if value is None else value


def _instructions(request: ChatRequest) -> str | None:
    return next((m.text for m in request.messages if INSTRUCTIONS in m.extras), None)


def _tool(tool: object) -> object:
    """A tool as the answer repeats it: a function has all its keys."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def ended(response: Fields, finish: Finish, output: list[object], usage: Usage | None) -> Fields:
    """The response object of an answer that is over."""
    reason = _INCOMPLETE.get(finish.reason)
    if finish.reason == "content_filter" and _refused(output):
        reason = None
    created = response["created_at"]
    assert isinstance(created, int)
    return {
        **response,
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else int(created + finish.seconds),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": counts(usage),
        **({"service_tier": finish.tier} if finish.tier else {}),
    }


_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _refused(output: list[object]) -> bool:
    contents = [_object(item).get("content") for item in output]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(_object(part).get("type") == "refusal" for part in parts)


def counts(usage: Usage | None) -> Fields:
    """`usage` with both details. Without any counts it is zero and marked as estimated."""
    usage = usage or Usage(estimated=True)
    read, said = usage.input or 0, usage.output or 0
    out: Fields = {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": read + said,
    }
    if usage.estimated:
        out["penstock_estimated"] = True
    return out


# ---- items ----


class Maker:
    """Makes the items of one answer; their ids are the same in a stream and in a whole answer.

    request  tells which names belong to a namespace, and whether thinking is shown as a summary
    """

    def __init__(self, request_id: str, request: ChatRequest | None) -> None:
        self._id = request_id.removeprefix("req_")
        self.summarises = _asks_summary(request)
        self._quiet = wants_json(request)
        self._spaces = _spaces(request)

    def sayable(self, part: Part) -> Part:
        """The part as this API can say it."""
        ours = isinstance(part, Opaque) and part.dialect == NAME
        return part if ours else sayable(part, quiet=self._quiet)

    def ident(self, part: Part, index: int) -> str:
        if isinstance(part, Reasoning) and part.id and part.origin == NAME:
            return part.id
        if isinstance(part, Media):
            return ident_of(part) or f"ig_{self._id}{index:02x}"
        prefix = "msg"
        if isinstance(part, Reasoning):
            prefix = "rs"
        elif isinstance(part, ToolCall):
            prefix = "ctc" if part.kind == "custom" else "fc"
        return f"{prefix}_{self._id}{index:02x}"

    def item(self, part: Part, index: int, status: str = "completed") -> Fields | None:
        """The item of a part; None for what an answer of this API cannot hold."""
        if isinstance(part, Opaque):
            ours = part.dialect == NAME and isinstance(part.raw, dict)
            return part.raw if ours else None  # type: ignore[return-value]
        out: Fields = {"id": self.ident(part, index)}
        if isinstance(part, Media):
            return item_of(part, self.ident(part, index), status)
        if isinstance(part, Text | Refusal):
            out |= {"type": "message", "status": status, "role": "assistant"}
            out["content"] = [content(part)] if part.text else []
            if isinstance(part, Text) and "phase" in part.extras:
                out["phase"] = part.extras["phase"]
            return out
        if isinstance(part, Reasoning):
            return {**out, "type": "reasoning", **self._thoughts(part)}
        return {**out, **self._call(part, status)} if isinstance(part, ToolCall) else None

    def _thoughts(self, part: Reasoning) -> Fields:
        summary = part.summary
        if summary is None and self.summarises and part.text:
            summary = [part.text]
        out: Fields = {
            "summary": [{"type": "summary_text", "text": text} for text in summary or []]
        }
        text = part.text.removeprefix("\n\n".join(summary or []))
        if text:
            out["content"] = [{"type": "reasoning_text", "text": text}]
        sealed = seal(part) if part.origin != NAME else part.encrypted
        return {**out, "encrypted_content": sealed} if sealed else out

    def _call(self, part: ToolCall, status: str) -> Fields:
        out: Fields = {"call_id": part.id, **self.named(part.name)}
        if part.kind == "custom":
            return {"type": "custom_tool_call", **out, "input": part.args}
        args = part.args or ("{}" if status == "completed" else "")
        return {"type": "function_call", "status": status, **out, "arguments": args}

    def named(self, name: str) -> Fields:
        """The name of a tool, its namespace beside it if it has one."""
        found = self._spaces.get(name)
        return {"name": name} if found is None else {"name": found[1], "namespace": found[0]}


def _asks_summary(request: ChatRequest | None) -> bool:
    asked = _object(request.extras.get("reasoning")) if request is not None else {}
    return asked.get("summary") is not None


def _spaces(request: ChatRequest | None) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for tool in request.tools if request is not None else []:
        name = _object(tool.extras.get("namespace")).get("name")
        if isinstance(name, str):
            found[tool.name] = (name, tool.name.removeprefix(f"{name}__"))
    return found


def content(part: Text | Refusal) -> Fields:
    """The one content part of a message."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    cited = [placed(citation, part.text) for citation in part.citations]
    notes = [note for citation in cited if (note := annotation(citation)) is not None]
    logprobs = part.extras.get("logprobs")
    return {
        "type": "output_text",
        "text": part.text,
        "annotations": notes,
        "logprobs": logprobs if isinstance(logprobs, list) else [],
    }


_ANNOTATIONS = frozenset({"url_citation", "file_citation", "container_file_citation", "file_path"})


def annotation(found: Citation) -> Fields | None:
    """A citation as this API says it, None for what it has no form for."""
    raw = found.raw
    if isinstance(raw, dict) and raw.get("type") in _ANNOTATIONS and "url_citation" not in raw:
        return raw
    if not found.url:
        return None
    return {
        "type": "url_citation",
        "url": found.url,
        "title": found.title or "",
        "start_index": found.start or 0,
        "end_index": found.end or 0,
    }


def logprobs_of(told: object) -> list[object]:
    """Log probabilities of a piece of text, each with its bytes and alternatives."""
    found = told.get("content") if isinstance(told, dict) else told
    return [
        {"bytes": [], "top_logprobs": [], **_whole(token)}
        for token in (found if isinstance(found, list) else [])
    ]


def _whole(token: object) -> Fields:
    fields = {name: value for name, value in _object(token).items() if value is not None}
    top = fields.get("top_logprobs")
    if isinstance(top, list):
        fields["top_logprobs"] = [{"bytes": [], **_whole(other)} for other in top]
    return fields


# ---- whole answers ----


def reply(
    answer: Reply, request_id: str, model: str, created: int, request: ChatRequest | None
) -> bytes:
    """The body of a whole answer."""
    maker = Maker(request_id, request)
    status = "incomplete" if answer.finish == "length" else "completed"
    told = [found for piece in answer.logprobs for found in logprobs_of(piece)]
    output: list[object] = []
    parts = parts_of(answer)
    for part in parts:
        if isinstance(part, Text) and told:
            part.extras, told = {**part.extras, "logprobs": told}, []
        last = part is parts[-1]
        made = maker.item(maker.sayable(part), len(output), status if last else "completed")
        if made is not None:
            output.append(made)
    finish = Finish(answer.finish, answer.raw_finish, seconds=answer.seconds, tier=answer.tier)
    return dumps(ended(head(request_id, model, created, request), finish, output, answer.usage))


# ---- failures ----


def failure(
    kind: str, message: str, request_id: str = "", error: ExchangeError | RequestError | None = None
) -> tuple[int, bytes]:
    """Status and body for an outcome class or a client kind."""
    status = error.status if isinstance(error, ExchangeError) else 0
    code = error.code if isinstance(error, ExchangeError) else ""
    param = error.param if isinstance(error, RequestError) else None
    shown = answer_for(kind, "openai", status=status, code=code)
    words = message_for(kind, message, status=status)
    found = {"message": words, "type": shown.type, "param": param, "code": shown.code}
    return shown.status, dumps({"error": found})


# Codes that Codex acts on, and words of the API for the rest.
_CODES = frozenset({"context_length_exceeded", "insufficient_quota", "rate_limit_exceeded"})


def failed(response: Fields, event: ErrorEvent, output: list[object]) -> Fields:
    """The response object of an answer that broke off."""
    shown = answer_for(event.cls, "openai", status=event.status, code=event.code)
    words = message_for(event.cls, event.message, status=event.status)
    error = {"code": _code(shown), "message": _timed(words, event)}
    return {**response, "status": "failed", "error": error, "output": output}


def _code(shown: Answer) -> str:
    if shown.code in _CODES:
        return str(shown.code)
    return "invalid_prompt" if shown.status in (400, 413, 422) else "server_error"


def _timed(words: str, event: ErrorEvent) -> str:
    """Codex waits as long as the message says."""
    if event.cls != "rate_limited" or event.retry_after is None or "try again in" in words:
        return words
    return f"{words.rstrip('. ')}. Please try again in {max(1, ceil(event.retry_after))}s."
