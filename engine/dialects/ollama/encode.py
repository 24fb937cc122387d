"""Events -> answers to chat and generate requests: lines of a stream, a whole answer, failures.

Each line is an object; the last one is `done` and has the counts. Tool calls go out whole, when
they close. Nothing else may stand in a stream: no blank line, no comment, so there is no sign of
life while the upstream is silent. An error is a line `{"error": …}` and nothing after it.

Durations are the upstream's own where it told them, else what was measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.chat import ChatRequest, Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.arguments import object_of
from engine.dialects.hosted import told
from engine.dialects.outcomes import answer_for, message_for
from engine.dialects.pictures import in_words
from engine.dialects.refused import parts_of, why
from engine.errors import ExchangeError, RequestError
from engine.events import (
    ArgsDelta,
    Close,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    RefusalDelta,
    Reply,
    TextDelta,
    Usage,
    UsageEvent,
    merge_usage,
)
from engine.wire import dumps

from .decode import DURATIONS
from .generate import MARK

Fields = dict[str, object]
_NO_OBJECT = "the upstream called a tool with arguments that are no JSON object"
_HOLE: Fields = {"": 0}  # cut out of an encoded line to get the bytes around it


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer says things: as a message, or as the response to a prompt.

    show  the fields of pictures, which stand beside the text; room: how many there is a place for
    """

    say: Callable[[object], Fields]
    think: Callable[[object], Fields]
    calls: Callable[[list[object]], Fields]
    show: Callable[[list[str]], Fields]
    room: int


def _message(**more: object) -> Fields:
    return {"message": {"role": "assistant", "content": "", **more}}


CHAT = Form(
    say=lambda text: _message(content=text),
    think=lambda text: _message(thinking=text),
    calls=lambda calls: _message(tool_calls=calls),
    show=lambda pictures: {},
    room=0,  # Ollama's Python client cannot read a message with `images` in an answer
)
GENERATE = Form(
    say=lambda text: {"response": text},
    think=lambda text: {"response": "", "thinking": text},
    calls=lambda calls: {"response": "", "tool_calls": calls},
    show=lambda pictures: {"image": pictures[0]} if pictures else {},
    room=1,
)


def form_of(request: ChatRequest | None) -> Form:
    return GENERATE if request is not None and MARK in request.extras else CHAT


class Encoder:
    """Lines of one answer; the model is the one the client shall see."""

    def __init__(self, model: str, created: int, form: Form = CHAT, *, quiet: bool = False) -> None:
        self._head = head(model, created)
        self._form = form
        self._quiet = quiet
        self._usage: Usage | None = None
        self._calls: dict[int, tuple[ToolCall, list[str]]] = {}
        self._broken = False  # a call whose arguments are no object was left out
        self._over = False
        self._text = self._around(form.say(_HOLE))
        self._thought = self._around(form.think(_HOLE))

    def feed(self, events: list[Event]) -> bytes:
        """One byte string for all events. After Finish or ErrorEvent nothing comes any more."""
        if self._over:
            return b""
        out: list[bytes] = []
        before, after = self._text
        for event in events:
            if type(event) is TextDelta and event.logprobs is None:
                out += (before, dumps(event.text), after)
                continue
            write = _WRITERS.get(type(event))
            if write is not None:
                out.append(write(self, event))
                if self._over:
                    break
        return b"".join(out)

    def finish(self) -> bytes:
        return b""

    def ping(self) -> bytes | None:
        return None

    # ---- lines ----

    def _line(self, said: Fields, **more: object) -> bytes:
        return dumps({**self._head, **said, "done": False, **more}) + b"\n"

    def _around(self, said: Fields) -> tuple[bytes, bytes]:
        """The constant bytes before and after the one value of a line."""
        before, _, after = self._line(said).partition(dumps(_HOLE))
        return before, after

    def _say(self, event: TextDelta) -> bytes:
        notes = _notes([event.logprobs])
        return self._line(self._form.say(event.text), **({"logprobs": notes} if notes else {}))

    def _refuse(self, event: RefusalDelta) -> bytes:
        return self._line(self._form.say(event.text))

    def _think(self, event: ReasoningDelta) -> bytes:
        before, after = self._thought
        return b"".join((before, dumps(event.text), after))

    def _open(self, event: Open) -> bytes:
        part = event.part
        if isinstance(part, ToolCall):
            self._calls[event.block] = part, [part.args]
        elif isinstance(part, Text | Refusal) and part.text:
            return self._line(self._form.say(part.text))
        elif isinstance(part, Reasoning) and part.text:
            return self._line(self._form.think(part.text))
        elif isinstance(part, Opaque) and (words := told(part, quiet=self._quiet)):
            return self._line(self._form.say(words))
        return self._show(part) if isinstance(part, Media) else b""

    def _show(self, part: Media) -> bytes:
        held, left = _pictures([part], self._form.room)
        return self._line({**self._form.say(left), **self._form.show(held)})

    def _args(self, event: ArgsDelta) -> bytes:
        self._calls[event.block][1].append(event.json)
        return b""

    def _close(self, event: Close) -> bytes:
        found = self._calls.pop(event.block, None)
        if found is None:
            return b""
        call = _call(found[0], "".join(found[1]))
        self._broken = self._broken or call is None
        return b"" if call is None else self._line(self._form.calls([call]))

    # ---- endings ----

    def _count(self, event: UsageEvent) -> bytes:
        self._usage = merge_usage(self._usage, event.usage)
        return b""

    def _finish(self, event: Finish) -> bytes:
        self._over = True
        if self._broken and event.reason != "length":
            return stream_failure(ErrorEvent("retryable", _NO_OBJECT))
        end = {"done": True, **ending(event, self._usage)}
        return self._line(self._form.say(why(event)), **end)

    def _fail(self, event: ErrorEvent) -> bytes:
        self._over = True
        return stream_failure(event)


