"""Transforms at work: fresh instances for an attempt, their methods called, their answers checked.

Whatever a transform raises by mistake, and whatever it answers against its contract, is class
`fatal`. `patch` and `sign` may not lead a request to another host, nor `sign` change its body.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from engine.chat import ChatRequest
from engine.errors import OUTCOMES, ExchangeError, PenstockError
from engine.events import ErrorEvent, Event
from engine.options import Condition, Env, Secret, Template
from engine.transform import Context, Model
from engine.wire import HttpRequest, HttpResponse

from .transforms import Loaded, instantiate

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Stage:
    """One item of `transforms:`: loaded, its options built, perhaps with a condition."""

    loaded: Loaded
    options: object
    when: Condition | None

    def has(self, *methods: str) -> bool:
        return any(method in self.loaded.methods for method in methods)


Working = Sequence[tuple[Stage, Any]]  # stages with their instances, in list order
Step = Callable[[Any], list[Any]]

SLOW, TOO_SLOW = 0.05, 0.5  # seconds of one call: told, and the end of the attempt
ONE_CALL = ("shape", "patch", "sign", "classify", "finish")  # methods called once per attempt


# ---- instances ----


def context_of(
    env: Env,
    request: ChatRequest | None = None,
    attempt: int = 1,
    previous: str | None = None,
) -> Context:
    """What a transform may know, out of the variables of the route's templates."""
    known: Any = env.get
    model = known("model")
    return Context(
        route=known("_route", ""),
        attempt=attempt,
        previous=previous,
        request=request,
        model=Model(model["id"], model["upstream"], model.get("max_output")) if model else None,
        account=known("account") or {},
        values=_secrets(known("values") or {}),
        session=known("session") or {},
        recalled=known("_recalled") or {},
        vars=known("vars") or {},
        let=known("let") or {},
        now=known("_now", 0.0),
        random=env["_random"],  # type: ignore[arg-type]
    )


def _secrets(values: Mapping[str, object]) -> dict[str, Secret]:
    """Fetched values as Secrets; the parts of one are `name.part`."""
    found: dict[str, Secret] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _secrets({f"{name}.{part}": text for part, text in value.items()})
        else:
            found[name] = value if isinstance(value, Secret) else Secret(str(value), name)
    return found


def make_transform(loaded: Loaded, options: object, env: Env, context: Context) -> Any:
    """An instance whose templates and conditions are bound to the attempt."""
    return call(loaded.name, "__init__", instantiate, loaded, _bound(options, env), context)


