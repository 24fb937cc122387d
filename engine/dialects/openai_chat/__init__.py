"""OpenAI Chat Completions: parse, encode; render, decode; and tap for what passes through."""

from __future__ import annotations

from engine.chat import ChatRequest
from engine.dialects import embedding, outcomes
from engine.dialects.cited import Placing
from engine.dialects.contract import HERE, Dialect, Encoder
from engine.dialects.foreign import legacy_tools
from engine.dialects.hosted import wants_json
from engine.dialects.names import Limits, Rule
from engine.dialects.searching import searches
from engine.dialects.splice import scan, splice
from engine.events import Reply

from . import decode, encode, parse, render, tap


def _encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    legacy = legacy_tools(request)
    quiet = wants_json(request)
    made = encode.Encoder(id, model, created, include_usage, legacy=legacy, quiet=quiet)
    return Placing(made, joined=True, quiet=quiet) if searches(request) else made


def _reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    legacy = legacy_tools(request)
    quiet = wants_json(request)
    return encode.reply(answer, id, model, created, legacy=legacy, quiet=quiet)


DIALECT = Dialect(
    name="openai_chat",
    family="openai",
    path="/chat/completions",
    endpoints={
        ("POST", "/v1/chat/completions"): "chat",
        ("POST", "/v1/embeddings"): "embeddings",
    },
    framing="sse",
    done=("[DONE]",),
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
    cites=encode.is_link,
    cites_late=True,
    annotates=True,
    by_url=lambda media: media.kind in ("image", "video"),
    scan=lambda body, target=HERE: scan(body),
    splice=splice,
    limits=Limits(ids=Rule(most=40)),
    tap=tap.Tap,
    check_whole=tap.check_whole,
    embed=lambda body, target: embedding.read_request(body),
)
