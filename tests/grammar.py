"""What every decoder and encoder must obey, as checks that raise AssertionError.

`check_events` holds a list of events against the invariants of an answer; `check_chat_stream`,
`check_messages_stream`, `check_responses_stream`, `check_ollama_stream` and `check_gemini_stream`
hold the bytes of a stream against the grammar of its dialect.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from engine.chat import Text, ToolCall
from engine.events import (
    FINISHES,
    Annotation,
    ArgsDelta,
    CitationDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    StateSet,
    TextDelta,
    UsageEvent,
)

from .specs import check_event, check_extras, check_item

_DELTAS = (TextDelta, ReasoningDelta, SignatureDelta, ArgsDelta, CitationDelta, RefusalDelta)
_ANYWHERE = (Ping, UsageEvent, StateSet, Annotation)


def check_events(events: list[Event], *, source: bool = False) -> None:
    """The invariants of one answer's events.

    source: they come from a decoder, which may give UsageEvent and End after the Finish, citations
    where no text is open, and nothing terminal at all for an answer that was cut off.
    """
    grammar = _Events(source)
    for event in events:
        grammar.take(event)
    grammar.done()


class _Events:
    def __init__(self, source: bool) -> None:
        self.source = source
        self.started = False
        self.open: dict[int, type] = {}
        self.texts: set[int] = set()
        self.args: dict[int, str] = {}
        self.calls: dict[int, ToolCall] = {}
        self.blocks = 0
        self.end: Finish | ErrorEvent | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, Ping | StateSet):
            return
        if self.end is not None:
            late = self.source and isinstance(self.end, Finish)
            assert late, f"{event} after {self.end}"
            assert isinstance(event, UsageEvent | End | CitationDelta), f"{event} after {self.end}"
            return
        if isinstance(event, ErrorEvent):
            self.end = event
            return
        if isinstance(event, Start):
            assert not self.started, "a second Start"
            self.started = True
            return
        assert self.started or isinstance(event, End), f"{event} before Start"
        self._body(event)

    def _body(self, event: Event) -> None:
        match event:
            case Open(block, part):
                assert block == self.blocks, f"block {block} opened, expected {self.blocks}"
                self.blocks += 1
                self.open[block] = type(part)
                self.texts |= {block} if isinstance(part, Text) else set()
                if isinstance(part, ToolCall):
                    assert part.id, "a tool call without id"
                    assert part.name, "a tool call without name"
                    self.calls[block], self.args[block] = part, part.args
            case Close(block):
                assert block in self.open, f"Close of block {block}, which is not open"
                del self.open[block]
            case Finish(reason, _):
                self._finish(event, reason)
            case _ if isinstance(event, _DELTAS):
                self._delta(event)
            case _:
                assert isinstance(event, (*_ANYWHERE, End)), f"unknown event {event}"

    def _delta(self, event: Any) -> None:
        if isinstance(event, CitationDelta):
            cited = self.source or event.block in self.texts
            assert cited, f"{event} of a block that is no text"
            return
        assert event.block in self.open, f"{event} outside its block"
        if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            assert event.text, f"empty {event}"
        if isinstance(event, ArgsDelta):
            assert self.open[event.block] is ToolCall, f"{event} in a block that is no call"
            self.args[event.block] += event.json

    def _finish(self, event: Finish, reason: str) -> None:
        self.end = event
        assert reason in FINISHES, f"unknown finish {reason}"
        assert not self.open, f"blocks {sorted(self.open)} are open at the finish"
        if self.calls:
            assert reason not in ("stop", "other"), f"finish {reason} with tool calls"
        else:
            assert reason != "tool_calls", "finish tool_calls without a call"
        if reason != "length":
            empty = [b for b, call in self.calls.items() if call.kind == "function"]
            assert all(self.args[block] for block in empty), "a call without arguments at its end"

    def done(self) -> None:
        if not self.source:
            assert self.end is not None, "no Finish and no ErrorEvent"


def sse_payloads(data: bytes) -> list[bytes]:
    """The data of each frame of an encoded stream; comments have none."""
    assert data.endswith(b"\n\n") or not data, "the last frame is not closed"
    assert b"\r" not in data, "a carriage return"
    assert not data.startswith(b"\n"), "a bare blank line"
    assert b"\n\n\n" not in data, "a bare blank line"
    found = []
    for frame in data.split(b"\n\n")[:-1]:
        if frame.startswith(b":"):
            continue
        assert b"\n" not in frame, f"a frame of several lines: {frame!r}"
        assert frame.startswith(b"data: "), f"not a data line: {frame!r}"
        found.append(frame[6:])
    return found


def check_chat_stream(data: bytes, *, usage: bool = False) -> list[dict[str, Any]]:
    """The chunks of a whole Chat Completions stream, after holding it against its grammar.

    usage: the client asked for it, so the last chunk must be the usage chunk (unless the answer
    failed). The error object of a failed answer is the last item returned.
    """
    payloads = sse_payloads(data)
    assert payloads, "an empty stream"
    assert payloads[-1] == b"[DONE]", "no terminator"
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    grammar = _Chat()
    for chunk in chunks:
        grammar.take(chunk)
    grammar.done(usage)
    return chunks


class _Chat:
    def __init__(self) -> None:
        self.state = "start"  # start, body, finished, counted, failed
        self.head: dict[str, Any] | None = None
        self.calls: list[str] = []

    def take(self, chunk: dict[str, Any]) -> None:
        assert self.state not in ("counted", "failed"), f"{chunk} after the end"
        if "error" in chunk:
            self._error(chunk["error"])
            return
        head = {name: chunk[name] for name in ("id", "object", "created", "model")}
        assert head["object"] == "chat.completion.chunk"
        assert self.head in (None, head), "id, created or model changed"
        self.head = head
        if not chunk["choices"]:
            assert self.state == "finished", "usage chunk before the finish"
            assert set(chunk["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}
            self.state = "counted"
            return
        assert chunk.get("usage") is None, "usage beside choices"
        (choice,) = chunk["choices"]
        self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> None:
        assert {"index", "delta", "finish_reason", "logprobs"} <= set(choice)
        assert self.state != "finished", "a choice after the finish"
        delta = choice["delta"]
        if self.state == "start":
            assert delta.get("role") == "assistant", "the first chunk has no role"
        else:
            assert "role" not in delta, "the role comes twice"
        self.state = "body"
        for call in delta.get("tool_calls", []):
            self._call(call)
        if choice["finish_reason"] is not None:
            known = ("stop", "length", "tool_calls", "content_filter", "function_call")
            assert choice["finish_reason"] in known
            if choice["finish_reason"] == "tool_calls":
                assert self.calls, "finish tool_calls without a call"
            self.state = "finished"

    def _call(self, call: dict[str, Any]) -> None:
        index = call["index"]
        if index == len(self.calls):
            assert call["id"], "a call without id"
            assert call["id"] not in self.calls, "an id twice"
            assert call[call["type"]]["name"], "a call without name"
            self.calls.append(call["id"])
        else:
            assert index < len(self.calls), "a call's index skips one"
            assert "id" not in call, "the id comes twice"

    def _error(self, error: dict[str, Any]) -> None:
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert isinstance(error["type"], str)
        assert self.state != "finished", "an error after the finish"
        self.state = "failed"

    def done(self, usage: bool) -> None:
        if self.state == "failed":
            return
        wanted = "counted" if usage else "finished"
        assert self.state == wanted, f"the stream ended in state {self.state}, not {wanted}"


# ---- Messages ----


@cache
def _message_event() -> Any:
    # Not at the top: the SDK takes a second to load, and most tests do without it.
    from anthropic.types import RawMessageStreamEvent
    from pydantic import TypeAdapter

    return TypeAdapter(RawMessageStreamEvent)


def named_payloads(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Name and value of each event of an encoded stream in which every event has its name."""
    assert data.endswith(b"\n\n") or not data, "the last frame is not closed"
    assert b"\r" not in data, "a carriage return"
    assert b"\n\n\n" not in data, "a bare blank line"
    assert not data.startswith(b"\n"), "a bare blank line"
    found = []
    for frame in data.split(b"\n\n")[:-1]:
        lines = frame.split(b"\n")
        assert len(lines) == 2, f"not an event and its data: {frame!r}"
        assert lines[0].startswith(b"event: "), f"no event line: {frame!r}"
        assert lines[1].startswith(b"data: "), f"no data line: {frame!r}"
        found.append((lines[0][7:].decode(), json.loads(lines[1][6:])))
    return found