def _bound(value: Any, env: Env) -> Any:
    if isinstance(value, Template | Condition):
        return value.bind(env)
    if isinstance(value, list):
        return [_bound(item, env) for item in value]
    if isinstance(value, dict):
        return {key: _bound(item, env) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return dataclasses.replace(value, **{name: _bound(old, env) for name, old in fields.items()})


@dataclass(frozen=True, slots=True)
class Budget:
    """How long one call may take; a call cannot be interrupted, only its result be dropped.

    clock   monotonic seconds
    tell    told transform, method and seconds of a call that was slow, by these names
    """

    clock: Callable[[], float]
    tell: Callable[..., None]

    def timed(self, name: str, method: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured. Raises ExchangeError `fatal` when it took too long."""

        def run(*args: Any) -> Any:
            begun = self.clock()
            made = function(*args)
            seconds = self.clock() - begun
            if seconds >= SLOW:
                self.tell(transform=name, method=method, seconds=round(seconds, 3))
            if seconds >= TOO_SLOW:
                raise ExchangeError("fatal", f"transform `{name}` took too long in `{method}`")
            return made

        return run


class Measured:
    """An instance whose rare methods are measured; those per record or event are its own."""

    def __init__(self, stage: Stage, made: Any, budget: Budget) -> None:
        for method in stage.loaded.methods:
            function = getattr(made, method)
            if method in ONE_CALL:
                function = budget.timed(stage.loaded.name, method, function)
            setattr(self, method, function)


# ---- requests ----


def shape(working: Working, chat: ChatRequest) -> ChatRequest:
    """The conversation after every transform's `shape`, in list order.

    What was dropped is kept in the request's own list, which the client is told of in the end.
    """
    dropped = chat.dropped
    for stage, made in working:
        if stage.has("shape"):
            chat = call(stage.loaded.name, "shape", made.shape, chat, gives=ChatRequest)
    if chat.dropped is not dropped:
        dropped += [name for name in chat.dropped if name not in dropped]
        chat = dataclasses.replace(chat, dropped=dropped)
    return chat


def patch(working: Working, request: HttpRequest) -> HttpRequest:
    """The request after every `patch`."""
    for stage, made in working:
        if stage.has("patch"):
            name = stage.loaded.name
            patched = call(name, "patch", made.patch, request, gives=HttpRequest)
            request = _confined(name, request, patched)
    return request


def sign(working: Working, request: HttpRequest) -> HttpRequest:
    """The request after every `sign`, which may add headers and query parameters only."""
    for stage, made in working:
        if stage.has("sign"):
            name = stage.loaded.name
            signed = call(name, "sign", made.sign, request, gives=HttpRequest)
            if (signed.body, signed.method) != (request.body, request.method):
                raise ExchangeError("fatal", f"transform `{name}` changed what it was to sign")
            request = _confined(name, request, signed)
    return request


def _confined(name: str, before: HttpRequest, after: HttpRequest) -> HttpRequest:
    lines = [after.method, after.url, *(text for pair in after.query for text in pair)]
    lines += [text for pair in after.headers for text in pair]
    if any(_CONTROL.search(line) for line in lines):
        message = f"transform `{name}` would put a control character into the request"
        raise ExchangeError("invalid_request", message)
    if after.url != before.url and urlsplit(after.url)[:2] != urlsplit(before.url)[:2]:
        raise ExchangeError("fatal", f"transform `{name}` led the request to another host")
    return after


# ---- answers ----


def classify(working: Working, response: HttpResponse) -> ErrorEvent | None:
    """The outcome that the first transform with something to say gives an answer."""
    for stage, made in working:
        if not stage.has("classify"):
            continue
        name = stage.loaded.name
        cls = call(name, "classify", made.classify, response, gives=str | None)
        if cls is not None and cls not in OUTCOMES:
            raise ExchangeError("fatal", f"transform `{name}` gave an unknown class in `classify`")
        if cls is not None:
            return ErrorEvent(cls, "the upstream refused the request", response.status)
    return None


def record_steps(working: Working) -> list[Step]:
    """`feed_record` of those that have it."""
    return [
        guarded(stage.loaded.name, "feed_record", made.feed_record)
        for stage, made in working
        if stage.has("feed_record")
    ]


def event_steps(working: Working) -> list[tuple[Step | None, Callable[[], list[Event]] | None]]:
    """(feed, finish) of those that have one of them."""
    return [
        (
            guarded(stage.loaded.name, "feed", made.feed) if stage.has("feed") else None,
            guarded(stage.loaded.name, "finish", made.finish) if stage.has("finish") else None,
        )
        for stage, made in working
        if stage.has("feed", "finish")
    ]


# ---- calls ----


def call(
    name: str, method: str, function: Callable[..., Any], *args: Any, gives: Any = object
) -> Any:
    """Run a method of a transform, which has to give an instance of `gives`."""
    try:
        made = function(*args)
    except PenstockError:
        raise
    except Exception as error:
        raise ExchangeError("fatal", f"transform `{name}` failed in `{method}`") from error
    if not isinstance(made, gives):
        raise ExchangeError("fatal", f"transform `{name}` broke the contract of `{method}`")
    return made


def guarded(name: str, method: str, function: Callable[..., Any]) -> Callable[..., list[Any]]:
    """`call` as a function of its own, for methods that run per record or event and give lists."""

    def run(*args: Any) -> list[Any]:
        try:
            made = function(*args)
            if made.__class__ is list:
                return made
        except PenstockError:
            raise
        except Exception as error:
            raise ExchangeError("fatal", f"transform `{name}` failed in `{method}`") from error
        raise ExchangeError("fatal", f"transform `{name}` broke the contract of `{method}`")

    return run
