"""Endpoints beside chat that a route passes on to its upstream: embeddings, counts of tokens, and
answers that the upstream keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from engine.dialects import Dialect
from engine.dialects.embedding import Embedding
from engine.dialects.splice import scan
from engine.errors import ExchangeError, RequestError
from engine.exchange.errands import Errand
from engine.route.route import Offer, Route
from engine.wire import JsonError, dumps, loads

JSON = "application/json"


def embeddings(route: Route, asked: Embedding) -> Errand:
    """Raises RequestError where the route's upstream makes none."""
    plan = route.errands.get("embeddings")
    if plan is None:
        message = f"route {route.name} makes no embeddings"
        raise RequestError("unsupported", message, param="model")

    def body(offer: Offer) -> tuple[bytes, str]:
        told = offer.profile.encoding_format == "send"
        return asked.body(offer.model.upstream, told), JSON

    return Errand(plan, body, asked.read)


def counting(route: Route, dialect: Dialect, body: bytes) -> Errand | None:
    """The upstream counts the tokens of a request in its own dialect, if the route says where."""
    plan = route.errands.get("count_tokens")
    if plan is None or route.dialect is not dialect:
        return None

    def sent(offer: Offer) -> tuple[bytes, str]:
        found = scan(body)
        if found is not None:
            return dialect.splice(body, found, offer.model.upstream, False), JSON
        fields = loads(body)
        assert isinstance(fields, dict)  # it was parsed before
        return dumps({**fields, "model": offer.model.upstream}), JSON

    return Errand(plan, sent, lambda answer: (answer, None))


# What is asked of an answer that its upstream keeps: action -> method, and what follows its id.
ASKED = {
    "response": ("GET", ""),
    "delete_response": ("DELETE", ""),
    "input_items": ("GET", "/input_items"),
    "cancel_response": ("POST", "/cancel"),
}


def no_stream(query: Mapping[str, str]) -> None:
    """Raises RequestError for an answer that is asked for in pieces."""
    if query.get("stream", "").lower() == "true":
        message = "stream: an answer that is kept is given whole"
        raise RequestError("unsupported", message, param="stream")


def of_answer(route: Route, action: str, ident: str, query: Mapping[str, str]) -> Errand:
    """What a client asks about an answer, carried to where chats go. Raises RequestError."""
    no_stream(query)
    chats, (method, tail) = route.plan, ASKED[action]
    tail, asked = f"/{quote(ident, safe='')}{tail}", tuple(query.items())
    plan = replace(
        chats,
        method=method,
        url=lambda env: chats.url(env) + tail,
        query=lambda env: (*chats.query(env), *asked),
        body=None,
    )
    return Errand(plan, lambda offer: None, _document)


def _document(body: bytes) -> tuple[bytes, None]:
    try:
        loads(body)
    except JsonError as error:
        raise ExchangeError("retryable", f"the answer is {error}") from None
    return body, None
