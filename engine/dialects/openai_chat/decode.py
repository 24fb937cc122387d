"""Chat Completions answers -> events.

`StreamDecoder` takes one record per chunk, `decode_whole` a whole answer: a message is read as if
it were one big delta, so both share everything. Only choice 0 is read (more are passed through or
refused). Blocks are numbered in the order of Open; prose blocks (text, reasoning, refusal) close
when another begins, tool calls stay open to the end because their fragments may interleave.

Finish comes as soon as the upstream says it; UsageEvent and End may follow and the pipeline puts
them in order. Whether an answer that never said its finish was whole is the pipeline's question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from engine.chat import Media, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from engine.dialects.outcomes import (
    bare_error,
    classify_text,
    error_event,
    headless,
    read_error,
    unless_empty,
)
from engine.events import (
    ArgsDelta,
    CitationDelta,
    Close,
    End,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    RefusalDelta,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
)
from engine.wire import Record, dumps

from .brief import only_text
from .images import IMAGES, read_images
from .sealed import DETAILS, GOOGLE, NAME, beside, gathered, readable, secret
from .sounds import AUDIO, Sound
from .sources import Sources, cited, executed, referred

MakeId = Callable[[], str]
Fields = dict[str, object]

FINISHES: dict[str, str] = {
    "": "stop", "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop",
    "stop_sequence": "stop", "complete": "stop",
    "length": "length", "max_tokens": "length", "model_length": "length",
    "tool_calls": "tool_calls", "function_call": "tool_calls", "tool_use": "tool_calls",
    "content_filter": "content_filter", "sensitive": "content_filter",
    "safety": "content_filter",
}  # fmt: skip
# Words that upstreams put where a finish belongs, and that mean the answer failed.
FAILURES = frozenset({"error", "network_error"})


def finish_word(choice: Fields) -> str:
    """Why a choice ended, "" while it goes on: some upstreams write `"null"` for null."""
    raw = choice.get("finish_reason")
    return raw if isinstance(raw, str) and raw.lower() != "null" else ""


def failed_finish(raw: str) -> ErrorEvent:
    return ErrorEvent("retryable", f"the upstream ended its answer with '{raw}'", 0, raw)


def read_usage(raw: Fields) -> Usage:
    """Canonical counts out of a `usage` object, its known variants included."""
    if raw.keys() <= _TOTALS:
        return Usage(
            _count(raw.get("prompt_tokens")), _count(raw.get("completion_tokens")), raw=raw
        )
    prompt = _fields(raw.get("prompt_tokens_details"))
    completion = _fields(raw.get("completion_tokens_details"))
    cached = _count(prompt.get("cached_tokens", raw.get("cached_tokens")))
    read = _count(raw.get("prompt_tokens", raw.get("input_tokens")))
    said = _count(raw.get("completion_tokens", raw.get("output_tokens")))
    thought = _count(completion.get("reasoning_tokens"))
    if thought and raw.get("total_tokens") == (read or 0) + (said or 0) + thought:
        said = (said or 0) + thought  # xAI counts thinking beside the completion
    return Usage(
        input=read,
        output=said,
        cache_read=_count(raw.get("prompt_cache_hit_tokens")) if cached is None else cached,
        cache_write=_count(prompt.get("cache_write_tokens")),
        reasoning=thought,
        estimated=raw.get("penstock_estimated") is True,
        raw=raw,
    )


_TOTALS = {"prompt_tokens", "completion_tokens", "total_tokens"}
_MOST = 2**53  # a count beyond it is nonsense; JSON may even hold an infinite one


def _count(value: object) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _MOST):
        return value  # nearly always
    if not isinstance(value, int | float):
        return None
    return int(min(max(value, 0), _MOST))


def _fields(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


class _Call:
    """A tool call being received. It has no block until its name is known."""

    __slots__ = ("block", "held", "id", "kind", "last", "name", "said")

    def __init__(self) -> None:
        self.block = -1
        self.id = ""
        self.name = ""
        self.kind = "function"
        self.held = ""  # arguments that came before the name
        self.last = ""  # the latest piece of them
        self.said = False  # whether any argument text was given out

    def ends_before(self, name: str, args: object) -> bool:
        """Whether a fragment with a name and no id is of another call."""
        if self.block < 0 or name == self.name:
            begins = isinstance(args, dict) or _text(args).lstrip().startswith("{")
            return begins and self.last.rstrip().endswith("}")
        return True


class StreamDecoder:
    """Chunks of one answer -> events. make_id gives an id to a tool call that comes without."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id
        self._started = False
        self._over = False  # error or end marker: nothing counts any more
        self._finished = False
        self._blocks = 0
        self._prose: type[Part] | None = None  # kind of the prose block now open
        self._at = -1  # its number
        self._calls: list[_Call] = []
        self._by_index: dict[int | str, _Call] = {}
        self._usage: object = None
        self._sound, self._sources = Sound(), Sources()
        self._strangers = {"", "text"}  # kinds of parts that need no word, or had theirs
        self._details: list[Fields] = []  # of thinking, not yet handed on

    def feed(self, record: Record) -> list[Event]:
        value: Any = record.value
        text = self.text(value)
        if text:
            return [TextDelta(self._at, text)]
        if type(value) is not dict or record.event == "error":
            return self._odd(record)
        return self._chunk(value)

    def text(self, value: Any) -> str:
        """The text of a chunk that goes on with the open text and says nothing else, else ""."""
        return only_text(value) if self._prose is Text else ""

    def finish(self) -> list[Event]:
        return []

    def whole(self, value: Fields, choice: Fields) -> list[Event]:
        """All events of a whole answer whose choice 0 is `choice`."""
        out: list[Event] = []
        self._start(value, out)
        message = choice.get("message")
        if isinstance(message, dict):
            self._delta(message, choice.get("logprobs"), out)
        self._source(value, out)
        usage = value.get("usage")
        if isinstance(usage, dict):
            out.append(UsageEvent(read_usage(usage)))
        self._finish(finish_word(choice), value, out)
        return out

    # ---- chunks ----

    def _chunk(self, value: Fields) -> list[Event]:
        if self._over:
            return []
        found = read_error(value)
        if found is not None:
            return self._fail(error_event(found))
        choices = value.get("choices")
        choice = _first(choices) if isinstance(choices, list) else None
        out: list[Event] = []
        usage = value.get("usage") or (choice.get("usage") if choice else None)
        if choice is not None or usage:
            self._start(value, out)
            self._source(value, out)
        if choice is not None and not self._finished:
            self._choice(choice, value, out)
        if usage and usage != self._usage and isinstance(usage, dict) and not self._over:
            self._usage = usage
            out.append(UsageEvent(read_usage(usage)))
        return out

    def _start(self, value: Fields, out: list[Event]) -> None:
        if self._started:
            return
        self._started = True
        created = value.get("created")
        out.append(
            Start(
                _text(value.get("id")),
                _text(value.get("model")),
                created if isinstance(created, int) else 0,
            )
        )

    def _choice(self, choice: Fields, value: Fields, out: list[Event]) -> None:
        delta = choice.get("delta")
        if not delta and self._blocks == 0:
            delta = choice.get("message")
        if isinstance(delta, dict):
            self._delta(delta, choice.get("logprobs"), out)
        raw = finish_word(choice)
        if raw:
            self._finish(raw, value, out)

    def _delta(self, delta: Fields, logprobs: object, out: list[Event]) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        items = delta.get(DETAILS)
        if items:
            gathered(self._details, items)
            thought = thought or readable(items)
        if thought and isinstance(thought, str):
            self._reason(thought, out)
        content = delta.get("content")
        if isinstance(content, str):
            self._say(content, logprobs, out)
        elif isinstance(content, list):
            self._parts(content, out)
        self._show(read_images(delta.get(IMAGES)), out)
        self._sound.add(delta.get(AUDIO))
        refusal = delta.get("refusal")
        if refusal:
            self._refuse(refusal, out)
        calls = delta.get("tool_calls")
        for fragment in calls if isinstance(calls, list) else ():
            if isinstance(fragment, dict):
                self._fragment(fragment, out)
        old = delta.get("function_call")
        if old and isinstance(old, dict):
            self._fragment({"index": "function_call", "function": old}, out)
        notes = _list(delta.get("annotations"))
        out += [CitationDelta(self._at, cited(_fields(note))) for note in notes]
        self._source(delta, out)

    def _parts(self, content: list[object], out: list[Event]) -> None:
        """Content as a list: text, and thinking and pictures as some vendors send them."""
        for part in content:
            fields = _fields(part)
            if fields.get("type") == "thinking":
                self._reason(_joined(fields.get("thinking")), out)
            elif "image_url" in fields:
                self._show(read_images([part]), out)
            elif (note := referred(fields)) is not None:
                out.append(CitationDelta(self._at, note))
            elif "text" not in fields:
                self._strange(fields, out)
            else:
                self._say(_text(fields.get("text")), None, out)

    def _strange(self, part: Fields, out: list[Event]) -> None:
        """A part that nobody knows: that there was one is told, of each kind once."""
        kind = _text(part.get("type"))
        if kind == "refusal":
            self._refuse(part.get(kind), out)
        elif kind not in self._strangers:
            self._strangers.add(kind)
            self._close(out)
            block = self._take()
            out += [Open(block, Opaque("", kind, part)), Close(block)]

    def _reason(self, text: str, out: list[Event]) -> None:
        if text:
            out.append(ReasoningDelta(self._open(Reasoning, out), text))

    def _refuse(self, text: object, out: list[Event]) -> None:
        if isinstance(text, str) and text:
            out.append(RefusalDelta(self._open(Refusal, out), text))

    def _say(self, text: str, logprobs: object, out: list[Event]) -> None:
        if text:
            out.append(TextDelta(self._open(Text, out), text, logprobs))

    def _show(self, pictures: list[Media], out: list[Event]) -> None:
        for picture in pictures:
            self._close(out)
            block = self._take()
            out += [Open(block, picture), Close(block)]

    def _source(self, told: Fields, out: list[Event]) -> None:
        """What vendors tell beside the answer."""
        for tool in executed(told):
            self._close(out)
            block = self._take()
            out += [Open(block, tool), Close(block)]
        out += [CitationDelta(self._at, note) for note in self._sources.read(told)]

    def _seal(self, out: list[Event]) -> None:
        """Hand on what is bound to the thinking so far: in its block, or in one of its own."""
        sealed, self._details = secret(self._details), []
        if not sealed:
            return
        if self._prose is Reasoning:
            out.append(SignatureDelta(self._at, encrypted=sealed))
            return
        block = self._take()
        out += [Open(block, Reasoning(encrypted=sealed, origin=NAME)), Close(block)]

    # ---- blocks ----

    def _open(self, kind: type[Text] | type[Reasoning] | type[Refusal], out: list[Event]) -> int:
        """The number of the open prose block of this kind; opened if need be."""
        if self._prose is not kind:
            self._close(out)
            self._prose, self._at = kind, self._take()
            bound = kind is Reasoning and bool(self._details)
            out.append(Open(self._at, Reasoning(origin=NAME) if bound else kind("")))
        return self._at

    def _close(self, out: list[Event]) -> None:
        if self._prose is Reasoning and self._details:
            self._seal(out)
        if self._prose is not None:
            out.append(Close(self._at))
            self._prose = None

    def _take(self) -> int:
        self._blocks += 1
        return self._blocks - 1

    # ---- tool calls ----

    def _fragment(self, fragment: Fields, out: list[Event]) -> None:
        custom = fragment.get("custom")
        inner = _fields(fragment.get("function") or custom)
        name = _text(inner.get("name"))
        index = fragment.get("index")
        known = index if isinstance(index, int | str) else None
        args = inner.get("arguments") or inner.get("input")
        call = self._call(known, _text(fragment.get("id")), name, args)
        text = call.held + (args if isinstance(args, str) else dumps(args).decode() if args else "")
        if call.block < 0:
            if not name:
                call.held = text
                return
            call.held = ""
            self._begin(call, name, "custom" if custom else "function", fragment, out)
        if text:
            call.said, call.last = True, text
            out.append(ArgsDelta(call.block, text))

    def _call(self, index: int | str | None, call_id: str, name: str, args: object) -> _Call:
        """The call a fragment belongs to: by its index, else by its id, else the last one.

        A name and an id that the call does not have begin a new one although the index is taken:
        some upstreams number all calls 0. So does another name without an id, or the same one
        with whole arguments after whole ones, and any name, or a new id, without an index.
        """
        if index is not None:
            call = self._by_index.get(index)
            known = call is not None and (not name or call_id in ("", call.id) or not call.id)
            if known and call is not None and name and not call_id:
                known = not call.ends_before(name, args)
        else:
            call = next((call for call in self._calls if call_id and call.id == call_id), None)
            if call is None and self._calls and not name and not call_id:
                call = self._calls[-1]
            known = call is not None
        if call is None or not known:
            call = _Call()
            self._calls.append(call)
            if index is not None:
                self._by_index[index] = call
        call.id = call.id or call_id
        return call

    def _begin(
        self,
        call: _Call,
        name: str,
        kind: Literal["function", "custom"],
        fragment: Fields,
        out: list[Event],
    ) -> None:
        self._close(out)
        self._seal(out)
        signature, extras = beside(fragment), dict[str, object]()
        if signature:
            block, extras = self._take(), {"extra_content": fragment["extra_content"]}
            out += [Open(block, Reasoning(signature=signature, origin=GOOGLE)), Close(block)]
        call.block, call.kind, call.name = self._take(), kind, name
        call.id = call.id or self._make_id()
        out.append(Open(call.block, ToolCall(call.id, name, "", kind, extras)))

    # ---- endings ----

    def _finish(self, raw: str, value: Fields, out: list[Event]) -> None:
        if raw.lower() in FAILURES:
            out += self._fail(failed_finish(raw))
            return
        reason = FINISHES.get(raw.lower(), "other")
        called = any(call.block >= 0 for call in self._calls)
        if called and reason in ("stop", "other"):
            reason = "tool_calls"
        elif reason == "tool_calls" and not called:
            reason = "stop"
        self._close_all(out, whole=reason != "length")
        self._finished = True
        tier, mark = _text(value.get("service_tier")), _text(value.get("system_fingerprint"))
        out.append(Finish(reason, raw, tier=tier, fingerprint=mark))

    def _close_all(self, out: list[Event], *, whole: bool) -> None:
        self._close(out)
        self._seal(out)
        speech = self._sound.media()
        self._show([] if speech is None else [speech], out)
        for call in self._calls:
            if call.block >= 0:
                if whole and not call.said and call.kind == "function":
                    out.append(ArgsDelta(call.block, "{}"))
                out.append(Close(call.block))
        self._calls.clear()

    def _fail(self, error: ErrorEvent) -> list[Event]:
        self._over, self._prose = True, None
        return [] if self._finished else [error]

    def _odd(self, record: Record) -> list[Event]:
        """What is not a chunk: the end marker, an error event, an empty or a broken frame."""
        if self._over:
            return []
        if isinstance(record.value, dict):
            return self._fail(error_event(read_error(record.value) or bare_error(record.value)))
        data = record.data.strip()
        if data == b"[DONE]":
            self._over = True
            out: list[Event] = []
            self._close_all(out, whole=True)
            return [*out, End()]
        if not data:
            return []
        return self._fail(ErrorEvent("retryable", "the upstream sent a frame that is not JSON"))


