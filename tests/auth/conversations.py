"""Options of an identity service's client, and flows played without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from engine.auth.assertions import ACCOUNT
from engine.auth.oauth import (
    AUTHORIZE,
    TOKEN,
    Exchange,
    ExchangeRequest,
    OAuth2,
    OAuthRule,
)
from engine.auth.steps import Client, Flow, Keep, Pause, Recall, Show
from engine.auth.tokens import Tokens, kept
from engine.options import Secret, Selector, Template
from engine.route.pick import compile_match, compile_path
from engine.route.template import compile_template
from engine.wire import HttpRequest, HttpResponse, dumps

NOW = 1_700_000_000.0
TOKEN_URL = "https://id.example/token"


def template(source: str, roots: tuple[str, ...] = ACCOUNT) -> Template:
    known = {root.partition(".")[0]: None for root in roots if root != "="}
    return compile_template(source, dict.fromkeys(known))


def templates(given: dict[str, str]) -> dict[str, Template]:
    return {name: template(text, (*AUTHORIZE, *TOKEN)) for name, text in given.items()}


def options(**given: Any) -> OAuth2:
    """A client that refreshes; paths, templates and rules are written as text."""
    spec: dict[str, Any] = {
        "flow": "refresh_token", "token_url": TOKEN_URL, "client_id": "me",
        "client_secret": Secret("s3cret"), "refresh_token": Secret("first"), **given,
    }  # fmt: skip
    for name in ("authorize_params", "device_params", "token_params", "token_headers"):
        if name in spec:
            spec[name] = templates(spec[name])
    if "take" in spec:
        spec["take"] = {name: compile_path(path) for name, path in spec["take"].items()}
    if "errors" in spec:
        spec["errors"] = [rule(**each) for each in spec["errors"]]
    return OAuth2(**spec)


def rule(*, as_: str, status: list[int] | None = None, match: Any = None) -> OAuthRule:
    selector = Selector(match, compile_match(match)) if match is not None else None
    return OAuthRule(status=status or [], match=selector, as_=as_)


def exchange(**take: str) -> Exchange:
    paths = {name: compile_path(path) for name, path in take.items()}
    return Exchange(request=ExchangeRequest(url="https://id.example/key"), take=paths)


def _key_request(env: Any) -> HttpRequest:
    token = env["oauth"]["access_token"]
    return HttpRequest("GET", "https://id.example/key", (), (("accessToken", token),))


def client(given: OAuth2) -> Client:
    return Client(given, "default", _key_request if given.exchange else None, "log in, please")


def says(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpResponse(status, pairs, body if isinstance(body, bytes) else dumps(body))


def grants(access: str, refresh: str = "", **more: Any) -> HttpResponse:
    found = {"access_token": access, "token_type": "Bearer", "expires_in": 3600, **more}
    return says(found | ({"refresh_token": refresh} if refresh else {}))


Server = Callable[[HttpRequest, dict[str, str]], HttpResponse | Exception]


@dataclass
class Played:
    """What a flow asked for, in order."""

    store: dict[str, object] | None = None
    requests: list[HttpRequest] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    shown: list[Show] = field(default_factory=list)
    tokens: Tokens | None = None

    @property
    def fields(self) -> list[dict[str, str]]:
        return [fields_of(request) for request in self.requests]


def fields_of(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


Look = Callable[[], dict[str, object] | None]


def play(flow: Flow, server: Server, store: Tokens | Look | None = None) -> Played:
    """Drive a flow to its end. The server answers, or gives an exception of the network.

    store: what is kept, or a function that tells at each look what others have kept.
    """
    played = Played(kept(store) if isinstance(store, Tokens) else None)
    look = None if isinstance(store, Tokens) else store
    answer: Any = None
    try:
        step = next(flow)
        while True:
            answer = look() if look and isinstance(step, Recall) else _answer(step, server, played)
            played.steps.append(type(step).__name__)
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as stop:
        played.tokens = stop.value
    return played


def _answer(step: Any, server: Server, played: Played) -> Any:
    match step:
        case Recall():
            return played.store
        case Keep(tokens=tokens):
            played.store = kept(tokens)
        case Pause(seconds=seconds):
            played.pauses.append(seconds)
        case Show():
            played.shown.append(step)
        case HttpRequest():
            played.requests.append(step)
            return server(step, fields_of(step))
    return None