_WRITERS: dict[type, Callable[[Encoder, Any], bytes]] = {
    Open: Encoder._open,
    TextDelta: Encoder._say,
    ReasoningDelta: Encoder._think,
    RefusalDelta: Encoder._refuse,
    ArgsDelta: Encoder._args,
    Close: Encoder._close,
    UsageEvent: Encoder._count,
    Finish: Encoder._finish,
    ErrorEvent: Encoder._fail,
}


def stamp(seconds: int) -> str:
    """A time as this API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def head(model: str, created: int) -> Fields:
    return {"model": model, "created_at": stamp(created)}


def _call(call: ToolCall, args: str) -> Fields | None:
    """A call with its arguments as an object, None if they are none."""
    found = object_of(ToolCall(call.id, call.name, args, call.kind))
    if found is None:
        return None
    return {"id": call.id, "function": {"name": call.name, "arguments": found}}


def _notes(found: list[object]) -> list[object]:
    """Log probabilities of all deltas: tokens, each with its own."""
    lists = [notes.get("content") for notes in found if isinstance(notes, dict)]
    return [token for tokens in lists if isinstance(tokens, list) for token in tokens]


def _pictures(parts: Sequence[Part], room: int) -> tuple[list[str], str]:
    """The pictures there is room for, in base64, and what is said of all others."""
    media = [part for part in parts if isinstance(part, Media)]
    held = [part for part in media if part.kind == "image" and part.data is not None][:room]
    left = [in_words(part) for part in media if part not in held]
    return [part.data or "" for part in held], "\n".join(left)


def _text(part: Part, quiet: bool) -> str:
    if isinstance(part, Opaque):
        return told(part, quiet=quiet)
    return part.text if isinstance(part, Text) else ""


_NANO = 1e9


def ending(finish: Finish, counts: Usage | None) -> Fields:
    """`done_reason`, durations in nanoseconds and counts. Without any counts they are estimated."""
    counts, seconds, waited = counts or Usage(estimated=True), finish.seconds, finish.waited
    word = finish.raw if finish.raw in ("load", "unload") else "stop"
    told = counts.raw if isinstance(counts.raw, dict) else {}
    measured = {
        "total_duration": round(seconds * _NANO),
        "load_duration": 0,
        "prompt_eval_duration": round(waited * _NANO),
        "eval_duration": round(max(0.0, seconds - waited) * _NANO),
    }
    times = {name: told.get(name, measured[name]) for name in DURATIONS}
    out: Fields = {
        "done_reason": "length" if finish.reason == "length" else word,
        "total_duration": times["total_duration"],
        "load_duration": times["load_duration"],
        "prompt_eval_count": counts.input or 0,
        "prompt_eval_duration": times["prompt_eval_duration"],
        "eval_count": counts.output or 0,
        "eval_duration": times["eval_duration"],
    }
    return {**out, "penstock_estimated": True} if counts.estimated else out


def reply(
    answer: Reply, model: str, created: int, form: Form = CHAT, *, quiet: bool = False
) -> bytes:
    """The body of a whole answer: one line that says everything.

    A call that was cut off with the answer is left out: nobody may run it. Raises ExchangeError
    for one whose arguments are no object although it is whole.
    """
    refused = "".join(part.text for part in parts_of(answer) if isinstance(part, Refusal))
    pictures, left = _pictures(answer.parts, form.room)
    text = "".join(_text(part, quiet) for part in answer.parts)
    said = form.say("\n".join(filter(None, [text + refused, left])))
    calls = [found for call in answer.calls if (found := _call(call, call.args)) is not None]
    holder = said.get("message", said)
    assert isinstance(holder, dict)
    if answer.reasoning:
        holder["thinking"] = answer.reasoning
    if len(calls) < len(answer.calls) and answer.finish != "length":
        raise ExchangeError("retryable", _NO_OBJECT)
    if calls:
        holder["tool_calls"] = calls
    notes = _notes(answer.logprobs)
    finish = Finish(answer.finish, answer.raw_finish, None, None, answer.seconds, answer.waited)
    return dumps(
        {
            **head(model, created),
            **said,
            **form.show(pictures),
            **({"logprobs": notes} if notes else {}),
            "done": True,
            **ending(finish, answer.usage),
        }
    )


# ---- failures ----


def failure(
    kind: str, message: str, request_id: str = "", error: ExchangeError | RequestError | None = None
) -> tuple[int, bytes]:
    """Status and body for an outcome class or a client kind. Words are all an error has here."""
    status = error.status if isinstance(error, ExchangeError) else 0
    shown = answer_for(kind, "ollama", status=status)
    return shown.status, dumps({"error": message_for(kind, message, status=status)})


def stream_failure(event: ErrorEvent) -> bytes:
    """The line that ends a stream which has begun."""
    words = message_for(event.cls, event.message, status=event.status)
    return dumps({"error": words}) + b"\n"