class WholeDecoder:
    """A whole answer, one record, as a Decoder."""

    def __init__(self, make_id: MakeId) -> None:
        self._make_id = make_id

    def feed(self, record: Record) -> list[Event]:
        if record.value is None:
            return [ErrorEvent(*classify_text(record.data))]
        return decode_whole(record.value, self._make_id)

    def finish(self) -> list[Event]:
        return []


def decode_whole(value: object, make_id: MakeId) -> list[Event]:
    """Events of a whole answer: always one Finish or one ErrorEvent at the end.

    A JSON document is whole in itself, so a missing finish_reason counts as
    stop if there is content.
    """
    if not isinstance(value, dict):
        return [ErrorEvent("retryable", "the upstream's answer is not an object")]
    found = read_error(value)
    if found is not None:
        return [error_event(found)]
    choices = value.get("choices")
    if not isinstance(choices, list):
        return [error_event(headless(value, "the upstream's answer has no choices"))]
    choice = _first(choices)
    if choice is None:
        return [ErrorEvent("empty_response", "the upstream's answer has no choices")]
    return unless_empty(StreamDecoder(make_id).whole(value, choice), finish_word(choice))


def _first(choices: list[object]) -> Fields | None:
    """Choice 0. An upstream that leaves the index out has one choice only."""
    return next(
        (item for item in choices if isinstance(item, dict) and not item.get("index")), None
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _joined(parts: object) -> str:
    """Text of a string or of a list of text objects."""
    if isinstance(parts, str):
        return parts
    return "".join(_text(_fields(part).get("text")) for part in _list(parts))
