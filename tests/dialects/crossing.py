"""Requests and answers across dialects, without sockets: what the tests of the rows stand on.

`sent` is a client's request as an upstream gets it, `answered` an upstream's bytes as a client gets
them, held against the grammar of the client's dialect and the types of its SDK. Everything between
is the engine's own: parse, write, pipeline, encode. A dialect that joins the table of
`engine.dialects` joins these with it; `rules` is an upstream of none, read by rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from engine.chat import ChatRequest, Media, Message, Text, ToolCall
from engine.dialects import DIALECTS, Target
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.written import Written, write
from engine.events import (
    ArgsDelta,
    ErrorEvent,
    Event,
    Finish,
    Open,
    ReasoningDelta,
    Reply,
    SignatureDelta,
    Start,
    TextDelta,
    Usage,
    UsageEvent,
    fold,
)
from engine.exchange.loop import Exchange
from engine.parsers import PARSERS
from engine.route.route import Route
from engine.route.view import Asked
from engine.wire import Headers, HttpRequest, HttpResponse, JsonError, dumps, loads
from tests.answers import judge
from tests.grammar import check_events
from tests.kit import FakeSink, Say, World, call_of, route_of

RULES = "rules"
HI = Message("user", [Text("hi")])
# What a client must say to be told everything.
ASKING: dict[str, dict[str, Any]] = {
    "gemini": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
}
BY_URL = {"gemini"}  # says by the path whether it wants a stream
TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}
# Where each dialect's clients ask; `judge` knows an answer by it.
PATHS = {
    "openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages", "ollama": "/api/chat",
}  # fmt: skip
_GEMINI = "/v1beta/models/m:"


def parsed(client: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> ChatRequest:
    kind = DIALECTS[client]
    given = {
        **kind.render(ChatRequest(client, "m", [HI]), "m", PROFILE),
        **ASKING.get(client, {}),
        **body,
    }
    target = Target(model="m", stream=bool(given.get("stream")))
    if client in BY_URL:
        given.pop("stream", None)
    return kind.parse(dumps(given), Headers.of(headers or {}), target)


def sent(
    client: str, body: dict[str, Any], upstream: str, profile: Profile | None = None, **more: Any
) -> dict[str, Any]:
    """The body an upstream gets. more: `request` to have the parsed request, as a list to fill."""
    request = parsed(client, body)
    more.get("request", []).append(request)
    return write(DIALECTS[upstream], request, "up", profile or Profile()).body


_CUSTOM = """\
version: 1
base_url: https://a.example
models: [m]
request: { path: /ask, json: { text: "{{ req.prompt }}" } }
"""
_RULES = """\
stream: { format: sse, events: &rules [
  { has: $.error, error: { class: overloaded, message: $.error } },
  { continue: true, reasoning: $.think, reasoning_signature: $.sign, text: $.text,
    image: $.image,
    tool_calls: { each: "$.calls[*]", index: $.at, id: $.id, name: $.name, arguments: $.args } },
  { continue: true, usage: { input: $.usage.input, output: $.usage.output,
      cached: $.usage.cached, reasoning: $.usage.reasoning } },
  { finish: $.end }] }
response: { events: *rules }
"""


@cache
def route_to(upstream: str, more: str = "") -> Route:
    """more: further keys of the route."""
    if upstream == RULES:
        return custom(_RULES + more)
    head = f"version: 1\ndialect: {upstream}\nbase_url: https://a.example\nmodels: [m]\n"
    return route_of(head + more)


@cache
def custom(lines: str) -> Route:
    """A route to an upstream of no dialect."""
    return route_of(_CUSTOM + lines)


def asks(client: str, *messages: Message, **fields: Any) -> dict[str, Any]:
    """A request of the model in the client's own words. fields: of ChatRequest."""
    request = ChatRequest(client, "m", list(messages) or [HI], **fields)
    return DIALECTS[client].render(request, "m", PROFILE)


