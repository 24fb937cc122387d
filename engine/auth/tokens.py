"""OAuth tokens, and how they are kept: as the JSON file that command-line programs of chat services
share (`oauth_creds.json`: access_token, refresh_token, expiry_date in milliseconds, and parts such
as apiKey in camel case).

A file of another program may lack what we write, and hold what we do not know: that is kept.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite

OWN = (
    "access_token", "refresh_token", "expiry_date", "obtained_at", "token_type", "scope",
    "parts_expiry_date", "exchange_pending",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an identity service gave. Times are epoch seconds; None: unknown, or for ever.

    parts     fields of its answers that the route asked for, and of the exchange
    pending   the exchange has yet to be done with this access token
    rest      fields of the kept form that are not ours
    """

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    until: float | None = None
    obtained: float | None = None
    kind: str = "Bearer"
    scope: str = ""
    parts: Mapping[str, str] = field(default_factory=dict, repr=False)
    parts_until: float | None = None
    pending: bool = False
    rest: Mapping[str, object] = field(default_factory=dict, repr=False)

    def due(self, lead: float) -> float | None:
        """When they are to be renewed: `lead` before the end, but not in the first half of life."""
        if self.until is None:
            return None
        if self.obtained is not None:
            lead = min(lead, (self.until - self.obtained) / 2)
        return self.until - lead

    def valid(self, now: float) -> bool:
        return bool(self.access) and (self.until is None or now < self.until)

    def ends(self) -> float | None:
        """When the first of token and parts ends."""
        ends = [end for end in (self.until, self.parts_until) if end is not None]
        return min(ends, default=None)


def kept(tokens: Tokens) -> dict[str, object]:
    """The form in which they are kept."""
    found: dict[str, object] = {
        **tokens.rest,
        "access_token": tokens.access,
        "refresh_token": tokens.refresh,
        "token_type": tokens.kind,
        "scope": tokens.scope,
    }
    times = {
        "expiry_date": tokens.until,
        "obtained_at": tokens.obtained,
        "parts_expiry_date": tokens.parts_until,
    }
    found |= {name: round(at * 1000) for name, at in times.items() if at is not None}
    found |= {camel(name): text for name, text in tokens.parts.items()}
    return found | ({"exchange_pending": True} if tokens.pending else {})


def read_kept(found: object, names: Collection[str]) -> Tokens | None:
    """Tokens out of the kept form; names are of the parts. None if there are none."""
    if not isinstance(found, dict):
        return None
    access, refresh = (_text(found.get(name)) for name in ("access_token", "refresh_token"))
    if not access and not refresh:
        return None
    parts = {name: _text(found.get(camel(name)) or found.get(name)) for name in names}
    ours = {*OWN, *names, *map(camel, names)}
    return Tokens(
        access,
        refresh,
        moment(found.get("expiry_date")),
        moment(found.get("obtained_at")),
        _text(found.get("token_type")) or "Bearer",
        _text(found.get("scope")),
        {name: text for name, text in parts.items() if text},
        moment(found.get("parts_expiry_date")),
        found.get("exchange_pending") is True,
        {name: value for name, value in found.items() if name not in ours},
    )


def camel(name: str) -> str:
    """`api_key` as such files write it: `apiKey`."""
    return re.sub(r"_([a-z0-9])", lambda hit: hit[1].upper(), name)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


MILLISECONDS = 1e11  # numbers from here on are milliseconds: the year 5138 in seconds


def moment(value: object) -> float | None:
    """Epoch seconds of a time as it is found: seconds, milliseconds, ISO, `YYYY-MM-DD HH:MM`.

    A time without a zone is UTC.
    """
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type] # TypeError is caught
    except (TypeError, ValueError, OverflowError):
        return _written(value)
    if not isfinite(number) or number <= 0:
        return None
    return number / 1000 if number >= MILLISECONDS else number


def _written(value: object) -> float | None:
    try:
        found = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
