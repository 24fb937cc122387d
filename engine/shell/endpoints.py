"""Endpoints beside chat that a route passes on to its upstream: embeddings, counts of tokens."""

from __future__ import annotations

from engine.dialects import Dialect
from engine.dialects.embedding import Embedding
from engine.dialects.splice import scan
from engine.errands import Errand
from engine.errors import RequestError
from engine.route.route import Offer, Route
from engine.wire import dumps, loads

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