async def exchanged(
    upstream: str,
    say: Say,
    client: str,
    *,
    body: dict[str, Any] | None = None,
    route: Route | None = None,
) -> tuple[FakeSink, list[HttpRequest]]:
    """A whole exchange with an upstream that would answer twice: its end, and what it was asked."""
    route = route or route_to(upstream)
    chat = parsed(client, {**(body or {}), "stream": True})
    call = replace(
        call_of(route, {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
        asked=Asked("req_1", lambda: chat, True, Headers()),
        dialect=DIALECTS[client],
        splice=None,
    )
    async with World([say, say]) as world:
        sink = FakeSink(stream=True)
        await Exchange(route, call, world.ports, world.keyring, world.sessions, sink).run()
        return sink, world.upstream.requests


def shown(client: str, sink: FakeSink) -> Answered:
    """What an exchange came to, as the client gets it."""
    assert sink.finished is not None
    end: list[Event] = [UsageEvent(sink.usage or Usage(input=1, output=1)), sink.finished]
    return _shown(client, [*sink.events, *end], parsed(client, {"stream": True}))


@dataclass(slots=True)
class Answered:
    """What a client got: bytes, and what its own dialect's reader makes of them."""

    data: bytes
    reply: Reply
    events: list[Event]
    verdict: Finish | ErrorEvent
    frames: list[Any] = field(default_factory=list)


def answered(
    upstream: str,
    data: bytes | Iterable[bytes],
    client: str,
    *,
    stream: bool = True,
    usage: bool = True,
    written: Written | None = None,
    request: ChatRequest | None = None,
    route: Route | None = None,
) -> Answered:
    """An upstream's answer, streamed or whole as the client's is."""
    events, verdict, counts = read(upstream, data, stream=stream, written=written, route=route)
    end: list[Event] = [UsageEvent(counts), verdict] if counts else [verdict]
    given = [*events, *end]
    if isinstance(verdict, Finish):
        check_events([Start("id", "m", 1), *given])
    request = request or parsed(client, {"stream": stream})
    told = _shown(client, given, request, stream=stream, usage=usage and counts is not None)
    told.events = events
    return told


def _shown(
    client: str,
    events: list[Event],
    request: ChatRequest,
    *,
    stream: bool = True,
    usage: bool = True,
) -> Answered:
    """Events of the engine as the client gets them."""
    kind, status, verdict = DIALECTS[client], 200, events[-1]
    assert isinstance(verdict, Finish | ErrorEvent)
    made: list[Event] = [Start("id", "m", 1), *events]
    if stream:
        encoder = kind.encoder("id", "m", 1, usage, request)
        out = encoder.feed(made) + encoder.finish()
    elif isinstance(verdict, ErrorEvent):
        status, out = kind.failure(verdict.cls, verdict.message, "id")
    else:
        out = kind.reply(fold(made), "id", "m", 1, request)
    judged(client, out, stream=stream, usage=usage, status=status)
    back, end_of_client, told = read(client, out, stream=stream)
    reply = fold([*back, *([UsageEvent(told)] if told else []), end_of_client])
    return Answered(out, reply, events, verdict, _frames(client, out) if stream else [])


def judged(
    client: str, data: bytes, *, stream: bool = True, usage: bool = False, status: int = 200
) -> None:
    """An answer held against the grammar of its dialect, its SDK's types, published schemas."""
    action = "streamGenerateContent" if stream else "generateContent"
    asked = {"stream": stream, "stream_options": {"include_usage": usage}}
    assert judge(PATHS.get(client, _GEMINI + action), asked, status, data)


def read(
    dialect: str,
    data: bytes | Iterable[bytes],
    *,
    stream: bool = True,
    written: Written | None = None,
    route: Route | None = None,
) -> tuple[list[Event], Finish | ErrorEvent, Usage | None]:
    """Bytes of a dialect through a route's pipeline."""
    route = route or route_to(dialect)
    call = call_of(route, {"messages": [{"role": "user", "content": "hi"}]})
    env = route.variables(call.asked, call.offer, 0.0, Random(1))
    if written is not None:
        env["_undo"] = written.undo
    content = _stream_type(dialect) if stream else "application/json"
    head = HttpResponse(200, (("content-type", content),), b"")
    ids = iter(range(1000))
    pipeline = route.pipeline(env, [], head, stream=stream, new_id=lambda: f"call_{next(ids)}")
    events: list[Event] = []
    for piece in [data] if isinstance(data, bytes) else data:
        events += pipeline.feed(piece)
    events += pipeline.finish()
    return events, pipeline.verdict(), pipeline.usage


def _stream_type(dialect: str) -> str:
    return TYPES["sse" if dialect == RULES else DIALECTS[dialect].framing]


def said(dialect: str, events: list[Event], *, usage: bool = True) -> bytes:
    """Events as an upstream of the dialect would stream them, by the dialect's own encoder."""
    if dialect == RULES:
        return b"".join(b"data: %b\n\n" % dumps(told) for told in map(_told, events) if told)
    kind = DIALECTS[dialect]
    encoder = kind.encoder("id", "m", 1, usage, parsed(dialect, {"stream": True}))
    return encoder.feed([Start("id", "m", 1), *events]) + encoder.finish()


def whole(dialect: str, events: list[Event]) -> bytes:
    """The same as a whole answer."""
    reply = fold([Start("id", "m", 1), *events])
    if dialect != RULES:
        return DIALECTS[dialect].reply(reply, "id", "m", 1, parsed(dialect, {}))
    calls = [
        {"at": at, "id": c.id, "name": c.name, "args": c.args} for at, c in enumerate(reply.calls)
    ]
    told = _told(UsageEvent(reply.usage)) if reply.usage else {}
    for part in reply.parts:
        told |= {"image": part.data} if isinstance(part, Media) else {}
    return dumps(
        {"think": reply.reasoning, "text": reply.text, "calls": calls, "end": reply.finish, **told}
    )


def _told(event: Event) -> dict[str, Any]:
    """One event in the words of the upstream that rules read."""
    match event:
        case TextDelta(_, text):
            return {"text": text}
        case ReasoningDelta(_, text):
            return {"think": text}
        case SignatureDelta(_, signature):
            return {"sign": signature}
        case Open(_, Media(data=data)):
            return {"image": data}
        case Open(at, ToolCall(ident, name, args)):
            return {"calls": [{"at": at, "id": ident, "name": name, "args": args}]}
        case ArgsDelta(at, args):
            return {"calls": [{"at": at, "args": args}]}
        case UsageEvent(Usage(given, made, cached, _, thought)):
            return {"usage": {"input": given, "output": made, "cached": cached,
                              "reasoning": thought}}  # fmt: skip
        case Finish(reason):
            return {"end": reason}
        case ErrorEvent(_, message):
            return {"error": message}
        case _:
            return {}


def _frames(dialect: str, data: bytes) -> list[Any]:
    """The decoded frames of a stream; terminators and comments are left out."""
    parser = PARSERS[DIALECTS[dialect].framing].make(None)
    found = []
    for record in [*parser.feed(data), *parser.finish()]:
        try:
            found.append(loads(record.data))
        except JsonError:
            continue
    return found
