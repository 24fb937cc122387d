"""Fetched values, compiled: a conversation with a server that ends in a secret.

A plan's `flow` is a generator: it yields requests, is sent the answers and returns what it found.
It does no network, knows no clock and holds no state; the keyring drives it, keeps the result and
decides when to fetch again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from engine.auth.accounts import Fetching
from engine.errors import ExchangeError
from engine.events import ErrorEvent
from engine.options import Condition, Env, Secret, Template, Tree
from engine.transform import Extracted, Value
from engine.wire import HttpRequest, HttpResponse, JsonError, loads

from .http_spec import StepSpec
from .render import Plan
from .spec import TtlSpec, ValueSpec

MAX_BODY = 2 * 1024**2
MAX_REQUESTS = 10
REFUSED = (400, 401, 403, 422)  # a login so answered has wrong credentials

Judge = Callable[[HttpResponse, Env, float], ErrorEvent | None]
Flow = Generator[Any, Any, "Found"]  # yields requests, is sent the answers
Step = Callable[[HttpResponse, Env], Extracted | None]
MakeExtractor = Callable[[Env], Callable[[HttpResponse], Extracted | None]]
MakeProducer = Callable[[Env], Generator[HttpRequest, HttpResponse, Extracted]]


@dataclass(frozen=True, slots=True)
class Found:
    """What a fetch gave: text, or named outputs; good for so many seconds (None: for ever).

    renew_in: seconds until it is to be fetched anew; None: as the plan says
    """

    content: str | dict[str, str] = field(repr=False)
    expires_in: float | None = None
    renew_in: float | None = None


@dataclass(frozen=True, slots=True)
class ValuePlan:
    """One entry of `values:`, compiled.

    needs     names of other values its requests mention
    outputs   names of its parts, () if it is one text or made by a transform
    parallel  most fetches at once for scope account
    proxy     of its request alone
    place     where its flow keeps tokens, "" if it does not
    asks      a model gives it; skips: a request goes on without it where it cannot be had
    each      kinds of media of which each one has a value: then it is a list
    item      what stands in that list; None: what was found
    cleanup   the request that undoes it when its scope ends; undone_with: the values it mentions
    """

    name: str
    scope: str
    flow: Callable[[Env], Flow]
    refresh_for: frozenset[str]
    refresh_before: float
    refresh_after: int | None
    prefetch: bool
    persist: bool
    when: Condition | None
    secret: bool
    needs: frozenset[str]
    fingerprint: str
    outputs: tuple[str, ...] = ()
    parallel: int = 4
    proxy: Template | None = None
    place: str = ""
    cleanup: Plan | None = None
    undone_with: frozenset[str] = frozenset()
    asks: bool = False
    skips: bool = False
    each: frozenset[str] = frozenset()
    item: Tree | None = None

    def masked(self, content: str | dict[str, str]) -> object:
        """What templates see of it: Secrets, or plain text with `secret: false`."""
        name = f"values.{self.name}"
        if not self.secret:
            return content
        if isinstance(content, str):
            return Secret(content, name)
        return {key: Secret(text, f"{name}.{key}") for key, text in content.items()}


def fetch(
    name: str,
    plan: Plan,
    steps: dict[str, list[Step]] | list[Step],
    ttl: Callable[[HttpResponse, str | dict[str, str], float], float | None],
    *,
    login: bool = False,
    judge: Judge | None = None,
    told: Callable[[HttpResponse], str] = lambda response: "",
) -> Callable[[Env], Flow]:
    """The flow of a value with one request. login: who is refused has wrong credentials; judge:
    what an answer that failed means, where the route's error rules say it; told: what it says."""

    def flow(env: Env) -> Flow:
        response = yield plan.render(env)
        judged = judge(response, env, _now(env)) if judge else None
        if judged is not None:
            raise judged.error()
        if response.status >= 400:
            refused = login and response.status in REFUSED
            raise ExchangeError(
                "auth_invalid" if refused else "unavailable",
                f"value `{name}` could not be fetched: status {response.status}",
                status=response.status,
                said=told(response),
            )
        try:
            content, expires = _outputs(name, steps, response, env)
        except ExchangeError as error:
            error.said = told(response)
            raise
        lasts = ttl(response, content, _now(env))
        return Found(content, expires if expires is not None else lasts)

    return flow


