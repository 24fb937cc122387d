"""One call of the upstream: secrets, request, answer, events; everything new for each attempt.

An attempt ends with an Outcome and never raises for what an upstream did. What it learned stands
in the Outcome; what it sent to the client went through the sink.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from engine.accounts.keyring import Keyring, parts_of
from engine.auth.accounts import NOBODY, Account
from engine.chat import ChatRequest
from engine.dialects import Dialect
from engine.dialects.adapt import counted, kept_betas
from engine.dialects.frames import Tap
from engine.dialects.onward import onward
from engine.dialects.unsaid import unsaid
from engine.errors import ExchangeError
from engine.events import ErrorEvent, Finish, Usage
from engine.invariants import Invariants
from engine.kept.answers import Origin
from engine.kept.recall import Keeper
from engine.kept.uploads import UploadError
from engine.lines import called, line_of, line_of_request
from engine.options import Secret
from engine.parsers import FramingError
from engine.ports import Answer, Line, Ports, Sink, Watch
from engine.route.pipeline import Pipeline
from engine.route.polling import PollPlan
from engine.route.route import Budget, Offer, Route, Splitter, Stage, shape
from engine.route.sniff import sniff
from engine.route.template import RenderError
from engine.route.view import Asked, view
from engine.wire import HttpRequest, HttpResponse, JsonError, loads

from .errands import Errand
from .polling import Asker, polled
from .reading import ERROR_BODY, LINGER, Begun, Events, Frames, limited, pour, words_of


@dataclass(slots=True)
class Call:
    """A client's request as the server hands it over.

    splice   (upstream model, stream) -> the client's own bytes with these put in; None: it cannot
    wants_usage   the client asked for usage in the stream
    errand   what is asked instead of a chat
    tools    its key may have tools of the operator's servers run
    begun    called when the answer begins
    aside    it is a question of another request, and leads to none
    continues  it may go on from an answer that its upstream keeps
    bound    digest of the one account that may serve it, "" for any
    note     told the id of an answer that its upstream keeps, and where it is
    several  it may ask for more than one answer
    """

    asked: Asked
    offer: Offer
    dialect: Dialect
    wants_stream: bool
    splice: Callable[[str, bool], bytes] | None = field(default=None, repr=False)
    client_key: Secret | None = None
    wants_usage: bool = False
    errand: Errand | None = None
    tools: bool = False
    aside: bool = False
    begun: Callable[[], None] | None = None
    continues: bool = False
    bound: str = ""
    note: Callable[[str, Origin], Awaitable[None]] | None = None
    several: bool = False

    def own_key(self, route: Route) -> list[Secret]:
        """The client's own key, where it goes upstream: some upstreams repeat it."""
        key = self.client_key
        return [key] if key is not None and route.roster.client else []

    def turn_to(self, chat: ChatRequest, env: dict[str, object], names: frozenset[str]) -> None:
        """What follows is about this conversation; templates see it so."""
        self.asked = self.asked.with_chat(chat)
        env["req"], env["_asked"] = view(self.asked, names), self.asked

    def release(self) -> None:
        """The answer has begun: what only another attempt would need is let go."""
        if self.begun is not None:
            self.begun()
        self.splice = None
        self.asked.release()


