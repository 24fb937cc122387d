"""continuation: an answer that was cut off for its length goes on in a further attempt.

The upstream gets the conversation with all that was said so far as the assistant's turn: to be
continued as it stands (prefill), or with a request to go on behind it. It ends when an answer ends
otherwise, when nothing new comes, when the client's own limit is reached, or after `most` times.
A call of a tool is never continued.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.chat import Message, Text

from . import Attempt, Continue, Decision, Deliver


@dataclass(frozen=True, slots=True)
class ContinuationPolicy:
    """finishes: the reasons to go on for; prompt: what asks for more, None to prefill."""

    finishes: frozenset[str]
    most: int
    prompt: str | None

    def __call__(self, attempt: Attempt) -> Decision:
        said, finish = attempt.said, attempt.finish
        if finish is None or finish.reason not in self.finishes or said is None:
            return Deliver()
        spent = said.parts > self.most or (said.room is not None and said.room <= 0)
        if spent or said.calls or not said.fresh.strip() or said.fresh == said.before:
            return Deliver()
        turns = [Message("assistant", [Text(said.text)])]
        if self.prompt is not None:
            turns.append(Message("user", [Text(self.prompt)]))
        return Continue(tuple(turns))
