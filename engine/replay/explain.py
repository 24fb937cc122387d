"""What a route would send: the exact requests for a client's request, secrets masked.

The same code renders as for a real call; only the fetched values are stand-ins and every secret
shows as «its name». No network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import unquote_plus, urlencode

from engine.dialects import DIALECTS, HERE, Dialect, Target
from engine.dialects.losses import why
from engine.errors import ExchangeError, RequestError
from engine.exchange.media import pretended
from engine.kept.uploads import pieces_of
from engine.masks import forms
from engine.options import OMIT, Blob, Env, Secret
from engine.route.polling import Pace
from engine.route.route import Offer, Route, shape
from engine.route.stages import Working
from engine.route.template import RenderError
from engine.route.values import ValuePlan
from engine.route.view import Asked, view
from engine.wire import Headers, HttpRequest, SocketMessage, loads

_MASK = re.compile(r"«([^«»]+)»")
_QUOTED_MASK = re.compile(r"%C2%AB((?:[\w.-]|%[2-7][0-9A-F])+)%C2%BB")  # in a form or query


@dataclass(frozen=True, slots=True)
class Step:
    """One request: `what` is "main", or its place in the route: "values.NAME", "request.poll".

    says    messages that a websocket begins with; later: those that follow, in words
    """

    what: str
    request: HttpRequest
    says: tuple[SocketMessage, ...] = ()
    later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """steps in the order of sending; notes say what holds beside them."""

    steps: list[Step]
    notes: list[str]


def explain(
    route: Route,
    body: bytes,
    *,
    dialect: str = "openai_chat",
    target: Target = HERE,
    now: float,
    seed: int = 0,
) -> Explanation:
    """target: model and stream, for a dialect whose body does not hold them.

    Raises RequestError or ExchangeError if the request would be refused.
    """
    try:
        return _explain(route, body, DIALECTS[dialect], target, now, Random(seed))
    except RenderError as error:
        raise ExchangeError("fatal", f"the route cannot be rendered: {error}") from None


def _explain(
    route: Route, body: bytes, client: Dialect, target: Target, now: float, random: Random
) -> Explanation:
    chat = client.parse(body, Headers(), target)
    offer = _offer(route, chat.model)
    chat, fetched = pretended(route, offer.profile, chat)
    asked = Asked(f"req_{random.getrandbits(96):024x}", lambda: chat, chat.stream)
    env = route.variables(asked, offer, now, random)
    env["_mask"] = True
    env["account"] = _stand_ins(route)
    if route.session is not None:
        env["session"] = {**route.session.state(env), "id": "«session»"}
    steps = list(_value_steps(route, env))
    transforms = route.transforms(env, route.context(asked, env, 1, None))
    streams = route.streams(chat.stream)
    shaped = shape(transforms, chat)
    env["req"] = view(asked.with_chat(shaped, stream=streams), route.names)
    passes = route.passthrough and offer.passes and route.dialect is client
    scan = client.scan(body, target) if passes else None
    spliced = None if scan is None else client.splice(body, scan, offer.model.upstream, streams)
    written = dataclasses.replace(shaped, stream=streams)
    steps.append(_main_step(route, route.render(env, written, transforms, spliced), env))
    steps += _job_steps(route, env, transforms)
    steps += _cleanup_steps(route, env)
    return Explanation(
        [_masked(step, route) for step in steps],
        list(_notes(route, offer, streams, spliced is not None, written.dropped, fetched)),
    )


def _main_step(route: Route, request: HttpRequest, env: Env) -> Step:
    if route.talk is None:
        return Step("main", request)
    return Step("main", request, tuple(route.talk(env).begin()), tuple(route.talk.told(env)))


def _stand_ins(route: Route) -> dict[str, Secret]:
    """The account's parts under their names: a transform that reveals one gets no more."""
    account = route.account if route.account is not None else {"key": Secret("", "client key")}
    shown = {name: Secret(repr(secret), secret.name) for name, secret in account.items()}
    fetched = next((each.fetched for each in route.roster.accounts), "")
    if fetched:
        for name in route.values[fetched].outputs or ("key",):
            shown[name] = Secret(f"«account.{name}»", f"account.{name}")
    return shown


def _offer(route: Route, model: str) -> Offer:
    name = model.removeprefix(f"{route.name}/")
    found = route.offer(name)
    if found is None:
        known = ", ".join(sorted(route.offers))
        raise RequestError("model_not_found", f"route {route.name} offers: {known}", param="model")
    return found


