"""tools: calls of the engine's own tools are run, and the answer goes on with their results.

Where the client's tools were called in the same answer, the client gets its calls; the engine's are
run beside, for its next request. Nothing is run when the answer was cut off, for then the last call
may be, too. An answer that still calls after `most` rounds has failed.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.events import ErrorEvent

from . import Attempt, Beside, Call, Decision, Deliver, Fail


@dataclass(frozen=True, slots=True)
class ToolsPolicy:
    """most: how often calls are run for one request."""

    most: int

    def __call__(self, attempt: Attempt) -> Decision:
        called, finish = attempt.called, attempt.finish
        if called is None or finish is None or finish.reason != "tool_calls":
            return Deliver()
        if not called.own:
            return Deliver()
        if called.others:
            return Beside(called.own) if called.rounds < self.most else Deliver()
        if called.rounds >= self.most:
            message = f"the model still calls tools after {self.most} rounds of them"
            return Fail(ErrorEvent("fatal", message))
        return Call(called.own)
