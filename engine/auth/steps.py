"""What a conversation with an identity service asks of whoever drives it, beside requests.

A flow yields these and HttpRequests, is sent the answers and returns tokens. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from engine.options import Env
from engine.wire import HttpRequest

from .oauth import OAuth2
from .tokens import Tokens


@dataclass(frozen=True, slots=True)
class Recall:
    """Wants what is kept of this account: the kept form, or None."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Wants these kept, safely, before anything else happens: one of them may be single-use."""

    tokens: Tokens = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wants to go on in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Show:
    """Wants a person to open this page and type this code (which `whole` already holds)."""

    page: str
    code: str
    whole: str = ""


Step = HttpRequest | Recall | Keep | Pause | Show
Flow = Generator[Step, Any, Tokens]


@dataclass(frozen=True, slots=True)
class Client:
    """A client of an identity service, for one account.

    exchange   makes the request of `exchange` out of variables, None if there is none
    log_in     what a person has to do when there are no tokens
    """

    options: OAuth2
    account: str
    exchange: Callable[[Env], HttpRequest] | None = None
    log_in: str = "nobody has logged in"

    def env(self, env: Env, **more: object) -> dict[str, object]:
        """The variables of its templates."""
        scope = " ".join(self.options.scope)
        return {**env, "oauth": {"account": self.account, "scope": scope, **more}}