def _now(env: Env) -> float:
    now = env.get("_now")
    return now if isinstance(now, float) else 0.0


def fetched(name: str, source: Fetching) -> ValuePlan:
    """The value behind accounts whose parts are fetched."""

    def flow(env: Env) -> Flow:
        granted = yield from source.flow(env)
        return Found(granted.parts, granted.expires_in, granted.renew_in)

    return ValuePlan(
        name=name,
        scope="account",
        flow=flow,
        refresh_for=source.refresh_for,
        refresh_before=source.refresh_before,
        refresh_after=None,
        prefetch=False,
        persist=source.persist,
        when=None,
        secret=True,
        needs=frozenset(),
        fingerprint=source.fingerprint,
        outputs=source.outputs,
        place=source.place,
    )


def _outputs(
    name: str, steps: dict[str, list[Step]] | list[Step], response: HttpResponse, env: Env
) -> tuple[str | dict[str, str], float | None]:
    if isinstance(steps, list):
        return _first(name, steps, response, env)
    outputs = {
        output: str(_first(f"{name}.{output}", alternatives, response, env)[0])
        for output, alternatives in steps.items()
    }
    return outputs, None


def _first(
    name: str, steps: list[Step], response: HttpResponse, env: Env
) -> tuple[str | dict[str, str], float | None]:
    for step in steps:
        found = step(response, env)
        if isinstance(found, Value):
            return found.content, found.expires_in
        if found:
            return found, None
    raise ExchangeError("unavailable", f"value `{name}` was not found in the answer")


def produced(
    name: str, make: MakeProducer, ttl: float | None, base_url: str, hosts: Collection[str]
) -> Callable[[Env], Flow]:
    """The flow of a value that a transform's `produce` makes: at most MAX_REQUESTS requests.

    They go to `base_url`, or to one of `hosts`.
    """

    def flow(env: Env) -> Flow:
        conversation = make(env)
        try:
            request = next(conversation)
            for _ in range(MAX_REQUESTS):
                answer = yield _confined(request, base_url, hosts)
                request = conversation.send(answer)
        except StopIteration as stop:
            made = _checked(stop.value)
            if isinstance(made, Value):
                return Found(made.content, ttl if made.expires_in is None else made.expires_in)
            if not made:
                raise ExchangeError("unavailable", f"value `{name}` came out empty") from None
            return Found(made, ttl)
        raise ExchangeError("fatal", f"value `{name}` asked for more than {MAX_REQUESTS} requests")

    return flow


def _confined(request: HttpRequest, base_url: str, hosts: Collection[str]) -> HttpRequest:
    """The request with a whole URL, if it goes where the route or the transform's HOSTS say."""
    if "://" not in request.url:
        return replace(request, url=f"{base_url.rstrip('/')}/{request.url.lstrip('/')}")
    wanted, own = urlsplit(request.url), urlsplit(base_url)
    if wanted.netloc == own.netloc or {wanted.netloc, wanted.hostname} & set(hosts):
        return request
    raise ExchangeError("fatal", f"a transform calls `{wanted.hostname}`, which its HOSTS lack")


def _checked(made: object) -> Extracted | None:
    """What a transform gave, if it is what the contract says."""
    content = made.content if isinstance(made, Value) else made
    parts = content.values() if isinstance(content, dict) else [content]
    if made is not None and not all(isinstance(part, str) for part in parts):
        raise ExchangeError("fatal", "a transform gave neither text nor named texts for a value")
    return made  # type: ignore[return-value] # just checked


# ---- extraction ----


