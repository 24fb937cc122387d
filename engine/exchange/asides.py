"""Questions on the side: a value of a request that a model answers, by a request of its own.

It is put to its route like a client's, with that route's accounts, transforms, retries and rules,
on behalf of the same client. A question never leads to further ones. Where it came from sees its
answer once, however many attempts the request takes; its failure is `unavailable` there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from engine.accounts.keyring import Keyring
from engine.chat import Message
from engine.dialects import DIALECTS
from engine.errors import ExchangeError
from engine.events import Event, Finish, Folder, Usage
from engine.kept.sessions import Sessions
from engine.ports import Ports, StoreError
from engine.route.asking import FORM, Question
from engine.route.book import RouteBook
from engine.route.view import Asked
from engine.wire import Headers

from .attempt import Call
from .loop import Exchange


class Gathered:
    """The Sink of a question: the whole answer, or `error`. It commits nothing."""

    committed = False

    def __init__(self) -> None:
        self.folder = Folder()
        self.refused = False
        self.error: ExchangeError | None = None

    def tell(self, headers: dict[str, str]) -> None:
        """Nobody is told."""

    def send(self, events: list[Event]) -> bool:
        self.folder.feed(events)
        return False

    async def drained(self) -> None:
        """Nobody is kept waiting."""

    def restart(self) -> None:
        self.folder = Folder()

    def forward(self, data: bytes, content: bool) -> bool:
        raise AssertionError("a question has no bytes to pass on")

    async def whole(self, body: bytes) -> None:
        raise AssertionError("a question has no bytes to pass on")

    async def finish(self, finish: Finish, usage: Usage | None) -> None:
        self.refused = finish.reason == "content_filter"

    async def end(self) -> None:
        raise AssertionError("a question has no bytes to pass on")

    async def fail(self, error: ExchangeError, frames: bytes = b"") -> None:
        self.error = error


@dataclass(frozen=True, slots=True)
class Asides:
    """Puts questions to the routes of the book: what `Keyring.answer` is set to."""

    book: Callable[[], RouteBook]
    ports: Ports
    keyring: Keyring
    sessions: Sessions

    async def answer(self, question: Question, env: Mapping[str, object]) -> str:
        """The text of the answer. Raises ExchangeError where there is none."""
        key = f"asides/{env['_route']}/{hashlib.sha256(question.source).hexdigest()}"
        kept = await self._kept(key) if question.keep else None
        if kept is not None:
            return kept
        try:
            async with self.ports.clock.deadline(question.patience):
                text = await self._asked(question, env)
        except TimeoutError:
            message = f"`{question.name}`: no answer within {question.patience:g} s"
            raise ExchangeError("timeout", message) from None
        if question.keep and text.strip():
            with suppress(StoreError):  # the store tells it; the answer is good without
                await self.ports.store.put(key, text.encode(), question.keep)
        return text

    async def _kept(self, key: str) -> str | None:
        try:
            found = await self.ports.store.get(key)
        except StoreError:
            return None
        return None if found is None else found.decode()

    async def _asked(self, question: Question, env: Mapping[str, object]) -> str:
        found = self.book().find(question.chat.model)
        if found is None:
            raise ExchangeError("fatal", f"value `{question.name}`: no route offers its model")
        (route, offer), chat = found, question.chat
        asker = env.get("_asker")
        assert isinstance(asker, Call)
        ident = f"req_{self.ports.random.getrandbits(96):024x}"
        # Limits of the client hold for its questions apart: they wait while it holds a place.
        client = f"{asker.asked.client}/aside"
        call = Call(
            asked=Asked(ident, lambda: chat, False, Headers(), client),
            offer=offer,
            dialect=DIALECTS[FORM],
            wants_stream=False,
            client_key=asker.client_key,
            aside=True,
        )
        sink = Gathered()
        exchange = Exchange(route, call, self.ports, self.keyring, self.sessions, sink)
        report = await exchange.run(lambda: [Message("assistant", sink.folder.done().parts)])
        self.ports.observer.saw(
            "aside",
            route=route.name,
            model=offer.model.id,
            value=question.name,
            of=env["_route"],
            outcome=report.error.cls if report.error else "ok",
            attempts=report.attempts,
            usage=report.outcome.usage,
        )
        failed = sink.error
        if failed is not None:
            cls = "fatal" if failed.cls == "fatal" else "unavailable"
            message = f"value `{question.name}`: {failed.cls}: {failed.message}"
            raise ExchangeError(cls, message, status=failed.status, retry_after=failed.retry_after)
        return "" if sink.refused else sink.folder.done().text
