"""A job: the request of an attempt makes it, and it is asked for until its answer is there.

It is one attempt, however often it is asked for: a question that fails in a way that may pass is
put again, because a job that was made is not to be made twice. Whoever gives a job up tells the
upstream so, if the route says how.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf

from engine.accounts.keyring import Keyring, parts_of
from engine.auth.accounts import Account
from engine.errors import OUTCOMES, ExchangeError
from engine.lines import proxy_of
from engine.ports import Answer, Line, Ports, Watch
from engine.route.classify import Answer as Seen
from engine.route.polling import Follow, PollPlan
from engine.route.route import Route
from engine.route.stages import Working
from engine.route.taking import Takes, taken
from engine.route.view import Asked
from engine.route.waits import header_wait
from engine.wire import HttpRequest, HttpResponse

from .reading import ERROR_BODY, Begun, words_of

CLEANUP = "request.poll"  # how the log and the metrics name what is told of a job that is given up

Look = Callable[[Answer], Awaitable[Answer | None]]  # the answer to be read; None: ask again


@dataclass(frozen=True, slots=True)
class Asker:
    """With what an attempt asks.

    used    the values it was rendered with; what is renewed on the way is put there
    heard   told the head of each answer
    fresh   called before each request: time, and keys that signatures need
    """

    route: Route
    env: dict[str, object] = field(repr=False)
    ports: Ports
    keyring: Keyring
    scopes: Mapping[str, str]
    account: Account
    line: Line
    transforms: Working
    used: dict[str, object] = field(repr=False)
    heard: Callable[[HttpResponse], None]
    fresh: Callable[[], Awaitable[None]]


@asynccontextmanager
async def polled(
    plan: PollPlan, asker: Asker, watch: Watch, made: AbstractAsyncContextManager[Answer]
) -> AsyncIterator[Answer]:
    """The answer of the job that `made` makes, there to be read. Raises ExchangeError.

    It is the first answer itself where that is done, or refused.
    """
    job = _Job(plan, asker, watch)
    try:
        async with AsyncExitStack() as stack:
            yield await job.answer(stack, made)
            job.over = True
    finally:  # also when the client left
        job.end()


class _Job:
    """One job. over: there is nothing that could be given up."""

    def __init__(self, plan: PollPlan, asker: Asker, watch: Watch) -> None:
        self.over = True
        self._plan, self._asker, self._watch = plan, asker, watch
        self._route, self._env, self._clock = asker.route, asker.env, asker.ports.clock
        self._waits = plan.pace.waits()
        self._asked: float | None = None  # seconds that the last answer wants us to wait
        self._said = HttpResponse(0)
        self._refused = False
        self._hears: Callable[[HttpResponse], None] | None = asker.heard
        self._renewals: set[str] = set()
        self._found: dict[str, object] = {}
        self._env["poll"] = self._found

    async def answer(
        self, stack: AsyncExitStack, made: AbstractAsyncContextManager[Answer]
    ) -> Answer:
        """What is to be read. It is open as long as the stack is."""
        plan, first_byte = self._plan, float(self._route.spec.timeouts.first_byte)
        read = await self._made(stack, made)
        if read is not None and (plan.then is None or self._refused):
            return read
        self._take(plan.finds)
        self.over = False
        if read is None:
            self._watch.allow(inf)  # from now on each request has its own
            read = await self._until(stack, plan.ask, self._done, self._next())
        if plan.then is not None:
            self._take(plan.last)
            self._watch.allow(inf)
            await stack.aclose()
            read = await self._until(stack, plan.then, self._good, 0.0)
        self._watch.allow(first_byte)
        return read

    def end(self) -> None:
        """The job is done, or is given up."""
        if self._plan.cancel is not None and not self.over:
            self._asker.keyring.cleanups.undo(self._route, CLEANUP, self._cancel)

    async def _cancel(self) -> tuple[HttpRequest, Line]:
        assert self._plan.cancel is not None
        return self._request(self._plan.cancel)

    # ---- making ----

    async def _made(
        self, stack: AsyncExitStack, made: AbstractAsyncContextManager[Answer]
    ) -> Answer | None:
        """The first answer. A job that is still being made when its client leaves is waited for:
        before its name is known it cannot be cancelled.
        """
        opening = self._opened(stack, made, self._begun, self._watch)
        if self._plan.cancel is None:
            return await opening
        making = self._asker.keyring.cleanups.outlasting(opening)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            self._hears = None
            belated = partial(self._belated, stack, making)
            self._asker.keyring.cleanups.undo(self._route, CLEANUP, belated)
            raise

    async def _belated(
        self, stack: AsyncExitStack, making: asyncio.Future[Answer | None]
    ) -> tuple[HttpRequest, Line] | None:
        """What gives up a job that was made for nobody; None if none is under way."""
        try:
            read = await making
        except ExchangeError:
            return None
        await stack.aclose()
        if read is not None:
            return None
        self._take(self._plan.finds)
        return await self._cancel()

    def _take(self, takes: Takes) -> None:
        self._found |= taken(takes, self._said, self._env, "poll", "the upstream's answer")

    def _next(self) -> float:
        """Seconds to the next question."""
        asked, self._asked = self._asked, None
        return max(next(self._waits), asked or 0.0)

    # ---- asking ----

    async def _until(
        self, stack: AsyncExitStack, follow: Follow, look: Look, wait: float
    ) -> Answer:
        """Ask until there is an answer to be read."""
        misses = 0
        while True:
            await self._clock.sleep(wait)
            try:
                read = await self._once(stack, follow, look)
                misses = 0
                self._tell("ok")
            except ExchangeError as error:
                misses += 1
                self._tell(error.cls, error.message)
                if not await self._bears(error, misses):
                    raise
                read, self._asked = None, error.retry_after
            if read is not None:
                return read
            wait = self._next()

    def _tell(self, outcome: str, message: str = "") -> None:
        asked = self._env["_asked"]
        assert isinstance(asked, Asked)
        own = self._route.roster.client and message  # some upstreams repeat a client's own key
        self._asker.ports.observer.saw(
            "job_asked",
            route=self._route.name,
            outcome=outcome,
            request=asked.id,
            message=message,
            secrets=[*self._asker.account.parts.values()] if own else None,
        )

    async def _once(self, stack: AsyncExitStack, follow: Follow, look: Look) -> Answer | None:
        await self._asker.fresh()
        request, line = self._request(follow)
        patience = float(self._route.spec.timeouts.first_byte)
        limit = inf if request.timeout is None else request.timeout
        try:
            with self._clock.watch(min(patience + line.connect, limit)) as watch:
                sent = partial(watch.allow, min(patience, limit))
                asked = self._asker.ports.upstream.stream(request, line, sent)
                return await self._opened(stack, asked, look, watch)
        except TimeoutError:
            raise ExchangeError("timeout", "the upstream did not answer in time") from None

    def _request(self, follow: Follow) -> tuple[HttpRequest, Line]:
        env, line = self._env, self._asker.line
        env["_now"] = self._clock.now()
        if follow.proxy is not None:
            line = dataclasses.replace(line, proxy=proxy_of(follow.proxy, env))
        return self._route.follow(env, follow, self._asker.transforms), line

    async def _opened(
        self,
        stack: AsyncExitStack,
        asked: AbstractAsyncContextManager[Answer],
        look: Look,
        watch: Watch,
    ) -> Answer | None:
        """An answer is closed here, unless it is to be read."""
        body = self._route.spec.timeouts.body
        async with AsyncExitStack() as own:
            answer = await own.enter_async_context(asked)
            if self._hears is not None:
                self._hears(answer.head)
            if body is not None:
                watch.allow(float(body))
            read = await look(answer)
            if read is not None:
                await stack.enter_async_context(own.pop_all())
            return read

    # ---- answers ----

    async def _begun(self, answer: Answer) -> Answer | None:
        """Look at the answer that may have made a job."""
        read = await self._look(answer)
        if read is None and self._said.status >= 300:
            self._refused = True
            return Begun(answer, self._said.body)  # the attempt sees to that
        if read is None:
            self._raise_refusal()
        return read

    async def _done(self, answer: Answer) -> Answer | None:
        """Look at the answer to a question."""
        read = await self._look(answer)
        if read is None:
            self._raise_refusal()
            seen = Seen(self._said, self._clock.now())
            if self._plan.ready.unreadable(seen):
                raise ExchangeError("retryable", "the upstream's answer is not JSON")
        return read

    async def _good(self, answer: Answer) -> Answer | None:
        """Look at the answer that follows a job which is done."""
        if answer.head.status >= 300:
            await self._hear(answer)
            self._raise_refusal()
        return answer

    async def _look(self, answer: Answer) -> Answer | None:
        """The answer, if it is that of a job which is done. What need not be known is not read."""
        plan = self._plan
        if plan.then is None and not plan.ready.needs_body:
            head = HttpResponse(answer.head.status, answer.head.headers)
            if plan.ready.fits(Seen(head, self._clock.now()), self._env):
                return answer
        await self._hear(answer)
        seen = Seen(self._said, self._clock.now())
        self._asked = header_wait(seen.response.header, seen.now)
        if not plan.ready.fits(seen, self._env):
            return None
        self.over = plan.then is None
        return Begun(answer, self._said.body)

    async def _hear(self, answer: Answer) -> None:
        """Read an answer whole."""
        head, most = answer.head, int(self._route.spec.limits.answer)
        good = head.status < 300
        body = await (answer.read(most) if good else words_of(answer, ERROR_BODY))
        self._said = HttpResponse(head.status, head.headers, body)

    def _raise_refusal(self) -> None:
        """Raises ExchangeError where the answer is a failure: of the job, if it is a good one."""
        refused = self._route.classify(self._env, self._asker.transforms, self._said)
        if refused is not None:
            self.over = self.over or self._said.status < 300
            raise refused.error()

    # ---- what goes wrong ----

    async def _bears(self, error: ExchangeError, misses: int) -> bool:
        """Whether it is asked again though asking has failed."""
        if self.over or misses > self._plan.tolerate:
            return False
        return OUTCOMES[error.cls].retry or await self._renewed(error.cls)

    async def _renewed(self, cls: str) -> bool:
        """Fetch anew what the class renews, once: a job may outlive the token it was made with.

        What belongs to the request or its session is part of the job, and stays.
        """
        asker, values = self._asker, self._route.values
        names = [
            name
            for name in asker.used
            if cls in values[name].refresh_for and values[name].scope in ("route", "account")
        ]
        if not names or cls in self._renewals:
            return False
        self._renewals.add(cls)
        had = {name: asker.used[name] for name in names}
        asker.keyring.renew(self._route, cls, had, asker.scopes)
        for name in names:
            await self._renew(name)
        return True

    async def _renew(self, name: str) -> None:
        asker, env = self._asker, self._env
        found = await asker.keyring.value(self._route, name, env, asker.line, asker.scopes)
        asker.used[name] = found
        if name == asker.account.fetched:
            env["account"] = {**asker.account.parts, **parts_of(found)}
            return
        values = env["values"]
        assert isinstance(values, dict)
        values[name] = found
