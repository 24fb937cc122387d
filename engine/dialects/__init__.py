"""Dialects: the wire formats of chat APIs. One folder each, the same four files in every folder.

    parse.py    a client's request body -> ChatRequest
    render.py   ChatRequest -> an upstream's request body, as the profile demands
    decode.py   an upstream's records -> events
    encode.py   events -> a client's bytes; whole answers; failures

All dialects meet in `engine/chat.py` and `engine/events.py` and never in each other. Beside the
folders stands what they share: `outcomes` (errors in everybody's words), `profile`, `listings`,
`tokens`, and for answers that pass through untouched `splice` (requests) and `tap` (answers).
Everything is pure and synchronous. A new dialect is a folder and a line in `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from engine.chat import ChatRequest, Message, Tool, ToolChoice
from engine.errors import ExchangeError, RequestError
from engine.events import ErrorEvent, Event, Reply
from engine.wire import Headers, HttpResponse, Record

from . import anthropic_messages as messages
from . import frames, outcomes
from .openai_chat import decode, encode, parse, render
from .profile import Profile
from .splice import Scan, scan, splice
from .tap import Tap, check_whole


class Encoder(Protocol):
    """Events of one answer -> bytes for the client. Events come in the order of engine/events.py.

    feed    all events of one upstream read as one byte string, b"" if there is nothing to say;
            the terminator goes out with Finish or ErrorEvent
    finish  what is left when the answer is over: normally b""
    ping    a keep-alive, None where the dialect has none or the answer is over
    """

    def feed(self, events: list[Event]) -> bytes: ...
    def finish(self) -> bytes: ...
    def ping(self) -> bytes | None: ...


class Decoder(Protocol):
    """Records of one attempt -> events, numbered blocks opened and closed. One per attempt.

    Finish is given as soon as the upstream says it; UsageEvent and End may follow. An answer that
    ends without a Finish is left so: whether that is an error is decided elsewhere.
    """

    def feed(self, record: Record) -> list[Event]: ...
    def finish(self) -> list[Event]: ...


class EncoderMaker(Protocol):
    """id, model and created are what the client shall see; request adds what it spoke like."""

    def __call__(
        self,
        id: str,
        model: str,
        created: int,
        include_usage: bool,
        request: ChatRequest | None = None,
    ) -> Encoder: ...


class ReplyMaker(Protocol):
    """The body of a whole answer."""

    def __call__(
        self, answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
    ) -> bytes: ...


class Failure(Protocol):
    """Status and body for an outcome class or a kind of `outcomes.CLIENT_KINDS`."""

    def __call__(
        self,
        kind: str,
        message: str,
        request_id: str = "",
        error: ExchangeError | RequestError | None = None,
    ) -> tuple[int, bytes]: ...


Env = Mapping[str, object]
MakeId = Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format.

    family          whose error types its clients know
    path            of the endpoint, under an upstream's base URL
    framing         parser of its streams; done: payloads that end them
    parse           raises RequestError
    render          (request, upstream model, profile) -> body; fills request.dropped
    messages, tools, tool_choice   parts of `render`, for templates
    stream_reader, whole_reader    (template roots, maker of ids) -> Decoder of chunks or of a
                    whole answer
    encoder         makes the Encoder of one answer
    reply           body of a whole answer
    failure         an answer that failed before it began
    stream_failure  the frames that end a stream which has begun
    error_from      what an upstream's answer with an error status means
    scan, splice    a request whose bytes pass through
    headers         names of a client's headers that go on to an upstream of the same dialect
    tap             makes the watcher of a stream that passes through; None: it never does
    check_whole     the same for a whole answer
    """

    name: str
    family: outcomes.Family
    path: str
    framing: str
    done: tuple[str, ...]
    content_type: str = "application/json"
    stream_type: str = "text/event-stream"
    parse: Callable[[bytes, Headers], ChatRequest]
    render: Callable[[ChatRequest, str, Profile], dict[str, object]]
    messages: Callable[[list[Message]], list[object]]
    tools: Callable[[list[Tool]], list[object]]
    tool_choice: Callable[[ToolChoice], object]
    stream_reader: Callable[[Env, MakeId], Decoder]
    whole_reader: Callable[[Env, MakeId], Decoder]
    encoder: EncoderMaker
    reply: ReplyMaker
    failure: Failure
    stream_failure: Callable[[ErrorEvent], bytes]
    error_from: Callable[[HttpResponse], ExchangeError]
    scan: Callable[[bytes], Scan | None]
    splice: Callable[[bytes, Scan, str, bool], bytes]
    tap: Callable[..., frames.Tap] | None = None
    check_whole: Callable[[bytes], frames.Observations] | None = None
    headers: tuple[str, ...] = ()

    def refusal(self, error: RequestError, request_id: str = "") -> tuple[int, bytes]:
        """Status and body for a request that is not served."""
        return self.failure(error.kind, error.message, request_id, error)


def _chat_encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    legacy = request is not None and parse.legacy_tools(request)
    return encode.Encoder(id, model, created, include_usage, legacy=legacy)


def _chat_reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    legacy = request is not None and parse.legacy_tools(request)
    return encode.reply(answer, id, model, created, legacy=legacy)


def _messages_encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    return messages.encode.Encoder(id, model, request)


def _messages_reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    return messages.encode.reply(answer, id, model)


def _messages_scan(body: bytes) -> Scan | None:
    """Usage is always told here, so a stream needs no option for it."""
    found = scan(body)
    return None if found is None else replace(found, include_usage=True)


DIALECTS: dict[str, Dialect] = {
    "openai_chat": Dialect(
        name="openai_chat",
        family="openai",
        path="/chat/completions",
        framing="sse",
        done=("[DONE]",),
        parse=parse.parse,
        render=render.render,
        messages=render.messages,
        tools=render.tools,
        tool_choice=render.tool_choice,
        stream_reader=lambda env, make_id: decode.StreamDecoder(make_id),
        whole_reader=lambda env, make_id: decode.WholeDecoder(make_id),
        encoder=_chat_encoder,
        reply=_chat_reply,
        failure=encode.failure,
        stream_failure=encode.stream_failure,
        error_from=outcomes.error_from,
        scan=scan,
        splice=splice,
        tap=Tap,
        check_whole=check_whole,
    ),
    "anthropic_messages": Dialect(
        name="anthropic_messages",
        family="anthropic",
        path="/messages",
        framing="sse",
        done=("[DONE]",),  # some upstreams that speak it add this
        parse=messages.parse.parse,
        render=messages.render.render,
        messages=messages.render.messages,
        tools=messages.render.tools,
        tool_choice=messages.render.tool_choice,
        stream_reader=lambda env, make_id: messages.decode.StreamDecoder(make_id),
        whole_reader=lambda env, make_id: messages.decode.WholeDecoder(make_id),
        encoder=_messages_encoder,
        reply=_messages_reply,
        failure=messages.encode.failure,
        stream_failure=messages.encode.stream_failure,
        error_from=outcomes.error_from,
        scan=_messages_scan,
        splice=splice,
        tap=messages.tap.Tap,
        check_whole=messages.tap.check_whole,
        headers=("anthropic-beta", "anthropic-version"),
    ),
}
