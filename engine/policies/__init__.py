"""Policies look at a finished attempt and answer what to do next. They never sleep, never call.

    Deliver                     the answer is good: finish
    Retry(after, renew, rotate) try again after so many seconds; renew the values of class `renew`;
                                rotate: with another account
    Continue(turns)             go on with the same answer: ask again, these turns added
    Call(calls)                 run these calls of the engine's own tools, then ask again
    Beside(calls)               finish, but run these calls first: the client makes others
    Fail(error)                 tell the client

The exchange asks the policies in order; the first answer that is not Deliver wins and the
exchange executes it. A policy is a callable `(Attempt) -> Decision`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from engine.chat import Message, ToolCall
from engine.events import ErrorEvent, Finish


@dataclass(frozen=True, slots=True)
class Deliver:
    pass


@dataclass(frozen=True, slots=True)
class Retry:
    after: float = 0.0
    renew: str | None = None
    rotate: bool = False


@dataclass(frozen=True, slots=True)
class Continue:
    turns: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """The engine runs these calls of its own tools; their results go into a further attempt."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """The answer is good, and the client goes on with its own calls. These the engine runs first;
    their results wait for the client's next request."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """error: why, where the attempt itself did not fail."""

    error: ErrorEvent | None = None


Decision = Deliver | Retry | Continue | Call | Beside | Fail


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer that may go on has said so far.

    text    all of it; fresh: what the last attempt added; before: what the one before it added
    parts   attempts it is made of
    calls   a tool was called
    room    tokens that the client's own limit leaves, None where it set none
    """

    text: str
    fresh: str
    before: str = ""
    parts: int = 1
    calls: bool = False
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """The calls of an attempt, where the engine offered tools of its own.

    own     calls that the engine can run
    others  the client's tools were called, too
    rounds  how often calls have been run for this request
    """

    own: tuple[ToolCall, ...] = ()
    others: bool = False
    rounds: int = 0


@dataclass(slots=True)
class Attempt:
    """What a policy may know of an attempt.

    number      counts from 1, renewals not counted
    error       how it failed, None when it did not
    committed   something of it has reached the client
    renewed     outcome classes whose values were already renewed for this request
    left        seconds left of the request's total time
    random      where jitter comes from
    others      an account that this request has not tried is free
    finish      why the answer ended, None when it failed
    calm        whether the upstream may be asked again though it failed: no storm
    said        what it said, where a route may go on with an answer
    called      what it called, where the engine offered tools
    """

    number: int
    error: ErrorEvent | None
    committed: bool
    renewed: frozenset[str]
    left: float
    random: Random
    others: bool = False
    finish: Finish | None = None
    said: Said | None = None
    calm: Callable[[], bool] = lambda: True
    called: Called | None = None


Policy = Callable[[Attempt], Decision]


def decide(policies: tuple[Policy, ...], attempt: Attempt) -> Decision:
    """The first answer that is not Deliver."""
    for policy in policies:
        decision = policy(attempt)
        if not isinstance(decision, Deliver):
            return decision
    return Deliver()