def check_messages_stream(data: bytes) -> list[dict[str, Any]]:
    """The events of a whole Messages stream but its pings, after holding it against its grammar
    and the SDK's types. The error event of a failed answer is the last item returned."""
    grammar = _Messages()
    events = []
    for name, value in named_payloads(data):
        assert name == value["type"], f"an event {name} of type {value['type']}"
        if name == "ping":
            continue
        grammar.take(name, value)
        events.append(value)
    assert grammar.state in ("stopped", "failed"), f"the stream ended in state {grammar.state}"
    return events


class _Messages:
    def __init__(self) -> None:
        self.state = "start"  # start, body, ended, stopped, failed
        self.blocks: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None
        self.said: list[str] = []
        self.inputs: list[str] = []
        self.signed = False

    def take(self, name: str, value: dict[str, Any]) -> None:
        assert self.state not in ("stopped", "failed"), f"{value} after the end"
        if name == "error":
            self._error(value)
            return
        check_extras(_message_event().validate_python(value))
        wanted = {"message_start": "start", "message_stop": "ended"}.get(name, "body")
        assert self.state == wanted, f"{name} in state {self.state}"
        getattr(self, f"_{name}")(value)

    def _message_start(self, value: dict[str, Any]) -> None:
        message = value["message"]
        assert message["content"] == []
        assert message["stop_reason"] is None
        assert message["usage"]["input_tokens"] >= 0
        self.state = "body"

    def _content_block_start(self, value: dict[str, Any]) -> None:
        assert self.open is None, "a block inside another"
        assert value["index"] == len(self.blocks), "an index skips one"
        block = self.open = value["content_block"]
        if block["type"] == "tool_use":
            assert block["id"], "a call without id"
            assert block["name"], "a call without name"
            assert block["input"] == {}, "a call that begins with its input"
            ids = [known["id"] for known in self.blocks if known["type"] == "tool_use"]
            assert block["id"] not in ids, "an id twice"
        self.blocks.append(block)
        self.said, self.signed = [], False

    def _content_block_delta(self, value: dict[str, Any]) -> None:
        assert self.open is not None, "a delta outside a block"
        assert value["index"] == len(self.blocks) - 1, "a delta of another block"
        delta, kind = value["delta"], self.open["type"]
        fields = {"text": ("text",), "thinking": ("thinking", "signature"),
                  "tool_use": ("partial_json",), "server_tool_use": ("partial_json",)}  # fmt: skip
        names = {"text_delta": "text", "thinking_delta": "thinking", "citations_delta": "text",
                 "signature_delta": "signature", "input_json_delta": "partial_json"}  # fmt: skip
        assert names[delta["type"]] in fields[kind], f"{delta} in a block {kind}"
        assert not self.signed, "something after the signature"
        self.signed = delta["type"] == "signature_delta"
        piece = delta.get("text", delta.get("thinking", delta.get("partial_json")))
        assert piece != "" or kind.endswith("tool_use"), f"empty {delta}"
        self.said.append(piece or "")

    def _content_block_stop(self, value: dict[str, Any]) -> None:
        assert self.open is not None, "a stop outside a block"
        assert value["index"] == len(self.blocks) - 1, "a stop of another block"
        kind = self.open["type"]
        assert kind != "text" or self.said, "an empty text block"
        assert kind != "thinking" or self.signed, "thinking without its signature"
        if kind == "tool_use":
            self.inputs.append("".join(self.said))
        self.open = None

    def _message_delta(self, value: dict[str, Any]) -> None:
        assert self.open is None, "a block is open at the end"
        reason = value["delta"]["stop_reason"]
        assert reason, "an end without a reason"
        assert value["usage"]["output_tokens"] >= 0
        calls = [block for block in self.blocks if block["type"] == "tool_use"]
        assert bool(calls) or reason != "tool_use", "tool_use without a call"
        assert not calls or reason != "end_turn", "end_turn with a call"
        if reason != "max_tokens":
            parsed = [json.loads(text or "{}") for text in self.inputs]
            assert all(isinstance(item, dict) for item in parsed), "input that is no object"
        self.state = "ended"

    def _message_stop(self, value: dict[str, Any]) -> None:
        self.state = "stopped"

    def _error(self, value: dict[str, Any]) -> None:
        assert self.state != "ended", "an error after the finish"
        assert isinstance(value["error"]["type"], str)
        assert isinstance(value["error"]["message"], str)
        self.state = "failed"


