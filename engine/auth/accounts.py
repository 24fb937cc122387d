"""Accounts: who holds credentials, and how a source says that parts of them are fetched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from engine.options import Env, Secret

_PASSWORD = re.compile(r"://[^/@:]*:([^/@]+)@")


@dataclass(frozen=True, slots=True)
class Account:
    """One holder of credentials.

    id       its name in logs and admin answers, nothing secret
    parts    what templates read as `account.<name>`
    digest   stays the same as long as its credentials do: tokens, cookies, connections and health
             are kept under it
    fetched  the value whose parts join its own before each call, "" if there is none
    weight   its share with `pick: weighted`
    known    names of parts that are shown (the field that `id` names)
    """

    id: str
    parts: Mapping[str, Secret] = field(repr=False)
    digest: str
    fetched: str = ""
    weight: int = 1
    known: frozenset[str] = frozenset()

    @property
    def secrets(self) -> list[Secret]:
        """What of it must be known to the redactor; of a URL also the password, as it is sent."""
        hidden = [part for name, part in self.parts.items() if name not in self.known]
        hits = [(part.name, _PASSWORD.search(part.reveal())) for part in hidden]
        return hidden + [Secret(unquote(hit[1]), name) for name, hit in hits if hit]


NOBODY = Account("", {}, "")


def account(id: str, parts: Mapping[str, Secret], **more: Any) -> Account:
    """An account whose digest is made of its parts (or given, where parts change by themselves)."""
    text = "\0".join(f"{name}\0{part.reveal()}" for name, part in sorted(parts.items()))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Account(id, parts, more.pop("digest", digest), **more)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a conversation with an identity service gave an account: its parts, good for so long.

    renew_in: seconds until they are to be fetched anew; None: as `refresh_before` says
    """

    parts: dict[str, str] = field(repr=False)
    expires_in: float | None = None
    renew_in: float | None = None


@dataclass(frozen=True, slots=True)
class Fetching:
    """How a source gets the parts of its accounts: a value of scope account without a name.

    flow            as in `values`: yields requests, is sent the answers. Its variables are
                    `account`, `vars`, `_ref`, `_now`, `_random`, `_kept`: what the last flow gave
                    (perhaps expired, perhaps from the store), or None; and `_refused`: what an
                    upstream has refused since, or None. It may also yield `engine.auth.steps`
    outputs         names of the parts it gives
    refresh_before  seconds before its end at which it is fetched anew
    refresh_for     outcome classes that fetch it anew
    persist         kept in the store over restarts
    fingerprint     tells what defines it
    place           where the flow's tokens are kept (`engine/ports.py`), "" if it has none
    """

    flow: Callable[[Env], Generator[Any, Any, Granted]]
    outputs: tuple[str, ...]
    fingerprint: str
    refresh_before: float = 0.0
    refresh_for: frozenset[str] = frozenset({"auth_expired"})
    persist: bool = True
    place: str = ""
