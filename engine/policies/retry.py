"""retry: try again after failures that may pass, with back-off; renew what has gone stale once.

What is an account's fault is tried at once with the next account, as long as attempts are left.
Nothing is tried again once content has reached the client. A renewal (a fetched value of the
failure's class is dropped and fetched anew) happens once per class and does not count as an
attempt. A wait that the upstream asked for is kept if it fits into the time left.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from engine.errors import OUTCOMES

from . import Attempt, Decision, Deliver, Fail, Retry


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds: initial, times factor from attempt to attempt, at most `longest`."""

    initial: float
    factor: float
    longest: float
    jitter: bool

    def wait(self, number: int, random: Random) -> float:
        try:
            wait = min(self.longest, self.initial * self.factor ** (number - 1))
        except OverflowError:
            wait = self.longest
        return random.uniform(0, wait) if self.jitter else wait


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """attempts in all; classes that are tried again; classes that some value is renewed for.

    patience   seconds that an upstream may ask to wait; beyond them it is given up
    """

    attempts: int
    classes: frozenset[str] | None
    renewable: frozenset[str]
    backoff: Backoff
    patience: float = float("inf")

    def __call__(self, attempt: Attempt) -> Decision:
        error = attempt.error
        if error is None:
            return Deliver()
        if attempt.committed:
            return Fail()
        if error.cls in self.renewable and error.cls not in attempt.renewed:
            return Retry(renew=error.cls)
        if attempt.number >= self.attempts:
            return Fail()
        if attempt.others and OUTCOMES[error.cls].fault == "account":
            return Retry(rotate=True)
        if not self._again(error.cls):
            return Fail()
        wait = self.backoff.wait(attempt.number, attempt.random)
        if error.retry_after is not None:
            wait = max(wait, error.retry_after)
        if wait > self.patience:
            return Fail()
        if wait >= attempt.left:
            return Fail()
        stormy = OUTCOMES[error.cls].fault == "upstream" and not attempt.calm()
        return Fail() if stormy else Retry(wait, rotate=attempt.others)

    def _again(self, cls: str) -> bool:
        return cls in self.classes if self.classes is not None else OUTCOMES[cls].retry
