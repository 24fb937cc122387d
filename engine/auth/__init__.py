"""How accounts are had: `SOURCES` has a function for each key of `auth.from`.

    (options, reach) -> accounts       see `engine/auth/sources.py`

A source whose credentials change by themselves (OAuth) gives accounts with `fetched` set: the
name of a value, made with `reach.fetching`, whose parts join `account.*` before each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from .accounts import Account
from .sources import (
    Accounts,
    Reach,
    Source,
    from_client,
    from_env,
    from_file,
    from_inline,
    from_oauth2,
    from_value,
    oauth2_accounts,
)


def _first_of(spec: Accounts, reach: Reach) -> list[Account]:
    for at, each in enumerate(spec.first_of or []):
        found = accounts_of(each, reach.inside("first_of", at))
        if found:
            return found
    for at, each in enumerate(spec.first_of or []):
        if each.oauth2 is not None:  # there is nothing else: somebody has to log in
            return oauth2_accounts(each.oauth2, reach.inside("first_of", at))
    return []


SOURCES: dict[str, Source] = {
    "env": from_env,
    "file": from_file,
    "inline": from_inline,
    "client_key": from_client,
    "value": from_value,
    "oauth2": from_oauth2,
    "first_of": _first_of,
}


def kind_of(spec: Accounts) -> str:
    """The key that chooses the source."""
    return next(key for key in Accounts.ONE_OF if getattr(spec, key) is not None)


def accounts_of(spec: Accounts, reach: Reach) -> list[Account]:
    """The accounts of one source."""
    return SOURCES[kind_of(spec)](spec, reach)


def union(found: Sequence[Account]) -> tuple[Account, ...]:
    """Each account once, in order."""
    firsts: dict[str, Account] = {}
    for each in found:
        firsts.setdefault(each.digest, each)
    return tuple(firsts.values())
