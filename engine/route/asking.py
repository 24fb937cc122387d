"""`values.<n>.ask`: a value that a model answers, of this route or of another one.

The flow yields one Question and is sent the text of the answer. Who puts the question to a route
is no business of this floor: engine/exchange/asides.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from engine.chat import ChatRequest, Message, Text
from engine.dialects import DIALECTS
from engine.errors import ExchangeError, RequestError
from engine.options import OMIT, Env
from engine.wire import Headers, dumps

from .render import text
from .spec import AskSpec
from .values import Found

FORM = "openai_chat"  # the dialect in whose form `messages` are written


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which model.

    keep      seconds that the answer holds for the same question; 0: it is asked each time
    patience  seconds to wait for the answer
    source    tells it from all other questions
    """

    name: str
    chat: ChatRequest = field(repr=False)
    keep: float
    patience: float
    source: bytes = field(repr=False)


def asking(name: str, spec: AskSpec) -> Callable[[Env], Generator[Question, str, Found]]:
    """The flow of a value that is asked for. An answer without text is no value."""

    def flow(env: Env) -> Generator[Question, str, Found]:
        answer = yield _question(name, spec, env)
        if not answer.strip():
            raise ExchangeError("unavailable", f"value `{name}`: the model said nothing")
        return Found(answer.strip())

    return flow


def _question(name: str, spec: AskSpec, env: Env) -> Question:
    said = spec.messages.render(env)
    messages: Any = [{"role": "user", "content": said}] if isinstance(said, str) else said
    source = {"model": spec.model, "messages": messages, "max_tokens": spec.max_tokens}
    body = dumps({key: value for key, value in source.items() if value is not None})
    try:
        chat = DIALECTS[FORM].parse(body, Headers())
    except RequestError as error:
        raise ExchangeError("fatal", f"value `{name}`: `ask.messages`: {error.message}") from None
    system = OMIT if spec.system is None else spec.system.render(env)
    if system is not OMIT:
        first = Message("system", [Text(text(system))])
        chat = replace(chat, messages=[first, *chat.messages])
        body += text(system).encode()
    keep = 0.0 if spec.keep is None else float(spec.keep)
    return Question(name, chat, keep, float(spec.timeout), body)
