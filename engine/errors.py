"""What can go wrong, whose fault it is, and what the engine may do about it.

    PenstockError
    ├── ConfigError          a file is wrong; carries every Problem found in it
    ├── RequestError         the client's request cannot be served (raised before any attempt)
    └── ExchangeError        an attempt failed; carries an outcome class
        └── Refuse           a transform will not send this conversation (class invalid_request)

Every failed attempt has exactly one *outcome class* of the closed set `OUTCOMES`. What a client
sees for a class is the business of its dialect (`engine/dialects/outcomes.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fault = Literal["client", "upstream", "account", "operator"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome class: whose fault it is and what happens to the attempt by default.

    retry   the attempt is repeated before commit when retries are left and no `retry.for` names
            another set
    renew   the values that list the class in `refresh_for` are fetched anew, once, before that
    """

    fault: Fault
    doc: str
    retry: bool = False
    renew: bool = False


OUTCOMES: dict[str, Outcome] = {
    "auth_expired": Outcome(
        "account", "the secret has expired: renew it once, same account", renew=True
    ),
    "auth_invalid": Outcome(
        "account", "the credential is refused: park the account, take the next"
    ),
    "quota_exhausted": Outcome("account", "the account has no quota left"),
    "rate_limited": Outcome("account", "too many requests for now", retry=True),
    "stale": Outcome("upstream", "a fetched value (nonce, ticket) is no longer good", renew=True),
    "session_lost": Outcome("upstream", "the upstream forgot the conversation", renew=True),
    "overloaded": Outcome("upstream", "the upstream is busy", retry=True),
    "retryable": Outcome("upstream", "the upstream failed in a way that may pass", retry=True),
    "truncated": Outcome(
        "upstream", "the answer ended without saying that it was whole", retry=True
    ),
    "empty_response": Outcome("upstream", "the answer has no content", retry=True),
    "context_length": Outcome("client", "the conversation is too long for the model"),
    "reasoning_missing": Outcome("client", "the upstream wants earlier thinking sent back"),
    "content_filter": Outcome("client", "the upstream's policy refuses the content"),
    "invalid_request": Outcome("client", "the upstream (or a transform) refuses the request"),
    "model_not_found": Outcome("client", "the upstream does not know the model"),
    "challenge": Outcome("upstream", "a bot wall answered instead of the service"),
    "timeout": Outcome("upstream", "a timer of the route ran out", retry=True),
    "connect": Outcome("upstream", "no connection to the upstream", retry=True),
    "unavailable": Outcome("upstream", "no value or account to call the upstream with", retry=True),
    "fatal": Outcome("operator", "the route or a transform failed: the log says where"),
}


class PenstockError(Exception):
    """Root of everything the engine raises on purpose. Anything else is a bug."""


class RequestError(PenstockError):
    """The client's own request cannot be served; nothing was sent upstream.

    kind is a key of `dialects/outcomes.py` CLIENT_KINDS: bad_request, auth, not_found,
    model_not_found, too_large, unsupported, method, unavailable.

    about  the part, message or tool of the request that cannot be said, where it is one: what is
           left of the request may be said without it
    told   log and metrics have it already, as the end of a request to a route
    """

    told = False

    def __init__(
        self, kind: str, message: str, *, param: str | None = None, about: object = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.about = about


class ExchangeError(PenstockError):
    """An attempt failed with an outcome class of `OUTCOMES`.

    message     what the client may read; never a secret, never a stack
    status      HTTP status of the upstream's answer, 0 if there was none
    code        the upstream's own error code, "" if unknown
    retry_after seconds the upstream asked to wait, or None
    said        what the upstream said, for the log alone
    """

    def __init__(
        self,
        cls: str,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.said = said
        self.cls = cls
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Refuse(ExchangeError):
    """Raised by a transform's `shape`: this conversation is not sent."""

    def __init__(self, message: str, *, cls: str = "invalid_request") -> None:
        super().__init__(cls, message)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a file.

    line and column count from 1; 0 means the file as a whole. `excerpt` is the source line that
    the caret points into, `length` how many characters it underlines.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    severity: Literal["error", "warning"] = "error"
    excerpt: str = ""
    length: int = 1

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        head = f"{where}: {self.severity} {self.code}: {self.message}"
        if not self.excerpt:
            return head
        margin = f"{self.line:>6} | "
        caret = " " * (len(margin) - 2) + "| " + " " * (self.column - 1) + "^" * max(1, self.length)
        return f"{head}\n{margin}{self.excerpt}\n{caret}"


class ConfigError(PenstockError):
    """A configuration file is wrong. `problems` holds everything found, errors and warnings."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems))
        self.problems = problems
