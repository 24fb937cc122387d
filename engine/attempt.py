"""One call of the upstream: secrets, request, answer, events; everything new for each attempt.

An attempt ends with an Outcome and never raises for what an upstream did. What it learned stands
in the Outcome; what it sent to the client went through the sink.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from .chat import ChatRequest
from .dialects import Dialect
from .dialects.tap import Tap
from .errors import ExchangeError
from .events import ErrorEvent, Event, Finish, Usage
from .keyring import Keyring
from .options import Secret
from .ports import Answer, Line, Ports, Sink, Watch
from .route.pipeline import Pipeline
from .route.route import Offer, Route, Splitter, Stage, shape
from .route.template import RenderError
from .route.view import Asked, view
from .wire import HttpRequest, HttpResponse

ERROR_BODY = 1024**2  # bytes of an error answer that are read
LINGER = 1.0  # seconds to wait for usage after the finish


@dataclass(slots=True)
class Call:
    """A client's request as the server hands it over.

    splice   (upstream model, stream) -> the client's own bytes with these put in; None: it cannot
    wants_usage   the client asked for usage in the stream
    """

    asked: Asked
    offer: Offer
    dialect: Dialect
    wants_stream: bool
    splice: Callable[[str, bool], bytes] | None = None
    client_key: Secret | None = None
    wants_usage: bool = False


@dataclass(slots=True)
class Outcome:
    """How an attempt ended. Exactly one of finish and error is set.

    passed   bytes were forwarded; `failure` is then how the dialect says the error in-band
    whole    a whole answer to hand on as it came
    """

    finish: Finish | None = None
    error: ErrorEvent | None = None
    cause: BaseException | None = None
    usage: Usage | None = None
    state: dict[str, object] = field(default_factory=dict)
    used: Mapping[str, object] = field(default_factory=dict)
    passed: bool = False
    failure: bytes = b""
    whole: bytes | None = None
    status: int = 0
    unmatched: dict[str, int] = field(default_factory=dict)


class Attempt:
    """Runs one attempt of a request on a route."""

    def __init__(
        self,
        route: Route,
        call: Call,
        env: dict[str, object],
        ports: Ports,
        keyring: Keyring,
        sink: Sink,
        scopes: Mapping[str, str],
    ) -> None:
        self.route = route
        self.call = call
        self.env = env
        self.ports = ports
        self.keyring = keyring
        self.sink = sink
        self.scopes = scopes
        self.outcome = Outcome()
        self.passes = (
            route.passthrough and call.dialect is route.dialect and call.splice is not None
        )

    async def run(self, number: int, previous: str | None) -> Outcome:
        timeouts = self.route.spec.timeouts
        try:
            with self.ports.clock.watch(float(timeouts.connect + timeouts.first_byte)) as watch:
                await self._run(number, previous, watch)
        except TimeoutError:
            self._fail(ExchangeError("timeout", "the upstream did not answer in time"))
        except ExchangeError as error:
            self._fail(error)
        except RenderError as error:
            self._fail(ExchangeError("fatal", f"the route cannot be rendered: {error}"))
        return self.outcome

    def _fail(self, error: ExchangeError) -> None:
        self.outcome.error = ErrorEvent(
            error.cls, error.message, error.status, error.code, error.retry_after
        )
        self.outcome.cause = error.__cause__

    async def _run(self, number: int, previous: str | None, watch: Watch) -> None:
        route, env = self.route, self.env
        env["_now"] = self.ports.clock.now()
        env["account"] = self._account()
        line = line_of(route, self.scopes)
        await self._values(line)
        transforms: list[tuple[Stage, Any]] = []
        if route.stages:
            context = route.context(self.call.asked, env, number, previous)
            transforms = route.transforms(env, context)
        streams = route.streams(self.call.wants_stream)
        request = self._render(transforms, streams)
        watch.allow(float(route.spec.timeouts.first_byte) + line.connect)
        async with self.ports.upstream.stream(request, line) as answer:
            self.outcome.status = answer.head.status
            if answer.head.status >= 300 or answer.head.status == 204:
                await self._refused(answer, transforms)
            elif self.passes:
                await (self._pass_stream if streams else self._pass_whole)(answer, watch)
            else:
                await self._read(answer, transforms, streams, watch)

    def _account(self) -> Mapping[str, Secret]:
        if self.route.account is not None:
            return self.route.account
        key = self.call.client_key
        if key is None:
            raise ExchangeError("auth_invalid", "this route needs the client's own key")
        return {"key": key}

    async def _values(self, line: Line) -> None:
        if self.route.wanted:
            self.outcome.used = await self.keyring.values(self.route, self.env, line, self.scopes)

    def _render(self, transforms: list[tuple[Stage, Any]], streams: bool) -> HttpRequest:
        route, asked = self.route, self.call.asked
        if self.passes:
            assert self.call.splice is not None
            body = self.call.splice(self.call.offer.model.upstream, streams)
            return route.render(self.env, None, transforms, body)
        chat: ChatRequest = shape(transforms, asked.chat)
        if chat is not asked.chat or streams != asked.stream:
            self.env["req"] = view(asked.with_chat(chat, stream=streams), route.names)
        return route.render(self.env, dataclasses.replace(chat, stream=streams), transforms, None)

    async def _refused(self, answer: Answer, transforms: list[tuple[Stage, Any]]) -> None:
        body = b"" if answer.head.status == 204 else await answer.read(ERROR_BODY)
        response = HttpResponse(answer.head.status, answer.head.headers, body)
        self.outcome.error = self.route.classify(self.env, transforms, response) or ErrorEvent(
            "empty_response", "the upstream's answer was empty", answer.head.status
        )

    # ---- through the model ----

    async def _read(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], streams: bool, watch: Watch
    ) -> None:
        route = self.route
        early = route.classifier.head(answer.head, self.env, self.ports.clock.now())
        if early is not None:
            self.outcome.error = early
            return
        pipeline = route.pipeline(
            self.env, transforms, answer.head, stream=streams, new_id=self._new_id
        )
        try:
            await self._pump(answer, pipeline, watch)
        finally:
            self._note(pipeline)

    def _new_id(self) -> str:
        return f"call_{self.ports.random.getrandbits(96):024x}"

    async def _pump(self, answer: Answer, pipeline: Pipeline, watch: Watch) -> None:
        """Bytes to events to the client, until the answer is over."""
        idle = float(self.route.spec.timeouts.idle)
        life, send = 0, self.sink.send
        try:
            async for data in answer:
                events = pipeline.feed(data)
                if pipeline.life != life:
                    if life == 0:
                        watch.allow(idle)
                    life = pipeline.life
                    watch.beat()
                if events:
                    await send(events)
                if pipeline.over or pipeline.error is not None:
                    if pipeline.over and pipeline.usage is None and not pipeline.ended:
                        watch.allow(LINGER)
                        continue
                    break
        except TimeoutError:
            if not pipeline.over:
                raise
        except ExchangeError as error:
            if not pipeline.over:
                await self._rest(pipeline)
                if pipeline.error is None:
                    pipeline.error = ErrorEvent(error.cls, error.message)
                return
        await self._rest(pipeline)

    async def _rest(self, pipeline: Pipeline) -> None:
        events: list[Event] = pipeline.finish()
        if events:
            await self.sink.send(events)

    def _note(self, pipeline: Pipeline) -> None:
        outcome = self.outcome
        verdict = pipeline.verdict()
        if isinstance(verdict, Finish):
            outcome.finish = verdict
        else:
            outcome.error = verdict
        outcome.cause = pipeline.cause
        outcome.usage = pipeline.usage
        outcome.state = pipeline.state
        outcome.unmatched = dict(pipeline.unmatched)

    # ---- on bytes ----

    async def _pass_stream(self, answer: Answer, watch: Watch) -> None:
        """Frames of the same dialect, relayed as they came, watched by a tap."""
        tap, splitter = self._tap()
        outcome, forward = self.outcome, self.sink.forward
        outcome.passed = True
        idle, first = float(self.route.spec.timeouts.idle), True
        try:
            async for data in answer:
                frames = splitter.feed(data)
                if not frames:
                    continue
                if first:
                    watch.allow(idle)
                    first = False
                watch.beat()
                out = tap.feed(frames)
                if out:
                    await forward(out, tap.content)
                if tap.done or tap.error is not None:
                    break
        except (TimeoutError, ExchangeError):
            if tap.finish is None:
                raise
        finally:
            outcome.usage = tap.usage
        out = tap.feed(splitter.finish()) + tap.end()
        if out:
            await forward(out, tap.content)
        outcome.error, outcome.failure = tap.error, tap.failure
        outcome.finish = None if tap.error else tap.finish or Finish("stop")

    def _tap(self) -> tuple[Tap, Splitter]:
        dialect, splitter, spec = self.route.dialect, self.route.splitter, self.route.spec
        assert dialect is not None
        assert dialect.tap is not None
        assert splitter is not None
        optional = spec.stream is not None and spec.stream.finish_optional
        return dialect.tap(self.call.wants_usage, finish_optional=optional), splitter()

    async def _pass_whole(self, answer: Answer, watch: Watch) -> None:
        dialect = self.route.dialect
        assert dialect is not None
        assert dialect.check_whole is not None
        body = await answer.read(int(self.route.spec.limits.answer))
        response = HttpResponse(answer.head.status, answer.head.headers, body)
        refused = self.route.classify(self.env, [], response)
        seen = dialect.check_whole(body)
        self.outcome.error = refused or seen.error
        self.outcome.usage = seen.usage
        if self.outcome.error is None:
            self.outcome.finish = seen.finish or Finish("stop")
            self.outcome.whole = seen.body or body


_LINES: WeakKeyDictionary[Route, Line] = WeakKeyDictionary()


def line_of(route: Route, scopes: Mapping[str, str]) -> Line:
    """How this route's upstream is reached for one request."""
    line = _LINES.get(route)
    if line is None:
        line = _LINES[route] = _line(route)
    account, cookies = scopes["account"], route.spec.upstream.cookies
    if not account and cookies == "none":
        return line
    jar = "" if cookies == "none" else f"{route.name}|{scopes[cookies]}"
    return dataclasses.replace(line, pool=f"{route.name}|{account}", jar=jar)


def _line(route: Route) -> Line:
    upstream = route.spec.upstream
    return Line(
        pool=f"{route.name}|",
        proxy=upstream.proxy or None,
        verify=upstream.tls.verify,
        ca=upstream.tls.ca,
        reuse=upstream.reuse,
        connect=float(route.spec.timeouts.connect),
        sniff=upstream.sniff,
    )
