"""What an identity service answered: tokens, or how it failed (RFC 6749, sections 5.1 and 5.2).

Two kinds of failure matter. Class `auth_invalid` is dead: somebody has to log in again. Everything
else may pass, and what is still valid goes on being used. No message repeats a body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from engine.errors import ExchangeError
from engine.options import Path
from engine.wire import HttpResponse, JsonError, loads

from .oauth import TIMES_AND_TOKENS, OAuth2
from .tokens import Tokens, moment

_DEAD = ("invalid_grant", "invalid_client", "unauthorized_client", "access_denied")
_CODE = re.compile(r"[a-z_]{3,40}")


def body_of(response: HttpResponse) -> dict[str, object]:
    """The answer's fields: JSON, or a form as some services write it. Else {}."""
    kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(response.body.decode("utf-8", "replace")))
    try:
        found = loads(response.body)
    except JsonError:
        return {}
    return found if isinstance(found, dict) else {}


def error_code(response: HttpResponse) -> str:
    """The standard's `error`, or ""."""
    found = body_of(response).get("error")
    return found if isinstance(found, str) and _CODE.fullmatch(found) else ""


def failure(response: HttpResponse, options: OAuth2, what: str) -> ExchangeError | None:
    """How an answer failed, by the route's rules first; None if it did not."""
    body, status = body_of(response), response.status
    for rule in options.errors:
        if rule.status and status not in rule.status:
            continue
        if rule.match is None or rule.match.test(body):
            return _failed(rule.as_, what, response)
    code = error_code(response)
    if status < 400 and not code:
        return None
    if code in _DEAD:
        return _failed("auth_invalid", what, response)
    return _failed("rate_limited" if status == 429 else "unavailable", what, response)


def _failed(cls: str, what: str, response: HttpResponse) -> ExchangeError:
    code = error_code(response)
    told = f"{what} was refused: status {response.status}" + (f", {code}" if code else "")
    after = response.header("retry-after") or ""
    wait = float(after) if re.fullmatch(r"\d{1,6}", after) else None
    return ExchangeError(cls, told, status=response.status, retry_after=wait)


def read_tokens(
    response: HttpResponse, options: OAuth2, now: float, before: Tokens | None = None
) -> Tokens:
    """Tokens of a good answer, what it leaves out as it was before. Raises ExchangeError."""
    found = failure(response, options, "the token request")
    if found is not None:
        raise found
    body = body_of(response)
    access = _text(_at(body, options.take, "access_token"))
    if not access:
        raise ExchangeError("unavailable", "the token answer holds no access token")
    refresh = _text(_at(body, options.take, "refresh_token")) or (before.refresh if before else "")
    until = _until(body, options.take, now)
    if until is None and refresh:
        until = now + float(options.lifetime)
    scope = _text(_at(body, options.take, "scope")) or (before.scope if before else "")
    return Tokens(
        access,
        refresh,
        until,
        now,
        _text(_at(body, options.take, "token_type")) or "Bearer",
        scope or " ".join(options.scope),
        {**(before.parts if before else {}), **_parts(body, options.take)},
        before.parts_until if before else None,
        options.exchange is not None,
        before.rest if before else {},
    )


def read_exchange(
    response: HttpResponse, options: OAuth2, now: float
) -> tuple[dict[str, str], float | None]:
    """The parts that the exchange gave, and until when. Raises ExchangeError."""
    assert options.exchange is not None
    found = failure(response, options, "the exchange of the token")
    if found is not None:
        raise found
    body, take = body_of(response), options.exchange.take
    parts = _parts(body, take)
    lacks = [name for name in take if name not in TIMES_AND_TOKENS and name not in parts]
    if lacks:
        message = f"the exchange of the token gave nothing for `{lacks[0]}`"
        raise ExchangeError("unavailable", message)
    return parts, _until(body, take, now)


def _parts(body: object, take: Mapping[str, Path]) -> dict[str, str]:
    found = {name: _text(path.first(body)) for name, path in take.items()}
    return {name: text for name, text in found.items() if text and name not in TIMES_AND_TOKENS}


def _at(body: dict[str, object], take: Mapping[str, Path], name: str) -> object:
    return take[name].first(body) if name in take else body.get(name)


def _until(body: dict[str, object], take: Mapping[str, Path], now: float) -> float | None:
    at = moment(_at(body, take, "expires_at"))
    lasts = _at(body, take, "expires_in")
    if at is not None or isinstance(lasts, bool):
        return at
    try:
        seconds = float(lasts)  # type: ignore[arg-type] # TypeError is caught
    except (TypeError, ValueError, OverflowError):
        return None
    return now + seconds if 0 < seconds < 1e10 else None


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)
