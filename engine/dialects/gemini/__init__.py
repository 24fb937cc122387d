"""Gemini: client side (parse, encode), upstream side (render, decode), pass-through.

paths.py knows the URLs, which hold the model and the method; names.py the spellings of fields.
contents.py reads `contents` and turns.py writes them; signatures.py and schemas.py translate
thought signatures and the schemas of tools.
"""

from __future__ import annotations

import re

import orjson

from engine.chat import ChatRequest
from engine.dialects import outcomes
from engine.dialects.contract import HERE, Dialect, Encoder, Target
from engine.dialects.names import Limits, Rule
from engine.dialects.splice import Scan
from engine.events import Reply

from . import decode, encode, parse, paths, render, tap, turns

_NAMES = re.compile("[a-zA-Z_][a-zA-Z0-9_.:-]*")


def _encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    return encode.Encoder(id, model, request)


def _reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    return encode.reply(answer, id, model, request)


def _scan(body: bytes, target: Target = HERE) -> Scan | None:
    """The body names neither model nor stream, so nothing of it has to change."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not target.model or "contents" not in value:
        return None
    return Scan(target.model, bool(target.stream), include_usage=True)


DIALECT = Dialect(
    name="gemini",
    key_in_query="key",
    family="gemini",
    path=paths.PATH,
    query=paths.QUERY,
    endpoints={},
    prefix=paths.PREFIX,
    locate=paths.locate,
    framing="sse",
    done=(),
    parse=lambda body, headers, target=HERE: parse.parse(body, target),
    render=render.render,
    messages=render.messages,
    tools=render.tools,
    tool_choice=render.tool_choice,
    stream_reader=lambda env, make_id: decode.StreamDecoder(make_id),
    whole_reader=lambda env, make_id: decode.WholeDecoder(make_id),
    encoder=_encoder,
    reply=_reply,
    reframe=paths.reframe,
    counted=lambda tokens: {"totalTokens": tokens},
    failure=encode.failure,
    stream_failure=encode.stream_failure,
    error_from=outcomes.error_from,
    by_url=turns.by_url,
    cites=lambda found: bool(found.url) or decode.is_grounding(found),
    cites_late=True,
    scan=_scan,
    splice=lambda body, found, model, stream: body,
    signs=True,
    tap=tap.Tap,
    check_whole=tap.check_whole,
    limits=Limits(names=Rule(_NAMES, 64), ids=Rule()),
)
