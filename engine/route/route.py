"""A compiled route: one immutable value that holds everything a request needs.

It owns no port, task or connection. What outlives a route (secrets, sessions, cool-downs) is kept
elsewhere, under the fingerprints given here. An exchange holds the Route it began with, so that a
reload never pulls it away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from engine.auth.granting import Login
from engine.auth.pool import Roster
from engine.chat import ChatRequest, Media
from engine.dialects import Dialect
from engine.dialects.outcomes import classify_text
from engine.dialects.profile import PROFILE, Profile
from engine.dialects.written import write
from engine.events import ErrorEvent
from engine.options import OMIT, Env, Secret
from engine.policies import Policy
from engine.transform import Context, Model
from engine.wire import HttpRequest, HttpResponse, dumps, loads

from .classify import Classifier
from .pipeline import Pipeline, Road
from .polling import Follow, PollPlan
from .render import Pairs, Plan
from .signing import Signer
from .sniff import sniff
from .spec import RouteSpec
from .stages import (
    Budget,
    Measured,
    Stage,
    Step,
    Working,
    classify,
    context_of,
    event_steps,
    make_transform,
    patch,
    record_steps,
    shape,
    sign,
)
from .talking import TalkPlan
from .unseen import MediaPlan, name_calls, name_unread, name_unseen
from .values import ValuePlan
from .view import FIELDS, Asked, fingerprint, view

Patch = Callable[[dict[str, Any], Env], dict[str, Any]]


class Splitter(Protocol):
    """Whole frames out of bytes, as they came."""

    def feed(self, data: bytes) -> list[bytes]: ...
    def finish(self) -> list[bytes]: ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A model as clients name it, with the route's `vars` as they are for it.

    profile  what its upstream can and cannot do
    passes   a client of the same dialect may be served on bytes, as far as the profile goes
    """

    model: Model
    vars: Mapping[str, object] = field(repr=False)
    owned_by: str
    known: Mapping[str, object]  # what templates see as `model`
    profile: Profile = PROFILE
    passes: bool = True


@dataclass(frozen=True, slots=True)
class Discovery:
    """How a route's models are found: a request, and what its answer says.

    every    seconds from one look to the next
    source   what the list depends on: a list found under another one is no good
    """

    plan: Plan
    every: float
    source: str

    def ids(self, body: bytes) -> tuple[str, ...]:
        """The models of an answer. Raises ExchangeError if there are none."""
        raise NotImplementedError

    def offers(self, ids: Iterable[str]) -> dict[str, Offer]:
        """Models of these ids as the route offers them, with its variants."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Where a session's name is found and what a new one holds.

    touches   a request that only reads the session keeps it from expiring: something is undone then
    """

    keys: tuple[str, ...]
    ttl: float
    limit: int
    server_history: bool
    max_messages: int
    persist: bool
    state: Callable[[Env], dict[str, object]]
    fingerprint: str
    touches: bool = False

    def name(self, asked: Asked) -> str:
        """The session's name as the request gives it, "" for a one-shot session."""
        return next((found for key in self.keys if (found := _named(key, asked))), "")