def _value_steps(route: Route, env: dict[str, object]) -> list[Step]:
    """The first request of each value that would be fetched; stand-ins take their place."""
    steps: list[Step] = []
    values: dict[str, object] = {}
    env["values"] = values
    for name in route.wanted:
        plan = route.values[name]
        if plan.when is not None and not plan.when.test(env):
            continue
        with contextlib.suppress(StopIteration, ExchangeError):
            if plan.asks:
                continue
            if plan.each:
                values[name] = list(_uploads(plan, env, steps))
                continue
            steps.append(Step(f"values.{name}", next(plan.flow(env))))
        values[name] = _value(f"values.{name}", plan.outputs)
    return steps


def _uploads(plan: ValuePlan, env: dict[str, object], steps: list[Step]) -> Iterator[object]:
    """One request for each picture or file; what its bytes are is told in words."""
    asked, name = env["_asked"], f"values.{plan.name}"
    assert isinstance(asked, Asked)
    for number, piece in enumerate(pieces_of(asked, plan.each).values()):
        content = piece.view["content"]
        assert isinstance(content, Blob)
        told = Blob(repr(content).encode(), content.name, content.mime)
        own = {**env, "media": {**piece.view, "content": told}}
        own["found"] = found = _value(f"{name}[{number}]", plan.outputs)
        steps.append(Step(f"{name}[{number}]", next(plan.flow(own))))
        made = found if plan.item is None else plan.item.render(own)
        if made is not OMIT:
            yield made


def _job_steps(route: Route, env: dict[str, object], transforms: Working) -> Iterator[Step]:
    """What asks for the job that the main request makes."""
    plan = route.poll
    if plan is None:
        return
    env["poll"] = {name: _value(f"poll.{name}", ()) for name, _ in (*plan.finds, *plan.last)}
    for place, follow in plan.follows.items():
        yield Step(place, route.follow(env, follow, transforms))


def _cleanup_steps(route: Route, env: dict[str, object]) -> list[Step]:
    """What is undone in the end, of the values that would be fetched."""
    values = env["values"]
    assert isinstance(values, dict)
    return [
        Step(f"values.{name}.cleanup", plan.cleanup.render(env))
        for name, plan in route.values.items()
        if plan.cleanup is not None and name in values
    ]


def _value(name: str, outputs: tuple[str, ...]) -> object:
    if outputs:
        return {part: _value(f"{name}.{part}", ()) for part in outputs}
    return Secret(f"«{name}»", name)


def _masked(step: Step, route: Route) -> Step:
    """The step without what `vars`, a URL or a transform brought in from outside as plain text."""
    for secret in (*route.references.values(), *(route.account or {}).values()):
        if isinstance(secret, Secret):
            step = _without(secret, step)
    return step


def _without(secret: Secret, step: Step) -> Step:
    found = sorted(forms(secret.reveal()), key=len, reverse=True)

    def clean(text: str) -> str:
        for form in found:
            text = text.replace(form.decode(), repr(secret))
        return text

    def cleaned(data: bytes) -> bytes:
        for form in found:
            data = data.replace(form, repr(secret).encode())
        return data

    request = dataclasses.replace(
        step.request,
        url=clean(step.request.url),
        headers=tuple((name, clean(value)) for name, value in step.request.headers),
        query=tuple((name, clean(value)) for name, value in step.request.query),
        body=cleaned(step.request.body),
    )
    says = (dataclasses.replace(each, data=cleaned(each.data)) for each in step.says)
    return Step(step.what, request, tuple(says), tuple(map(clean, step.later)))


def _pace(pace: Pace) -> str:
    if pace.factor == 1:
        return f"every {pace.initial:g} s"
    return f"after {pace.initial:g} s, then ever later, up to every {pace.max:g} s"


def _notes(
    route: Route, offer: Offer, streams: bool, passed: bool, dropped: list[str], fetched: int
) -> list[str]:
    spec = route.spec
    notes = [
        f"route {route.name} ({route.file}), model {offer.model.id} sent as {offer.model.upstream}",
        f"the upstream is asked {'to stream' if streams else 'for a whole answer'}",
        f"up to {spec.retry.attempts} attempts, in all {spec.timeouts.total:g} s",
        f"connect {spec.timeouts.connect:g} s, first event {spec.timeouts.first_byte:g} s",
        f"between events {spec.timeouts.idle:g} s",
    ]
    if route.plan.timeout is not None:
        notes.append(f"the request and its answer take at most {route.plan.timeout:g} s")
    if route.poll is not None:
        notes.append(f"its job is asked for {_pace(route.poll.pace)}, until it is done")
        if hosts := route.poll.ask.hosts:
            names = ", ".join(place.host for place in hosts)
            notes.append(
                f"to {names} go no credentials, though they are shown where a URL may lead"
            )
    if spec.request is not None and spec.request.frames is not None:
        notes.append(
            "the body is put into a length-prefixed frame (request.frames), not shown here"
        )
    asks = ((name, spec.values[name].ask) for name in route.wanted if name in spec.values)
    notes += [f"values.{name}: {ask.model} is asked first" for name, ask in asks if ask]
    if fetched:
        notes.append(f"media named by URL and fetched first: {fetched}; stand-ins take their place")
    if passed:
        notes.append("passed through: the client's bytes, with the model's name put in")
    if dropped:
        notes += [f"dropped: {name} ({why(name)})" for name in dropped]
    return notes


