"""Ollama: /api/chat both ways, and /api/generate for clients (generate.py), as one dialect.

A generate request is one turn of a conversation in other words: it is read as such, sent on as any
other, and answered in its own words. Streams are lines of JSON, and streaming is the default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.chat import ChatRequest
from engine.dialects import outcomes
from engine.dialects.contract import HERE, Dialect, Encoder, Target
from engine.dialects.hosted import wants_json
from engine.dialects.splice import Scan, scan, splice
from engine.events import Reply
from engine.wire import Headers

from . import decode, embed, encode, generate, idle, parse, render, tap


@dataclass(frozen=True, slots=True)
class _Place(Target):
    """form: the last word of a path whose requests are worded in a way of its own."""

    form: str = ""


_PLACES = {
    ("POST", "/api/generate"): ("chat", _Place(form="generate")),
    ("POST", "/api/embeddings"): ("embeddings", _Place(form="embeddings")),
}


def _at(target: Target, form: str) -> bool:
    return isinstance(target, _Place) and target.form == form


def _parse(body: bytes, headers: Headers, target: Target = HERE) -> ChatRequest:
    return generate.parse(body) if _at(target, "generate") else parse.parse(body)


def _locate(method: str, path: str) -> tuple[str, Target] | None:
    return _PLACES.get((method, path))


def _scan(body: bytes, target: Target = HERE) -> Scan | None:
    """Streams unless told not to; usage is always told, so a stream needs no option for it."""
    found = None if _at(target, "generate") else scan(body)
    if found is None:
        return None
    return replace(found, stream=not found.declines, include_usage=True)


def _encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    form = encode.form_of(request)
    return encode.Encoder(model, created, form, quiet=wants_json(request))


def _reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    form = encode.form_of(request)
    return encode.reply(answer, model, created, form, quiet=wants_json(request))


DIALECT = Dialect(
    name="ollama",
    family="ollama",
    path="/api/chat",
    endpoints={
        ("POST", "/api/chat"): "chat",
        ("GET", "/api/tags"): "models",
        ("POST", "/api/show"): "show",
        ("POST", "/api/embed"): "embeddings",
    },
    constants={
        ("GET", "/api/version"): b'{"version":"0.12.11"}',  # clients ask for features by it
        ("GET", "/api/ps"): b'{"models":[]}',  # nothing is ever loaded here
    },
    prefix="/api/",
    locate=_locate,
    framing="ndjson",
    done=(),
    stream_type="application/x-ndjson",
    parse=_parse,
    render=render.render,
    messages=render.messages,
    tools=render.tools,
    tool_choice=render.tool_choice,
    stream_reader=lambda env, make_id: decode.StreamDecoder(make_id),
    whole_reader=lambda env, make_id: decode.WholeDecoder(make_id),
    encoder=_encoder,
    reply=_reply,
    cites=lambda found: False,
    failure=encode.failure,
    stream_failure=encode.stream_failure,
    error_from=outcomes.error_from,
    scan=_scan,
    splice=splice,
    tap=tap.Tap,
    check_whole=tap.check_whole,
    idle=idle.idle,
    call_ids=False,
    embed=lambda body, target: embed.read_request(body, older=_at(target, "embeddings")),
)
