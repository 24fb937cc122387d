"""Requests and answers across dialects, without sockets: what the tests of the rows stand on.

`sent` is a client's request as an upstream gets it, `answered` an upstream's bytes as a client gets
them. Everything between is the engine's own: parse, write, pipeline, encode. A dialect that joins
the table of `engine.dialects` joins these with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

from engine.chat import ChatRequest, Message, Text
from engine.dialects import DIALECTS, Target
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.written import Written, write
from engine.events import ErrorEvent, Event, Finish, Reply, Start, Usage, UsageEvent, fold
from engine.parsers import PARSERS
from engine.route.route import Route
from engine.wire import Headers, HttpResponse, JsonError, dumps, loads
from tests.grammar import check_events
from tests.kit import call_of, route_of

HI = Message("user", [Text("hi")])
# What a client must say to be told everything.
ASKING: dict[str, dict[str, Any]] = {
    "gemini": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
}
BY_URL = {"gemini"}  # says by the path whether it wants a stream
TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


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


@cache
def route_to(upstream: str) -> Route:
    head = f"version: 1\ndialect: {upstream}\nbase_url: https://a.example\nmodels: [m]\n"
    return route_of(head + "upstream: { headers: { x-test: row } }\n")


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
) -> Answered:
    """An upstream's answer, streamed or whole as the client's is."""
    events, verdict, counts = read(upstream, data, stream=stream, written=written)
    kind = DIALECTS[client]
    end: list[Event] = [UsageEvent(counts), verdict] if counts else [verdict]
    whole: list[Event] = [Start("id", "m", 1), *events, *end]
    if isinstance(verdict, Finish):
        check_events(whole)
    request = request or parsed(client, {"stream": stream})
    if stream:
        encoder = kind.encoder("id", "m", 1, usage, request)
        out = encoder.feed(whole) + encoder.finish()
    elif isinstance(verdict, ErrorEvent):
        out = kind.failure(verdict.cls, verdict.message, "id")[1]
    else:
        out = kind.reply(fold(whole), "id", "m", 1, request)
    back, end_of_client, told = read(client, out, stream=stream)
    reply = fold([*back, *([UsageEvent(told)] if told else []), end_of_client])
    return Answered(out, reply, events, verdict, _frames(client, out) if stream else [])


def read(
    dialect: str,
    data: bytes | Iterable[bytes],
    *,
    stream: bool = True,
    written: Written | None = None,
) -> tuple[list[Event], Finish | ErrorEvent, Usage | None]:
    """Bytes of a dialect through a route's pipeline."""
    route, kind = route_to(dialect), DIALECTS[dialect]
    call = call_of(route, {"messages": [{"role": "user", "content": "hi"}]})
    env = route.variables(call.asked, call.offer, 0.0, Random(1))
    if written is not None:
        env["_undo"] = written.undo
    content = TYPES.get(kind.framing, "text/event-stream") if stream else "application/json"
    head = HttpResponse(200, (("content-type", content),), b"")
    ids = iter(range(1000))
    pipeline = route.pipeline(env, [], head, stream=stream, new_id=lambda: f"call_{next(ids)}")
    events: list[Event] = []
    for piece in [data] if isinstance(data, bytes) else data:
        events += pipeline.feed(piece)
    events += pipeline.finish()
    return events, pipeline.verdict(), pipeline.usage


def said(dialect: str, events: list[Event], *, usage: bool = True) -> bytes:
    """Events as an upstream of the dialect would stream them, by the dialect's own encoder."""
    kind = DIALECTS[dialect]
    encoder = kind.encoder("id", "m", 1, usage, parsed(dialect, {"stream": True}))
    return encoder.feed([Start("id", "m", 1), *events]) + encoder.finish()


def _frames(dialect: str, data: bytes) -> list[Any]:
    """The decoded frames of a stream; terminators and comments are left out."""
    parser = PARSERS[DIALECTS[dialect].framing].make({})
    found = []
    for record in [*parser.feed(data), *parser.finish()]:
        try:
            found.append(loads(record.data))
        except JsonError:
            continue
    return found
