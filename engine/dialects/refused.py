"""Why an answer was refused, as far as its provider says it in words beside the answer.

    anthropic_messages  stop_details: {type: refusal, category, explanation}
    gemini              finishMessage

Both stand in `Finish.details`. Clients of other APIs are told as a model's own refusal is.
"""

from __future__ import annotations

from engine.chat import Part, Refusal
from engine.events import Finish, Reply

EXPLANATION, MESSAGE = "explanation", "finishMessage"


def why(finish: Finish) -> str:
    """The words; "" if there are none, or the answer was not refused."""
    if finish.reason != "content_filter" or not isinstance(finish.details, dict):
        return ""
    found = finish.details.get(EXPLANATION) or finish.details.get(MESSAGE)
    return found if isinstance(found, str) else ""


def parts_of(reply: Reply) -> list[Part]:
    """The parts of an answer, with the reason that was given for its refusal."""
    words = why(Finish(reply.finish, details=reply.details))
    return [*reply.parts, Refusal(words)] if words else reply.parts