# ---- Responses ----


def check_responses_stream(data: bytes) -> list[dict[str, Any]]:
    """The events of a whole Responses stream, after holding it against its grammar, the SDK's types
    and the published schemas."""
    frames = [frame for frame in data.split(b"\n\n") if not frame.startswith(b":")]
    grammar = _Responses()
    events: list[dict[str, Any]] = []
    for name, value in named_payloads(b"\n\n".join(frames)):
        assert name == value["type"], f"an event {name} of type {value['type']}"
        assert value["sequence_number"] == len(events), "a sequence number skips one"
        check_event(value)
        grammar.take(name.removeprefix("response."), value)
        events.append(value)
    assert grammar.state == "over", f"the stream ended in state {grammar.state}"
    return events


class _Item:
    """An item of the stream: what was announced, what was said, which part is open."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.id, self.kind = item["id"], item["type"]
        self.part: tuple[str, int] | None = None
        self.said: list[str] = []
        self.told: list[str] = []  # whole texts of what is done
        self.notes = 0


class _Responses:
    def __init__(self) -> None:
        self.state = "start"  # start, created, body, over
        self.id = ""
        self.open: dict[int, _Item] = {}
        self.done: dict[int, dict[str, Any]] = {}

    def take(self, name: str, value: dict[str, Any]) -> None:
        assert self.state != "over", f"{value} after the end"
        if "response" in value:
            self._response(name, value["response"])
            return
        assert self.state == "body", f"{name} in state {self.state}"
        index = value["output_index"]
        if name == "output_item.added":
            assert index == len(self.open) + len(self.done), "an index skips one"
            assert not value["item"].get("content"), "an item that begins with content"
            self.open[index] = _Item(value["item"])
            return
        assert index in self.open, f"{name} outside an item"
        item = self.open[index]
        if name == "output_item.done":
            self._end_item(index, item, value["item"])
            return
        assert value["item_id"] == item.id, "an event of another item"
        kinds = {"message": ("content_part", "output_text", "refusal"),
                 "reasoning": ("reasoning_summary_part", "reasoning_summary_text",
                               "reasoning_text", "content_part"),
                 "function_call": ("function_call_arguments",),
                 "custom_tool_call": ("custom_tool_call_input",),
                 "image_generation_call": ("image_generation_call",)}  # fmt: skip
        what, _, step = name.partition(".")
        assert what in kinds[item.kind], f"{name} in an item {item.kind}"
        self._inner(item, what, step, value)

    def _inner(self, item: _Item, what: str, step: str, value: dict[str, Any]) -> None:
        if step == "annotation.added":
            assert value["annotation_index"] == item.notes, "a note skips one"
            item.notes += 1
        elif what.endswith("_part"):
            self._part(item, step, value)
        elif what == "image_generation_call":
            assert step in ("in_progress", "generating", "completed")
        elif step == "delta":
            assert value["delta"], "an empty delta"
            parted = item.kind in ("message", "reasoning")
            assert not parted or item.part is not None, "a delta outside a part"
            item.said.append(value["delta"])
        else:
            fields = {"refusal": "refusal", "custom_tool_call_input": "input",
                      "function_call_arguments": "arguments"}  # fmt: skip
            text = value[fields.get(what, "text")]
            assert text == "".join(item.said), f"{what} done with another text"
            item.told.append(text)
            item.said = []

    def _part(self, item: _Item, step: str, value: dict[str, Any]) -> None:
        place = (value["part"]["type"], value.get("content_index", value.get("summary_index", 0)))
        if step == "added":
            assert item.part is None, "a part inside another"
            item.part = place
        else:
            assert item.part == place, "the end of another part"
            assert not item.said, "a part that ends before its text"
            item.part = None

    def _end_item(self, index: int, item: _Item, whole: dict[str, Any]) -> None:
        check_item(whole)
        assert (whole["id"], whole["type"]) == (item.id, item.kind), "the end of another item"
        assert item.part is None, "an item that ends before its part"
        assert not item.said, "an item that ends before its text"
        assert item.told == _texts(whole), "an item whose texts are others"
        assert not item.notes or item.notes == len(whole["content"][0]["annotations"])
        del self.open[index]
        self.done[index] = whole

    def _response(self, name: str, response: dict[str, Any]) -> None:
        assert response["id"] == (self.id or response["id"]), "the id changes"
        self.id = response["id"]
        if name in ("created", "in_progress"):
            wanted = "start" if name == "created" else "created"
            assert self.state == wanted, f"{name} in state {self.state}"
            assert (response["status"], response["output"]) == ("in_progress", [])
            self.state = "created" if name == "created" else "body"
            return
        assert self.state == "body", f"{name} in state {self.state}"
        assert name == response["status"], "an end of another status"
        assert (response["error"] is not None) == (name == "failed")
        assert (response["incomplete_details"] is not None) == (name == "incomplete")
        assert (response["completed_at"] is not None) == (name == "completed")
        assert not self.open, "an item is open at the end"
        assert response["output"] == [self.done[at] for at in sorted(self.done)]
        self.state = "over"


def _texts(item: dict[str, Any]) -> list[str]:
    """The texts of an item in the order they were told."""
    parts = [*item.get("summary", []), *(item.get("content") or [])]
    texts = [part.get("text", part.get("refusal")) for part in parts]
    return texts + [item[name] for name in ("arguments", "input") if name in item]


# ---- Ollama ----

_DONE_KEYS = {
    "done_reason", "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration",
    "eval_count", "eval_duration",
}  # fmt: skip


def check_ollama_stream(data: bytes, *, generate: bool = False) -> list[dict[str, Any]]:
    """The lines of a whole Ollama stream, after holding it against its grammar. The error line of
    a failed answer is the last item returned. generate: the answer to a prompt, not to a chat."""
    assert data.endswith(b"\n"), "the last line is not closed"
    assert b"\r" not in data, "a carriage return"
    lines = data.split(b"\n")[:-1]
    assert all(lines), "a blank line"
    values: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for value in values[:-1]:
        assert value["done"] is False, f"{value} before the end"
        assert not _DONE_KEYS & set(value), f"counts before the end: {value}"
    last = values[-1]
    if "error" in last:
        assert set(last) == {"error"}
        assert isinstance(last["error"], str)
    else:
        assert last["done"] is True, "no line is done"
        assert set(last) >= _DONE_KEYS
        assert last["done_reason"] in ("stop", "length")
    heads = [(value["model"], value["created_at"]) for value in values if "error" not in value]
    assert len(set(heads)) <= 1, "model or created_at changed"
    for value in values:
        if "error" not in value:
            _said(value, generate)
    return values


def _said(value: dict[str, Any], generate: bool) -> None:
    holder = value if generate else value["message"]
    assert isinstance(holder["response" if generate else "content"], str)
    assert generate or holder["role"] == "assistant"
    for call in holder.get("tool_calls", []):
        assert isinstance(call["function"]["arguments"], dict), "arguments that are no object"
        assert call["function"]["name"], "a call without name"


# ---- Gemini ----


@cache
def _gemini_response() -> Any:
    from google.genai.types import GenerateContentResponse

    return GenerateContentResponse


def check_gemini_stream(data: bytes) -> list[dict[str, Any]]:
    """The chunks of a whole generateContent stream, after holding it against its grammar and the
    SDK's types. The error of a failed answer is the last item returned."""
    assert b"[DONE]" not in data, "a terminator, which this API has not"
    assert not any(line.startswith(b":") for line in data.splitlines()), "a comment"
    chunks = [json.loads(payload) for payload in sse_payloads(data)]
    grammar = _Gemini()
    for chunk in chunks:
        grammar.take(chunk)
    assert grammar.state in ("finished", "failed"), f"the stream ended in state {grammar.state}"
    return chunks