def _named(key: str, asked: Asked) -> str:
    if key == "fingerprint":
        return fingerprint(asked.chat)
    root, _, name = key.partition(".")
    if root == "header":
        return asked.headers.get(name)
    found: object = FIELDS[name.partition(".")[0]](asked)
    for step in name.split(".")[1:]:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Route:
    """See the module's docstring. `files` are all files it was made of, its own first."""

    name: str
    file: str
    digest: str
    files: tuple[str, ...]
    spec: RouteSpec
    offers: Mapping[str, Offer]
    dialect: Dialect | None
    plan: Plan
    talk: TalkPlan | None
    patch: Patch | None
    placements: Callable[[Env], Pairs]
    placed: Pairs | None
    fixed: tuple[Pairs, Pairs] | None
    queries: Callable[[Env], Pairs]
    cookies: Callable[[Env], Pairs]
    signer: Signer | None
    roster: Roster
    logins: tuple[Login, ...]
    values: Mapping[str, ValuePlan]
    wanted: tuple[str, ...]
    names: frozenset[str]
    let: tuple[tuple[str, Callable[[Env], object]], ...]
    session: SessionPlan | None
    stages: tuple[Stage, ...]
    classifier: Classifier
    policies: tuple[Policy, ...]
    stream_road: Road | None
    whole_road: Road | None
    no_road: Road
    references: Mapping[str, object]
    passthrough: bool
    splitter: Callable[[], Splitter] | None
    hosts: tuple[str, ...]
    media: MediaPlan
    errands: Mapping[str, Plan] = field(default_factory=dict)
    poll: PollPlan | None = None
    discovery: Discovery | None = None
    warnings: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        """Name and digest only: some headers are rendered already, with what is secret in them."""
        return f"Route({self.name!r}, {self.digest[:12]!r})"

    @property
    def priority(self) -> int:
        """Of the routes that offer a model, the one with the highest has its bare name."""
        return self.spec.priority

    @property
    def recalls(self) -> bool:
        """Whether some transform asks for the thinking of earlier answers."""
        return any(stage.loaded.recalls for stage in self.stages)

    def offer(self, name: str) -> Offer | None:
        """The model of that name; any, where only the upstream knows its models."""
        found = self.offers.get(name)
        if found is None and self.discovery is not None and name:
            return self.discovery.offers([name])[name]
        return found

    @property
    def account(self) -> Mapping[str, Secret] | None:
        """The parts of the first account, as an example of all; None if each client brings one."""
        accounts = self.roster.accounts
        return None if self.roster.client else accounts[0].parts if accounts else {}

    def by_url(self, part: Media, profile: Profile) -> bool:
        """Whether the upstream takes this picture or file by its http URL."""
        if part.kind == "image" and not profile.images.url:
            return False
        return self.dialect is None or self.dialect.by_url(part)

    # ---- one request ----

    def streams(self, asked_stream: bool) -> bool:
        """Whether the upstream is asked to stream when the client asked so."""
        use = self.spec.stream.use if self.spec.stream else "auto"
        if self.talk is not None:
            return True
        if self.stream_road is None or use == "never":
            return False
        return use == "always" or self.whole_road is None or asked_stream

    def variables(
        self, asked: Asked, offer: Offer, now: float, random: Random
    ) -> dict[str, object]:
        """The roots of templates that hold for a whole request; `let` is computed here, once."""
        env: dict[str, object] = {
            "req": view(asked, self.names),
            "model": offer.known,
            "account": {},
            "values": {},
            "session": {},
            "vars": offer.vars,
            "_ref": self.references,
            "_route": self.name,
            "_profile": offer.profile,
            "_asked": asked,
            "_now": now,
            "_random": random,
        }
        if self.let:
            let: dict[str, object] = {}
            env["let"] = let
            for name, render in self.let:
                value = render(env)
                if value is not OMIT:
                    let[name] = value
        return env

    def unasked(
        self, account: Mapping[str, Secret], now: float, random: Random
    ) -> dict[str, object]:
        """The roots of templates where no request stands behind a fetch."""
        return {
            "account": account,
            "values": {},
            "vars": self.spec.vars,
            "_ref": self.references,
            "_route": self.name,
            "_now": now,
            "_random": random,
        }

    def context(self, asked: Asked, env: Env, attempt: int, previous: str | None) -> Context:
        """What the transforms of one attempt may know."""
        return context_of(env, asked.chat, attempt, previous)

    def transforms(
        self, env: Env, context: Context, budget: Budget | None = None
    ) -> list[tuple[Stage, Any]]:
        """Fresh instances for one attempt, those whose condition holds."""
        made = [
            (stage, make_transform(stage.loaded, stage.options, env, context))
            for stage in self.stages
            if stage.when is None or stage.when.test(env)
        ]
        if budget is None:
            return made
        return [(stage, Measured(stage, instance, budget)) for stage, instance in made]

    def render(
        self,
        env: dict[str, object],
        chat: ChatRequest | None,
        transforms: Working,
        body: bytes | None,
    ) -> HttpRequest:
        """The outgoing request. body: the client's own bytes, spliced, on passthrough."""
        content = self._body(env, chat, body)
        if self.fixed is not None and not transforms and "_mask" not in env:
            return self.plan.quick(env, content, *self.fixed)
        request = self.plan.render(env, content)
        request = self._placed(patch(transforms, request), env)
        return self.signer.sign(request, env) if self.signer else sign(transforms, request)

    def send(
        self, env: Env, plan: Plan, content: tuple[bytes, str] | None, transforms: Working
    ) -> HttpRequest:
        """A request that is no chat, with the route's credentials."""
        request = self._placed(plan.render(env, content), env)
        return self.signer.sign(request, env) if self.signer else sign(transforms, request)

    def follow(self, env: Env, follow: Follow, transforms: Working) -> HttpRequest:
        """A request about the job that the route's request has made. Raises ExchangeError."""
        plan, own = follow.plan(env, self.plan)
        return self.send(env, plan, None, transforms) if own else plan.render(env)

    def _body(
        self, env: dict[str, object], chat: ChatRequest | None, body: bytes | None
    ) -> tuple[bytes, str] | None:
        if self.dialect is None or self.plan.body is not None:
            if self.media.text_only and chat is not None:
                name_unseen(chat, self.values, env["values"], _profile(env, self.spec))
            if self.media.mute and chat is not None:
                name_calls(chat, _profile(env, self.spec))
            if self.media.unread and chat is not None:
                name_unread(chat, self.media.unread, _profile(env, self.spec))
            return self._patched(env)
        if body is not None:
            if self.patch is None:
                return body, "application/json"
            tree: Any = loads(body)
        else:
            model = env["model"]
            assert isinstance(model, dict)
            assert chat is not None
            written = write(self.dialect, chat, model["upstream"], _profile(env, self.spec))
            tree = written.body
            env["_undo"] = written.undo
        return dumps(self.patch(tree, env) if self.patch else tree), "application/json"

    def _patched(self, env: Env) -> tuple[bytes, str] | None:
        if self.patch is None or self.plan.body is None or self.spec.request is None:
            return None
        if self.spec.request.json is None:
            return None
        tree: Any = self.spec.request.json.render(env)
        return dumps(self.patch(tree, env)), "application/json"

    def _placed(self, request: HttpRequest, env: Env) -> HttpRequest:
        ready = self.placed if "_mask" not in env else None
        headers = dict(self.placements(env) if ready is None else ready)
        cookies = self.cookies(env)
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies)
        request = request.with_headers(headers) if headers else request
        queries = self.queries(env)
        return dataclasses.replace(request, query=request.query + queries) if queries else request

    def pipeline(
        self,
        env: dict[str, object],
        transforms: Working,
        head: HttpResponse,
        *,
        stream: bool,
        new_id: Callable[[], str],
    ) -> Pipeline:
        """The reading of one answer, `head` being its status and headers."""
        road = (self.stream_road if stream else self.whole_road) or self.stream_road
        assert road is not None
        streams = self.stream_road
        other = (streams if streams and streams.sse else None) if road.whole else self.whole_road

        def judge(data: bytes, value: object) -> ErrorEvent | None:
            whole = HttpResponse(head.status, head.headers, data)
            return self.classify(env, transforms, whole, value)

        def judge_text(data: bytes, value: object) -> ErrorEvent | None:
            return judge(data, value) or _page(data)

        kind = "" if road.json else head.header("content-type") or ""
        html = kind.lower().startswith("text/html")
        return Pipeline(
            road,
            env,
            new_id,
            judge=judge_text if html else judge,
            records=record_steps(transforms),
            events=[*undone(env), *event_steps(transforms)],
            other=other if road.whole else other or self.no_road,
            least=_JUDGED if road.pieces and (html or self.classifier.reads_good) else 0,
        )

    def classify(
        self, env: Env, transforms: Working, response: HttpResponse, value: object = None
    ) -> ErrorEvent | None:
        """The outcome of an answer with its body: transforms first, then the route's rules.

        value: the body decoded, where it is the first record of a stream.
        """
        refused = classify(transforms, response) if transforms else None
        return refused or self.classifier.whole(response, env, _now(env), value)


_JUDGED = 128  # bytes of a text by which it is told from an error


def _page(data: bytes) -> ErrorEvent | None:
    """A page of HTML where text is due, whose server calls it so: no model wrote it."""
    if sniff(data) != "page":
        return None
    return ErrorEvent(classify_text(data)[0], "the upstream answered with a page, not text")


def undone(env: Mapping[str, object]) -> list[tuple[Step, None]]:
    """What the answer to a written request goes through before the route's own transforms."""
    undo = env.get("_undo", ())
    assert isinstance(undo, tuple)
    return [(step, None) for step in undo]


def _profile(env: Env, spec: RouteSpec) -> Profile:
    profile = env.get("_profile", spec.profile)
    assert isinstance(profile, Profile)
    return profile


def _now(env: Env) -> float:
    now = env["_now"]
    return now if isinstance(now, float) else 0.0


__all__ = ["Budget", "Discovery", "Offer", "Route", "SessionPlan", "Splitter", "Stage", "shape"]
