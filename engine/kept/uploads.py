"""Values that have one for each picture or file of a request: uploads, and the ids they give.

What was uploaded is known by its bytes, in the value's scope: a conversation that is sent again
does not upload again what it holds. Who leaves takes an upload along that nobody else waits for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from engine.chat import media_parts
from engine.errors import ExchangeError, RequestError
from engine.options import OMIT
from engine.route.pieces import Piece, piece_of
from engine.route.values import Found
from engine.route.view import Asked
from engine.together import together

from .wishes import Wish


class Listed(list[object]):
    """What templates see: an item for each piece. parts: what was had, by the pieces' digests."""

    def __init__(self, parts: Mapping[str, object], items: list[object]) -> None:
        super().__init__(items)
        self.parts = parts


class UploadError(ExchangeError):
    """An upload failed. used: the values that were there for it."""

    def __init__(self, error: ExchangeError, used: Mapping[str, object]) -> None:
        super().__init__(
            error.cls,
            error.message,
            status=error.status,
            code=error.code,
            retry_after=error.retry_after,
        )
        self.used = used


def pieces_of(asked: Asked, kinds: frozenset[str]) -> dict[str, Piece]:
    """What there is to upload, each once. Raises RequestError for what cannot be."""
    parts = (part for part in media_parts(asked.chat.messages) if part.kind in kinds)
    return {piece.digest: piece for piece in map(piece_of, parts)}


async def each_part(wish: Wish, have: Callable[[Wish], Awaitable[Found]]) -> Listed:
    """The value of each piece. Raises UploadError, RenderError."""
    asked, plan, used = wish.env["_asked"], wish.plan, wish.env["values"]
    assert isinstance(asked, Asked)
    assert isinstance(used, dict)
    try:
        pieces = pieces_of(asked, plan.each)
    except RequestError as error:
        refused = ExchangeError("invalid_request", error.message, code="unsupported_parameter")
        raise UploadError(refused, dict(used)) from None
    envs = {key: {**wish.env, "media": piece.view} for key, piece in pieces.items()}
    jobs = [partial(have, replace(wish, env=env, part=key)) for key, env in envs.items()]
    try:
        found = await together(jobs, plan.parallel)
    except ExchangeError as error:
        raise UploadError(error, dict(used)) from error
    parts = {key: plan.masked(each.content) for key, each in zip(pieces, found, strict=True)}
    return Listed(parts, items_of(wish, envs, parts))


def items_of(
    wish: Wish, envs: Mapping[str, dict[str, object]], parts: Mapping[str, object]
) -> list[object]:
    """What the list holds for each: what was found, or what the route makes of it."""
    item = wish.plan.item
    if item is None:
        return list(parts.values())
    made = (item.render({**envs[key], "found": found}) for key, found in parts.items())
    return [each for each in made if each is not OMIT]