class _Gemini:
    def __init__(self) -> None:
        self.state = "body"  # body, finished, failed
        self.head: tuple[str, str] | None = None
        self.calls: list[str] = []

    def take(self, chunk: dict[str, Any]) -> None:
        assert self.state == "body", f"{chunk} after the end"
        if "error" in chunk:
            assert {"code", "message", "status", "details"} == set(chunk["error"])
            assert isinstance(chunk["error"]["code"], int)
            self.state = "failed"
            return
        counts = dict(chunk.get("usageMetadata", {}))
        counts.pop("penstockEstimated", None)  # the SDK leaves unknown fields of an answer out
        _gemini_response().model_validate({**chunk, "usageMetadata": counts or None})
        head = (chunk["responseId"], chunk["modelVersion"])
        assert self.head in (None, head), "responseId or modelVersion changed"
        self.head = head
        (candidate,) = chunk["candidates"]
        assert candidate["index"] == 0
        assert candidate["content"]["role"] == "model"
        for part in candidate["content"]["parts"]:
            self._part(part, last="finishReason" in candidate)
        if "finishReason" in candidate:
            counts = chunk["usageMetadata"]
            assert {"promptTokenCount", "candidatesTokenCount", "totalTokenCount"} <= set(counts)
            self.state = "finished"
        else:
            assert "usageMetadata" not in chunk, "usage before the end"

    def _part(self, part: dict[str, Any], *, last: bool) -> None:
        kinds = {"text", "functionCall", "inlineData", "fileData", "executableCode",
                 "codeExecutionResult"} & set(part)  # fmt: skip
        assert len(kinds) == 1, f"a part of {len(kinds)} kinds: {part}"
        assert part.get("text") != "" or last or "thoughtSignature" in part, "an empty text"
        call = part.get("functionCall")
        if call is not None:
            assert isinstance(call["args"], dict), "arguments that are no object"
            assert call["name"], "a call without name"
            assert call["id"], "a call without id"
            assert call["id"] not in self.calls, "an id twice"
            self.calls.append(call["id"])
