"""The canonical answer, and how each wire form says it.

Forty short tokens in several scripts, so that any loss, doubling or wrong decoding shows; before
them stands a marker that belongs to one request alone, so that somebody else's answer shows too.
A `Speech` holds the pieces of one answer; faults put them together wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

TOKENS = (
    "Hello", ", ", "world", "! ", "你好", "，", "世界", "。", "안녕", "하세요", " ", "세계", "! ",
    "Café", " ", "naïve", " ", "façade", " ", "Ångström", " ", "😀", "👩‍👩‍👧", "🇨🇭", " ",
    "“quoted”", " ",
    "‘so’", " — ", "…", " ", "数据", "流", " ", "끝", "까지", " ", "señor", " ", "ﬁn",
)  # fmt: skip
INPUT, OUTPUT = 11, 41  # usage

Form = Literal["sse", "ndjson", "whole"]
Fields = dict[str, object]


def text_of(marker: str) -> str:
    """What a client must end up with."""
    return marker + " " + "".join(TOKENS)


@dataclass(frozen=True, slots=True)
class Speech:
    """One answer in one wire form.

    marker    tells this answer from all others
    form      how frames are told apart; `whole`: one document
    hello     a frame without content that may come first, b"" if the form has none
    tokens    frames with content, in order; of a document: pieces of it
    finish, usage, done   frames that end it; b"" where the form has none
    """

    marker: str
    form: Form
    content_type: str
    hello: bytes
    tokens: tuple[bytes, ...]
    finish: bytes
    usage: bytes
    done: bytes
    word: Callable[[str], bytes]  # a frame that says this text
    call: Callable[[str, str], bytes]  # a frame with a tool's name and a piece of its arguments
    called: bytes  # the finish after a tool call
    error: Callable[[object, str], bytes]  # a frame (or document) with a type and a message

    @property
    def streams(self) -> bool:
        return self.form != "whole"

    @property
    def opening(self) -> bytes:
        """Not all of it, but some content."""
        return self.hello + b"".join(self.tokens[:12])

    @property
    def rest(self) -> bytes:
        return b"".join(self.tokens[12:]) + self.ending

    @property
    def ending(self) -> bytes:
        return self.finish + self.usage + self.done

    @property
    def content(self) -> bytes:
        return self.hello + b"".join(self.tokens)

    @property
    def body(self) -> bytes:
        return self.content + self.ending


def compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: object) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else compact(value)) + b"\n\n"


def line(value: object) -> bytes:
    return compact(value) + b"\n"


def _cut(document: bytes, pieces: int = 40) -> tuple[bytes, ...]:
    """The document in about so many pieces, without regard to characters."""
    size = max(1, len(document) // pieces)
    return tuple(document[at : at + size] for at in range(0, len(document), size))


# ---- OpenAI Chat Completions ----


def _chunk(delta: Fields, finish: str | None = None) -> bytes:
    return sse(
        {
            "id": "chatcmpl-fault",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "upstream-model",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
    )


def _chat_error(kind: object, message: str) -> Fields:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _chat_call(name: str, arguments: str) -> Fields:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    start = {"id": "call_1", "type": "function"} if name else {}
    return {"tool_calls": [{"index": 0, **start, "function": function}]}


def _counts() -> Fields:
    return {
        "prompt_tokens": INPUT,
        "completion_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
    }


def chat_stream(marker: str) -> Speech:
    usage = {
        "id": "chatcmpl-fault",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [],
        "usage": _counts(),
    }
    return Speech(
        marker=marker,
        form="sse",
        content_type="text/event-stream",
        hello=_chunk({"role": "assistant", "content": ""}),
        tokens=tuple(_chunk({"content": token}) for token in (marker + " ", *TOKENS)),
        finish=_chunk({}, "stop"),
        usage=sse(usage),
        done=sse(b"[DONE]"),
        word=lambda text: _chunk({"content": text}),
        call=lambda name, arguments: _chunk(_chat_call(name, arguments)),
        called=_chunk({}, "tool_calls"),
        error=lambda kind, message: sse(_chat_error(kind, message)),
    )


def chat_whole(marker: str) -> Speech:
    def document(message: Fields, finish: str = "stop") -> bytes:
        return compact(
            {
                "id": "chatcmpl-fault",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": "upstream-model",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "refusal": None, **message},
                        "logprobs": None,
                        "finish_reason": finish,
                    }
                ],
                "usage": _counts(),
            }
        )

    def call(name: str, arguments: str) -> bytes:
        function = {"name": name, "arguments": arguments}
        made = {"id": "call_1", "type": "function", "function": function}
        return document({"content": None, "tool_calls": [made]}, "tool_calls")

    return _document(
        marker,
        tokens=_cut(document({"content": text_of(marker)})),
        word=lambda text: document({"content": text}),
        call=call,
        error=lambda kind, message: compact(_chat_error(kind, message)),
    )


def _document(
    marker: str,
    *,
    tokens: tuple[bytes, ...],
    word: Callable[[str], bytes],
    call: Callable[[str, str], bytes],
    error: Callable[[object, str], bytes],
) -> Speech:
    return Speech(
        marker=marker,
        form="whole",
        content_type="application/json",
        hello=b"",
        tokens=tokens,
        finish=b"",
        usage=b"",
        done=b"",
        word=word,
        call=call,
        called=b"",
        error=error,
    )


# ---- server-sent events of a shape that nobody knows ----


def rules_stream(marker: str) -> Speech:
    def call(name: str, arguments: str) -> bytes:
        start = {"id": "call_1", "name": name} if name else {}
        return sse({"kind": "call", "at": 0, **start, "args": arguments})

    return Speech(
        marker=marker,
        form="sse",
        content_type="text/event-stream; charset=utf-8",
        hello=sse({"kind": "thinking"}),
        tokens=tuple(sse({"kind": "word", "piece": token}) for token in (marker + " ", *TOKENS)),
        finish=sse({"kind": "bye", "why": "fini"}),
        usage=sse({"kind": "count", "in": INPUT, "out": OUTPUT}),
        done=sse(b"[END]"),
        word=lambda text: sse({"kind": "word", "piece": text}),
        call=call,
        called=sse({"kind": "bye", "why": "tools"}),
        error=lambda kind, message: sse({"kind": "error", "type": kind, "message": message}),
    )


# ---- NDJSON ----


def ndjson_stream(marker: str) -> Speech:
    def word(text: str) -> bytes:
        return line({"message": {"role": "assistant", "content": text}, "done": False})

    def call(name: str, arguments: str) -> bytes:
        return line({"message": {"content": ""}, "call": {"name": name, "args": arguments}})

    counts = {"prompt_eval_count": INPUT, "eval_count": OUTPUT}
    ended = {"message": {"role": "assistant", "content": ""}, "done": True, **counts}
    return Speech(
        marker=marker,
        form="ndjson",
        content_type="application/x-ndjson",
        hello=word(""),
        tokens=tuple(word(token) for token in (marker + " ", *TOKENS)),
        finish=line({**ended, "done_reason": "stop"}),
        usage=b"",
        done=b"",
        word=word,
        call=call,
        called=line({**ended, "done_reason": "tools"}),
        error=lambda kind, message: line({"error": message, "type": kind}),
    )


def ndjson_whole(marker: str) -> Speech:
    def document(message: Fields, **more: object) -> bytes:
        counts = {"prompt_eval_count": INPUT, "eval_count": OUTPUT}
        return compact({"message": message, "done": True, "done_reason": "stop", **counts, **more})

    return _document(
        marker,
        tokens=_cut(document({"content": text_of(marker)})),
        word=lambda text: document({"content": text}),
        call=lambda name, arguments: document(
            {"content": ""}, call={"name": name, "args": arguments}, done_reason="tools"
        ),
        error=lambda kind, message: compact({"error": message, "type": kind}),
    )


# ---- one plain JSON document ----


def plain_whole(marker: str) -> Speech:
    def document(**fields: object) -> bytes:
        return compact({"ok": True, "read": INPUT, "written": OUTPUT, **fields})

    return _document(
        marker,
        tokens=_cut(document(answer=text_of(marker))),
        word=lambda text: document(answer=text),
        call=lambda name, arguments: document(tool=name, args=arguments),
        error=lambda kind, message: compact({"ok": False, "type": kind, "message": message}),
    )


# Path of an upstream's endpoint -> its wire form for streams and for whole answers. A form that is
# missing is never asked for.
FORMS: dict[str, dict[bool, Callable[[str], Speech]]] = {
    "/v1/chat/completions": {True: chat_stream, False: chat_whole},
    "/rules": {True: rules_stream},
    "/ndjson": {True: ndjson_stream, False: ndjson_whole},
    "/plain": {False: plain_whole},
}
