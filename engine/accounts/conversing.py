"""Drives a flow: sends the requests it yields, keeps and recalls its tokens, hands it the answers.

What goes wrong with a request is raised inside the flow, which may know a way to go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from engine.auth.steps import Keep, Pause, Recall, Show
from engine.auth.tokens import kept
from engine.errors import ExchangeError
from engine.options import Secret
from engine.ports import Line, Ports
from engine.route.asking import Question
from engine.wire import HttpRequest, HttpResponse

SECRET = ("access_token", "refresh_token")


async def no_answer(question: Question, **more: object) -> str:
    """Where there are no other routes."""
    raise ExchangeError("unavailable", f"value `{question.name}`: no model can be asked here")


@dataclass(slots=True)
class Driver:
    """What a conversation has at hand.

    limit   seconds for a request that says nothing of its own
    place   where its tokens are kept, "" if it has none
    told    is given what must never be shown
    show    shows a person a page and a code
    recalled   the tokens as they were found last
    answer  puts a question to a model
    name    what is fetched, for messages
    """

    ports: Ports
    line: Line
    limit: float
    largest: int
    place: str = ""
    told: Callable[[list[Secret]], None] = lambda secrets: None
    show: Callable[[Show], None] = lambda shown: None
    recalled: Mapping[str, object] | None = None
    answer: Callable[[Question], Awaitable[str]] = no_answer
    name: str = "a login"

    async def run(self, flow: Generator[Any, Any, Any]) -> Any:
        """What the flow returns. Raises what it raises: ExchangeError, RenderError."""
        async with AsyncExitStack() as stack:
            if self.place:
                await stack.enter_async_context(self.ports.tokens.alone(self.place))
            return await self._run(flow)

    async def _run(self, flow: Generator[Any, Any, Any]) -> Any:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step)
                except ExchangeError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as stop:
            return stop.value

    async def _do(self, step: Any) -> Any:
        match step:
            case Recall():
                return await self._recall()
            case Keep():
                tokens = kept(step.tokens)
                self._tell(tokens)
                await self.ports.tokens.save(self.place, tokens)
            case Pause():
                await self.ports.clock.sleep(step.seconds)
            case Show():
                self.show(step)
            case Question():
                return await self.answer(step)
            case _:
                return await self._fetch(step)
        return None

    async def _recall(self) -> Mapping[str, object] | None:
        found = await self.ports.tokens.load(self.place)
        if found is not None:
            self._tell(found)
        self.recalled = found
        return found

    def _tell(self, tokens: Mapping[str, object]) -> None:
        texts = ((name, tokens.get(name)) for name in SECRET)
        self.told([Secret(text, name) for name, text in texts if isinstance(text, str) and text])

    async def _fetch(self, request: HttpRequest) -> HttpResponse:
        limit = request.timeout or self.limit
        try:
            async with self.ports.clock.deadline(limit):
                return await self.ports.upstream.fetch(request, self.line, self.largest)
        except TimeoutError:
            message = f"{self.name}: no answer within {limit:g} s"
            raise ExchangeError("timeout", message) from None
