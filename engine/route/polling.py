"""Jobs, compiled: a request that makes one, and what asks for its answer until it is there.

A URL that an answer gives may lead to a host that stands in the route: that of `base_url`, of the
request itself, or one that `url` begins with. These get what all requests of the route get. To
hosts of `hosts` it may lead, too; they get what stands in the block and nothing else. Any other
is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

from engine.errors import ExchangeError
from engine.options import Env, Template

from .classify import Answer, Test, tests_of
from .http_spec import StepSpec
from .poll_spec import FollowSpec, PaceSpec, PollSpec, UntilSpec
from .reach import PORTS, Place, place_of
from .render import Plan, compile_request, text
from .spec import RouteSpec
from .taking import Takes, compile_takes
from .values import Step

LITERAL = re.compile(r"https?://[^/{}?#\s]+(?=[/?#]|$)")  # what a `url` may begin with
_PLAIN = re.compile(r"[\x21-\x7e]+")  # a URL is on one line, and has no blanks (RFC 3986)

Origin = tuple[str, str, int]  # scheme, host, port


@dataclass(frozen=True, slots=True)
class Follow:
    """A request about a job.

    own, other  as it goes to a host of the route, and to one of `hosts`
    url         a URL that may have come from an answer; None: `own` has its path
    """

    own: Plan
    other: Plan
    url: Template | None
    proxy: Template | None
    trusted: frozenset[Origin]
    hosts: tuple[Place, ...]

    def plan(self, env: Env, of: Plan) -> tuple[Plan, bool]:
        """The request, and whether it goes to a host of the route. of: what made the job.

        Raises ExchangeError (fatal) where the URL leads elsewhere.
        """
        if self.url is None:
            return self.own, True
        found = text(self.url.render(env)).strip()
        if "_mask" in env:
            return _at(self.own, found), True
        made = of.url(env)
        url = _whole(found, made)
        origin = _origin(url)
        if origin in self.trusted or origin == _origin(made):
            return _at(self.own, url), True
        if origin is None or not self._known(origin, made):
            raise ExchangeError("fatal", f"the upstream's answer leads to {_shown(origin)}")
        return _at(self.other, url), False

    def _known(self, origin: Origin, made: str) -> bool:
        """Whether it is one of `hosts`, and as safe on the way as the job's own request."""
        scheme, host, port = origin
        safe = scheme == "https" or urlsplit(made).scheme == scheme
        return safe and any(place.has(scheme, host, port) for place in self.hosts)


def _at(plan: Plan, url: str) -> Plan:
    return dataclasses.replace(plan, url=lambda env: url)


def _whole(found: str, made: str) -> str:
    """An absolute URL without its fragment, "" if it is none."""
    if not _PLAIN.fullmatch(found):
        return ""
    try:
        return urlunsplit(urlsplit(urljoin(made, found))._replace(fragment=""))
    except ValueError:
        return ""


def _origin(url: str) -> Origin | None:
    """None for what is no http URL, or names a user."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname.lower(), port


def _shown(origin: Origin | None) -> str:
    if origin is None:
        return "what is no URL"
    scheme, host, port = origin
    return f"{scheme}://{host[:100]}:{port}, which `request.poll.hosts` does not name"


@dataclass(frozen=True, slots=True)
class Ready:
    """Whether an answer is that of a job that is done.

    needs_body   status and headers do not tell
    reads_json   what is no JSON says nothing
    """

    tests: tuple[Test, ...]
    needs_body: bool
    reads_json: bool

    def fits(self, answer: Answer, env: Env) -> bool:
        return all(test(answer, env) for test in self.tests)

    def unreadable(self, answer: Answer) -> bool:
        """Whether there is something where JSON is due, and it is none."""
        body = answer.response.body
        return self.reads_json and bool(body.strip()) and answer.value is None


@dataclass(frozen=True, slots=True)
class Pace:
    """Waits between questions, in seconds."""

    initial: float
    factor: float
    max: float

    def waits(self) -> Iterator[float]:
        """For ever."""
        wait = self.initial
        while True:
            yield wait
            wait = min(wait * self.factor, max(self.max, self.initial))


@dataclass(frozen=True, slots=True)
class PollPlan:
    """`request.poll`, compiled.

    finds     what the answer that made the job gives; last: what the one that ended it gives
    ask       the question; then: the request for the answer; cancel: what gives the job up
    tolerate  questions in a row that may fail
    """

    ask: Follow
    ready: Ready
    finds: Takes
    pace: Pace
    tolerate: int
    then: Follow | None = None
    last: Takes = ()
    cancel: Follow | None = None

    @property
    def follows(self) -> Mapping[str, Follow]:
        """Its requests, by their places in a route."""
        named = {"": self.ask, ".then": self.then, ".cancel": self.cancel}
        return {f"request.poll{key}": each for key, each in named.items() if each is not None}


def compile_poll(
    spec: PollSpec | None, route: RouteSpec, steps: Callable[[StepSpec], Step]
) -> PollPlan | None:
    """steps compiles one step of `extract`."""
    if spec is None:
        return None
    hosts = tuple(place for name in spec.hosts if (place := place_of(name)))

    def follow(each: FollowSpec) -> Follow:
        base, plain = route.base_url or "", dataclasses.replace(each, url=None)
        literal = LITERAL.match(each.url.source) if each.url is not None else None
        trusted = (_origin(url) for url in (base, literal[0] if literal else ""))
        return Follow(
            own=compile_request(plain, base, route.upstream.headers),
            other=compile_request(plain, base, {}),
            url=each.url,
            proxy=each.proxy,
            trusted=frozenset(origin for origin in trusted if origin is not None),
            hosts=hosts,
        )

    every = spec.every
    pace = every if isinstance(every, PaceSpec) else PaceSpec(initial=every, max=every)
    return PollPlan(
        ask=follow(spec),
        ready=_ready(spec.until),
        finds=compile_takes(spec.extract, steps),
        pace=Pace(float(pace.initial), pace.factor, float(pace.max)),
        tolerate=spec.tolerate,
        then=follow(spec.then) if spec.then else None,
        last=compile_takes(spec.then.extract, steps) if spec.then else (),
        cancel=follow(spec.cancel) if spec.cancel else None,
    )


def _ready(spec: UntilSpec) -> Ready:
    tests = tests_of(spec)
    if not spec.status:
        tests.insert(0, lambda answer, env: answer.status < 300)
    if spec.has is not None:
        find = spec.has.first
        tests.append(lambda answer, env: find(answer.value) is not None)
    if spec.not_ is not None:
        unfit = spec.not_.test
        tests.append(lambda answer, env: answer.value is not None and not unfit(answer.value))
    reads = spec.when is not None and any(m.partition(".")[0] == "data" for m in spec.when.mentions)
    reads_json = reads or any((spec.match, spec.has, spec.not_))
    return Ready(tuple(tests), reads_json or spec.body is not None, reads_json)