def compile_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    """One step with its `then`. `extractor` makes the transform that the step names."""
    step = _BY_KEY[_key_of(spec)](spec, extractor)
    if spec.then is None:
        return step
    rest = compile_step(spec.then, extractor)

    def chain(response: HttpResponse, env: Env) -> Extracted | None:
        found = step(response, env)
        content = found.content if isinstance(found, Value) else found
        if not isinstance(content, str):
            return None
        return rest(replace(response, body=content.encode()), env)

    return chain


def _key_of(spec: StepSpec) -> str:
    return next(key for key in StepSpec.ONE_OF if getattr(spec, key) is not None)


def _json_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    find = spec.json.first if spec.json else lambda value: None

    def step(response: HttpResponse, env: Env) -> Extracted | None:
        try:
            found = find(loads(response.body))
        except JsonError:
            return None
        return _as_text(found)

    return step


def _as_text(value: object) -> str | None:
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return None
    return str(value)


def _regex_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    pattern = spec.regex
    assert pattern is not None

    def step(response: HttpResponse, env: Env) -> Extracted | None:
        hit = pattern.search(response.body[:MAX_BODY].decode("utf-8", "replace"))
        return None if hit is None else hit.group(1 if pattern.groups else 0)

    return step


def _header_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    name = spec.header or ""
    return lambda response, env: response.header(name)


def _cookie_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    name = spec.cookie or ""
    return lambda response, env: cookie_of(response, name)


def cookie_of(response: HttpResponse, name: str) -> str | None:
    """The value of a cookie that the answer sets (RFC 6265, section 5.2), without its quotes."""
    for key, line in response.headers:
        if key.lower() == "set-cookie":
            found, _, value = line.partition(";")[0].partition("=")
            if found.strip() == name:
                return value.strip().strip('"')
    return None


def _claim_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    name = spec.jwt_claim or ""
    return lambda response, env: _as_text(claim(response.body.decode("utf-8", "replace"), name))


def claim(token: str, name: str) -> Any:
    """A claim of a JWT's payload (RFC 7519), None if absent. The signature is not checked."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        payload = loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return payload.get(name) if isinstance(payload, dict) else None


def _body_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    return lambda response, env: response.body[:MAX_BODY].decode("utf-8", "replace").strip()


def _transform_step(spec: StepSpec, extractor: MakeExtractor | None) -> Step:
    assert extractor is not None
    return lambda response, env: _checked(extractor(env)(response))


_BY_KEY: dict[str, Callable[[StepSpec, MakeExtractor | None], Step]] = {
    "json": _json_step,
    "regex": _regex_step,
    "header": _header_step,
    "cookie": _cookie_step,
    "jwt_claim": _claim_step,
    "body": _body_step,
    "transform": _transform_step,
}


# ---- how long it is good ----


def compile_ttl(
    spec: ValueSpec,
) -> Callable[[HttpResponse, str | dict[str, str], float], float | None]:
    """(answer, content, now) -> seconds, or None for a value that never expires by itself."""
    ttl = spec.ttl
    if not isinstance(ttl, TtlSpec):
        constant = None if ttl is None else float(ttl)
        return lambda response, content, now: constant

    def lasts(response: HttpResponse, content: str | dict[str, str], now: float) -> float | None:
        found = _told(ttl, response, content, now)
        if found is None:
            return float(ttl.max) if ttl.max is not None else None
        found -= float(ttl.minus)
        return max(0.0, min(found, float(ttl.max)) if ttl.max is not None else found)

    return lasts


def _told(
    ttl: TtlSpec, response: HttpResponse, content: str | dict[str, str], now: float
) -> float | None:
    if ttl.jwt is not None:
        texts = [content] if isinstance(content, str) else list(content.values())
        found = next((c for text in texts if (c := claim(text, ttl.jwt)) is not None), None)
        expiry = _number(found)
        return None if expiry is None else expiry - now
    try:
        return _number(ttl.json.first(loads(response.body)) if ttl.json else None)
    except JsonError:
        return None


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) else None
