"""OpenAI Responses: client side (parse, encode), upstream side (render, decode), pass-through.

items.py reads the items of an input, turns.py makes them; answer.py makes what an answer consists
of, in a stream or whole; kept.py goes on from an answer that was kept.
"""

from __future__ import annotations

from dataclasses import replace

from engine.chat import ChatRequest
from engine.dialects import outcomes
from engine.dialects.cited import Placing
from engine.dialects.contract import HERE, Dialect, Encoder, Target
from engine.dialects.names import Limits, Rule
from engine.dialects.provenance import MARK
from engine.dialects.searching import searches
from engine.dialects.splice import Scan, scan, splice
from engine.events import Reply

from . import decode, encode, parse, render, tap
from .answer import annotation, failure
from .answer import reply as whole


def _encoder(
    id: str, model: str, created: int, include_usage: bool, request: ChatRequest | None = None
) -> Encoder:
    made = encode.Encoder(id, model, created, request)
    return Placing(made, joined=False) if searches(request) else made


def _reply(
    answer: Reply, id: str, model: str, created: int, request: ChatRequest | None = None
) -> bytes:
    return whole(answer, id, model, created, request)


def _scan(body: bytes, target: Target = HERE) -> Scan | None:
    """Usage is always told here, so a stream needs no option for it.

    None where a signature of another provider has to be taken out: this one would refuse it.
    """
    found = None if MARK in body else scan(body)
    return None if found is None else replace(found, include_usage=True)


_PREFIX = "/v1/responses/"
_ITEMS, _CANCEL = "/input_items", "/cancel"


def _locate(method: str, path: str) -> tuple[str, Target] | None:
    """The endpoints of an answer that is kept."""
    ident = path.removeprefix(_PREFIX)
    if not path.startswith(_PREFIX) or not ident:
        return None
    if method == "GET" and ident.endswith(_ITEMS):
        return "input_items", Target(ident.removesuffix(_ITEMS))
    if method == "POST" and ident.endswith(_CANCEL):
        return "cancel_response", Target(ident.removesuffix(_CANCEL))
    action = _OF_METHOD.get(method)
    return None if action is None or "/" in ident else (action, Target(ident))


_OF_METHOD = {"GET": "response", "DELETE": "delete_response"}

DIALECT = Dialect(
    name="openai_responses",
    family="openai",
    path="/responses",
    endpoints={
        ("POST", "/v1/responses"): "chat",
        ("POST", "/v1/responses/input_tokens"): "count_tokens",
    },
    prefix=_PREFIX,
    locate=_locate,
    counted=lambda tokens: {"object": "response.input_tokens", "input_tokens": tokens},
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
    failure=failure,
    stream_failure=encode.stream_failure,
    error_from=outcomes.error_from,
    cites=lambda found: annotation(found) is not None,
    by_url=lambda media: media.kind in ("image", "file"),
    scan=_scan,
    splice=splice,
    tap=tap.Tap,
    check_whole=tap.check_whole,
    headers=("openai-beta",),
    limits=Limits(ids=Rule(most=64)),
    signs=True,
    resumable=render.resumable,
)
