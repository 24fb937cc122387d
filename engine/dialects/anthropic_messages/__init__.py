"""Anthropic Messages: client side (parse, encode), upstream side (render, decode), pass-through.

render.py makes the body, turns.py its messages, blocks.py their content.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest
from engine.dialects import outcomes
from engine.dialects.contract import HERE, Dialect, Encoder, Target
from engine.dialects.provenance import MARK
from engine.dialects.splice import Scan, scan, splice
from engine.events import Reply

from . import decode, encode, parse, render, tap


def _encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    return encode.Encoder(id, model, request)


def _reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    return encode.reply(answer, id, model, request)


def _scan(body: bytes, target: Target = HERE) -> Scan | None:
    """Usage is always told here, so a stream needs no option for it.

    None where a signature of another provider has to be taken out: this one would refuse it.
    """
    found = None if MARK in body else scan(body)
    return None if found is None else replace(found, include_usage=True)


DIALECT = Dialect(
    name="anthropic_messages",
    family="anthropic",
    path="/messages",
    endpoints={
        ("POST", "/v1/messages"): "chat",
        ("POST", "/v1/messages/count_tokens"): "count_tokens",
    },
    framing="sse",
    done=("[DONE]",),  # some upstreams that speak it add this
    parse=lambda body, headers, target=HERE: parse.parse(body, headers),
    render=render.render,
    messages=render.messages,
    tools=render.tools,
    tool_choice=render.tool_choice,
    stream_reader=lambda env, make_id: decode.StreamDecoder(make_id),
    whole_reader=lambda env, make_id: decode.WholeDecoder(make_id),
    encoder=_encoder,
    reply=_reply,
    failure=encode.failure,
    stream_failure=encode.stream_failure,
    error_from=outcomes.error_from,
    cites=lambda found: encode.citation(found) is not None,
    by_url=lambda media: media.kind in ("image", "file"),
    scan=_scan,
    splice=splice,
    tap=tap.Tap,
    check_whole=tap.check_whole,
    schemas="anthropic",
    signs=True,
    headers=("anthropic-beta", "anthropic-version"),
)