# ---- ways to show it ----


def as_http(explanation: Explanation) -> str:
    """Requests as they look on the wire."""
    blocks = [f"# {note}" for note in explanation.notes]
    for step in explanation.steps:
        request = step.request
        lines = ["", f"# {step.what}", f"{request.method} {_url(request)}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        body = "\n".join(_spoken(step)) if step.says or step.later else _body(request)
        blocks.append("\n".join(lines) + (f"\n\n{body}" if body else ""))
    return "\n".join(blocks)


def _spoken(step: Step) -> list[str]:
    """What is said on a websocket, a line each."""
    out = [f"> {message.data.decode('utf-8', 'replace')}" for message in step.says]
    return out + [f"# {words}" for words in step.later]


def as_json(explanation: Explanation) -> str:
    """The same as one JSON document."""
    steps = [
        {
            "what": step.what,
            "method": step.request.method,
            "url": _url(step.request),
            "headers": [list(pair) for pair in step.request.headers],
            "body": _parsed(step.request),
            **_messages(step),
        }
        for step in explanation.steps
    ]
    whole = {"notes": explanation.notes, "requests": steps}
    return json.dumps(whole, ensure_ascii=False, indent=2)


def _messages(step: Step) -> dict[str, object]:
    if not step.says and not step.later:
        return {}
    says = [message.data.decode("utf-8", "replace") for message in step.says]
    return {"messages": [_read(text) for text in says], "later": list(step.later)}


def as_curl(explanation: Explanation) -> str:
    """Commands to paste; secrets are shell variables, named in the comment above."""
    blocks = [f"# {note}" for note in explanation.notes]
    for step in explanation.steps:
        if step.says or step.later:
            blocks.append(_websocat(step))
            continue
        request = step.request
        parts = ["curl", "-sS", "-X", request.method, _shell(_url(request))]
        for name, value in request.headers:
            parts += ["\\\n  -H", _shell(f"{name}: {value}")]
        body = _body(request, pretty=False)
        if body:
            parts += ["\\\n  --data-raw", _shell(body)]
        blocks.append(f"\n# {step.what}\n" + " ".join(parts))
    return "\n".join(blocks)


def _websocat(step: Step) -> str:
    """The command of a program that speaks websockets; what follows later is left to the reader."""
    request = step.request
    parts = ["websocat", "-n"]
    for name, value in request.headers:
        parts += ["\\\n  -H", _shell(f"{name}: {value}")]
    parts += ["\\\n ", _shell(_url(request))]
    said = [_shell(message.data.decode("utf-8", "replace")) for message in step.says]
    lines = [f"\n# {step.what}: curl speaks no websocket", *(f"# {words}" for words in step.later)]
    feed = [f"printf '%s\\n' {' '.join(said)} |"] if said else []
    return "\n".join([*lines, " ".join([*feed, *parts])])


FORMATS = {"http": as_http, "json": as_json, "curl": as_curl}


def _url(request: HttpRequest) -> str:
    return request.url + ("?" + _named(urlencode(request.query)) if request.query else "")


def _named(text: str) -> str:
    """The text with names of secrets as they are elsewhere, where they were encoded for a form."""
    return _QUOTED_MASK.sub(lambda hit: f"«{unquote_plus(hit[1])}»", text)


def _body(request: HttpRequest, *, pretty: bool = True) -> str:
    text = _named(request.body.decode("utf-8", "replace"))
    if pretty and text[:1] in ("{", "["):
        return json.dumps(loads(request.body), ensure_ascii=False, indent=2)
    return text


def _parsed(request: HttpRequest) -> object:
    return _read(request.body.decode("utf-8", "replace"))


def _read(text: str) -> object:
    return loads(text) if text[:1] in ("{", "[") else text


def _shell(text: str) -> str:
    """The text as one shell word in which «names» are variables."""
    parts = _MASK.split(text)
    words = [
        f'"${variable(part)}"' if at % 2 else (shlex.quote(part) if part else "")
        for at, part in enumerate(parts)
    ]
    return "".join(words) or "''"


def variable(name: str) -> str:
    """The shell variable that stands for a secret: `env:X` is X itself."""
    return re.sub(r"\W", "_", name.removeprefix("env:")).upper()