@dataclass(slots=True, eq=False)
class Outcome:
    """How an attempt ended. Exactly one of finish and error is set.

    passed   bytes were forwarded; `failure` is then how the dialect says the error in-band
    whole    a whole answer to hand on as it came
    login    it failed before the call: a value of the account could not be had
    unsaid   names of what the client was not told
    kept     id under which the upstream keeps the answer, and the digest of its account
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
    login: bool = False
    kept: tuple[str, str] = ("", "")
    unmatched: dict[str, int] = field(default_factory=dict)
    unsaid: list[str] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)

    def seen(self) -> dict[str, Any]:
        """What observers are told of it as it is."""
        names = ("status", "cause", "unmatched", "unsaid", "broken")
        return {name: getattr(self, name) for name in names}


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
        account: Account = NOBODY,
    ) -> None:
        self.route = route
        self.call = call
        self.env = env
        self.ports = ports
        self.keyring = keyring
        self.sink = sink
        self.scopes = scopes
        self.account = account
        self.outcome = Outcome()
        self.pipeline: Pipeline | None = None
        self.events: Events
        self.order: Invariants
        self.tap: Tap | None = None
        self.keeper: Keeper | None = None
        self.passes = (
            route.passthrough
            and call.offer.passes
            and call.dialect is route.dialect
            and call.splice is not None
        )

    async def run(self, number: int, previous: str | None) -> Outcome:
        timeouts = self.route.spec.timeouts
        failure: ExchangeError | None = None
        try:
            with self.ports.clock.watch(float(timeouts.connect + timeouts.first_byte)) as watch:
                await self._run(number, previous, watch)
        except TimeoutError:
            failure = ExchangeError("timeout", "the upstream did not answer in time")
        except ExchangeError as error:
            failure = error
        except RenderError as error:
            failure = ExchangeError("fatal", f"the route cannot be rendered: {error}")
        except FramingError as error:
            failure = ExchangeError("retryable", f"the answer cannot be read: {error}")
        try:
            await self._close(failure)
        finally:
            del failure  # its traceback has this frame
        return self.outcome

    async def _close(self, failure: ExchangeError | None) -> None:
        """What follows the reading: what was held back, and how it ended."""
        if self.pipeline is not None:
            await self._end_pipeline(self.pipeline, failure)
        elif self.tap is not None:
            await self._end_tap(self.tap, failure)
        elif failure is not None:
            self._fail(failure)

    def _fail(self, error: ExchangeError) -> None:
        self.outcome.error = ErrorEvent.of(error)
        self.outcome.cause = error.__cause__

    async def _run(self, number: int, previous: str | None, watch: Watch) -> None:
        route, env = self.route, self.env
        env["_now"] = self.ports.clock.now()
        env["account"] = self.account.parts
        line = line_of(route, self.scopes, env)
        if route.wanted or self.account.fetched:
            await self._values(line)
        transforms: list[tuple[Stage, Any]] = []
        if route.stages:
            context = route.context(self.call.asked, env, number, previous)
            # No method of ours: that would be a cycle, and lie until the collector comes.
            slow = partial(self.ports.observer.saw, "transform_slow", route=route.name)
            budget = Budget(self.ports.clock.monotonic, slow)
            transforms = route.transforms(env, context, budget)
        if route.signer is not None:
            await self._fresh()
        streams = route.streams(self.call.wants_stream)
        line = line_of_request(route, line, env)
        made = self._called(transforms, streams, line, watch)
        if route.poll is not None and self.call.errand is None:
            made = self._polled(route.poll, made, line, transforms, watch)
        async with made as answer:
            self._heard(answer.head)
            if not streams and route.spec.timeouts.body is not None:
                watch.allow(float(route.spec.timeouts.body))
            moved = route.signer is not None and self._learn_time(answer.head)
            if answer.head.status >= 300 or answer.head.status == 204:
                await self._refused(answer, transforms)
                if moved:
                    self._signed_too_late()
            elif self.call.errand is not None:
                await self._bring(answer, transforms, self.call.errand)
            elif self.passes:
                relay = self._pass_stream if streams else self._pass_whole
                await relay(answer, transforms, watch)
            else:
                await self._read(answer, transforms, streams, watch)

    def _called(
        self, transforms: list[tuple[Stage, Any]], streams: bool, line: Line, watch: Watch
    ) -> AbstractAsyncContextManager[Answer]:
        """The call; from when it leaves the upstream has `first_byte`."""
        route, patience = self.route, float(self.route.spec.timeouts.first_byte)
        watch.allow(patience + line.connect)  # dialling, and waiting for a place in the pool
        talk = route.talk if self.call.errand is None else None
        sent = partial(watch.allow, patience)
        # No name for the request: its body should not be held while an answer lasts.
        made = called(
            self.ports.upstream, self._render(transforms, streams), line, talk, self.env, sent
        )
        limit = (route.plan if self.call.errand is None else self.call.errand.plan).timeout
        return made if limit is None else limited(made, self.ports.clock.watch(limit))

    def _polled(
        self,
        plan: PollPlan,
        made: AbstractAsyncContextManager[Answer],
        line: Line,
        transforms: list[tuple[Stage, Any]],
        watch: Watch,
    ) -> AbstractAsyncContextManager[Answer]:
        """What is read: not the answer to the request, but that of the job which it makes."""
        route = self.route
        self.outcome.used = used = dict(self.outcome.used)
        whose = self.ports, self.keyring, self.scopes, self.account
        asker = Asker(route, self.env, *whose, line, transforms, used, self._heard, self._fresh)
        return polled(plan, asker, watch, made)

    def _heard(self, head: HttpResponse) -> None:
        self.outcome.status = head.status
        self.sink.tell(onward(head, alone=len(self.route.roster.accounts) < 2))

    # ---- signatures ----

    async def _fresh(self) -> None:
        """What a signature needs of this moment."""
        if self.route.signer is not None:
            self.env["_skew"] = self.keyring.skews.of(self.route.name)
            if self.route.signer.chain:
                self.env["_aws"] = await self.ports.aws.keys()

    def _learn_time(self, head: HttpResponse) -> bool:
        return self.keyring.skews.learn(self.route.name, head, self.ports.clock.now())

    def _signed_too_late(self) -> None:
        """The request was refused, and its signature had a wrong time: that may be why."""
        error = self.outcome.error
        if error is not None and error.cls in ("auth_expired", "auth_invalid"):
            self.outcome.error = dataclasses.replace(error, cls="stale")

    async def _values(self, line: Line) -> None:
        """The account's parts and the values, fetched where they are not there."""
        route, env, name = self.route, self.env, self.account.fetched
        self.outcome.login = True
        used: dict[str, object] = {}
        if name:
            used[name] = await self.keyring.value(route, name, env, line, self.scopes)
            env["account"] = {**self.account.parts, **parts_of(used[name])}
        try:
            used |= await self.keyring.values(route, env, line, self.scopes)
        except UploadError as error:
            self.outcome.used, self.outcome.login = {**used, **error.used}, False
            raise
        self.outcome.used = used
        self.outcome.login = False

    def _render(self, transforms: list[tuple[Stage, Any]], streams: bool) -> HttpRequest:
        route, asked, errand = self.route, self.call.asked, self.call.errand
        if errand is not None:
            content = errand.body(self.call.offer)
            return self._told(route.send(self.env, errand.plan, content, transforms))
        if self.passes:
            assert self.call.splice is not None
            body = self.call.splice(self.call.offer.model.upstream, streams)
            return self._told(route.render(self.env, None, transforms, body))
        chat: ChatRequest = shape(transforms, asked.chat)
        if chat is not asked.chat or streams != asked.stream:
            self.env["req"] = view(asked.with_chat(chat, stream=streams), route.names)
        if streams != chat.stream:
            chat = dataclasses.replace(chat, stream=streams)
        return self._told(route.render(self.env, chat, transforms, None))

    def _told(self, request: HttpRequest) -> HttpRequest:
        """With what a client of the upstream's own dialect says in headers; the route's win."""
        dialect, headers = self.call.dialect, self.call.asked.headers
        if not dialect.headers or dialect is not self.route.dialect:
            return request
        found = {
            name: value
            for name in dialect.headers
            if (value := headers.get(name)) and request.header(name) is None
        }
        if "anthropic-beta" in found:
            kept = kept_betas(found.pop("anthropic-beta"), self.call.offer.profile)
            found |= {"anthropic-beta": kept} if kept else {}
        return request.with_headers(found) if found else request

    async def _refused(self, answer: Answer, transforms: list[tuple[Stage, Any]]) -> None:
        body = b"" if answer.head.status == 204 else await words_of(answer, ERROR_BODY)
        response = HttpResponse(answer.head.status, answer.head.headers, body)
        self.outcome.error = self.route.classify(self.env, transforms, response) or ErrorEvent(
            "empty_response", "the upstream's answer was empty", answer.head.status
        )

    async def _bring(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], errand: Errand
    ) -> None:
        """The whole answer to an errand."""
        body = await answer.read(int(self.route.spec.limits.answer))
        response = HttpResponse(answer.head.status, answer.head.headers, body)
        self.outcome.error = self.route.classify(self.env, transforms, response)
        if self.outcome.error is None:
            self.outcome.whole, self.outcome.usage = errand.read(body)
            self.outcome.finish = Finish("stop")

    # ---- through the model ----

    async def _read(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], streams: bool, watch: Watch
    ) -> None:
        """Bytes to events to the client, until the answer is over."""
        route = self.route
        early = route.classifier.head(answer.head, self.env, self.ports.clock.now())
        if early is not None:
            self.outcome.error = early
            return
        self.order = Invariants()
        self.pipeline = pipeline = route.pipeline(
            self.env,
            transforms,
            answer.head,
            stream=streams,
            new_id=partial(_new_id, self.ports.random),
        )
        idle = float(route.spec.timeouts.idle)
        kept = not self.call.wants_stream or route.spec.hold == "full"
        most = int(route.spec.limits.answer) if kept else None
        self.events = Events(pipeline, self.order, self.keeper, self.sink, watch, idle, most)
        await pour(answer, self.events, self.sink, watch)

    async def _end_pipeline(self, pipeline: Pipeline, failure: ExchangeError | None) -> None:
        outcome = self.outcome
        if failure is not None and not pipeline.over:
            pipeline.error = pipeline.error or ErrorEvent.of(failure)
        if failure is None or pipeline.over or self.sink.committed:
            events = pipeline.finish()
            if events and self.events.tell(events):
                await self.sink.drained()
        verdict, offer = pipeline.verdict(), self.call.offer
        outcome.usage = counted(pipeline.usage, offer.profile)
        if isinstance(verdict, Finish):
            outcome.finish = verdict
            name, chat = self.route.name, self.call.asked.chat
            self.keyring.factors.learn(name, offer.model.upstream, chat, outcome.usage)
        else:
            outcome.error = verdict
        outcome.cause = pipeline.cause or (failure.__cause__ if failure else None)
        outcome.state = pipeline.state
        outcome.unmatched = dict(pipeline.unmatched)
        outcome.unsaid = unsaid(pipeline.beside, self.call.dialect, self.call.asked.chat)
        self.order.finish(outcome.finish)
        outcome.broken = dict(self.order.broken)

    # ---- on bytes ----

    async def _pass_stream(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], watch: Watch
    ) -> None:
        """Frames of the same dialect, relayed as they came, watched by a tap."""
        head = b""
        async for data in answer:
            head += data
            if sniff(head) is not None:
                break
        road = self.route.stream_road
        assert road is not None
        begun = Begun(answer, head)
        if road.unlike and sniff(head) == road.unlike:
            await self._translate(begun, transforms, True, watch)
        else:
            self.tap, self.splitter = self._tap()
            self.outcome.passed = True
            refused = partial(self._refused_frame, answer.head, transforms)
            idle = float(self.route.spec.timeouts.idle)
            linger = idle if self.call.several else LINGER  # one may end before the next begins
            frames = Frames(self.tap, self.splitter, refused, self.sink, watch, idle, linger)
            await pour(begun, frames, self.sink, watch)

    def _refused_frame(
        self, head: HttpResponse, transforms: list[tuple[Stage, Any]], frame: bytes
    ) -> bool:
        """Hold the first record against the error rules. False if the frame has none."""
        road = self.route.stream_road
        assert road is not None
        records = road.parser().feed(frame)
        for record in records[:1]:
            response = HttpResponse(head.status, head.headers, record.data)
            with contextlib.suppress(JsonError):
                value = loads(record.data)
                refused = self.route.classify(self.env, transforms, response, value)
                if refused is not None:
                    raise refused.error()
        return bool(records)

    async def _translate(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], streams: bool, watch: Watch
    ) -> None:
        """An answer of the other kind than was asked for cannot be relayed."""
        _ = self.call.asked.chat  # an estimate of its size may need it when its bytes are gone
        await self._read(answer, transforms, streams, watch)

    async def _end_tap(self, tap: Tap, failure: ExchangeError | None) -> None:
        outcome = self.outcome
        if failure is None or tap.finish is not None:
            left = self.splitter.finish() if failure is None else []
            out = tap.feed(left) + tap.end()
            if out and self.sink.forward(out, tap.content):
                await self.sink.drained()
            outcome.error, outcome.failure = tap.error, tap.failure
        else:
            outcome.error = tap.error or ErrorEvent.of(failure)
            outcome.failure = tap.failure if tap.error else tap.broken(outcome.error)
        outcome.usage, outcome.kept = tap.usage, (tap.kept, self.account.digest)
        outcome.finish = None if outcome.error else tap.finish or Finish("stop")

    def _tap(self) -> tuple[Tap, Splitter]:
        dialect, splitter, spec = self.route.dialect, self.route.splitter, self.route.spec
        assert dialect is not None
        assert dialect.tap is not None
        assert splitter is not None
        optional = spec.stream is not None and spec.stream.finish_optional
        return dialect.tap(self.call.wants_usage, finish_optional=optional), splitter()

    async def _pass_whole(
        self, answer: Answer, transforms: list[tuple[Stage, Any]], watch: Watch
    ) -> None:
        dialect = self.route.dialect
        assert dialect is not None
        assert dialect.check_whole is not None
        body = await answer.read(int(self.route.spec.limits.answer))
        if sniff(body) == "stream":
            await self._translate(Begun(answer, body), transforms, False, watch)
            return
        refused = None
        if transforms or self.route.classifier.good:
            response = HttpResponse(answer.head.status, answer.head.headers, body)
            refused = self.route.classify(self.env, transforms, response)
        seen = dialect.check_whole(body)
        self.outcome.error = refused or seen.error
        self.outcome.usage, self.outcome.kept = seen.usage, (seen.kept, self.account.digest)
        if self.outcome.error is None:
            self.outcome.finish = seen.finish or Finish("stop")
            self.outcome.whole = seen.body or body


def _new_id(random: Random) -> str:
    return f"call_{random.getrandbits(96):024x}"
