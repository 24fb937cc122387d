"""Fixtures: recorded conversations with an upstream, and what a client must see of them.

A fixture is YAML, read as strictly as a route. It drives the replay in memory, the replay through
sockets and `penstock mock` alike. Requests are compared after parsing: named fields strictly, the
rest freely, unless `exact: true`.

    "«any»"    any value          "«uuid»"   a UUID          "/re/"   a pattern
    "«name»"   any text, but the same wherever the name stands in the fixture, and another one
               than every other name stands for
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from engine.dialects import DIALECTS, HERE, Target
from engine.errors import ConfigError, Problem, RequestError
from engine.options import Duration, Tree, option
from engine.parsers import FramingError
from engine.parsers.frames import Frames, frames_parser, framing
from engine.parsers.websocket import encoded
from engine.route.nodes import read
from engine.route.reader import WRONG, Reader
from engine.route.references import Outside, Resolver
from engine.wire import Headers, HttpRequest, JsonError, SocketMessage, dumps, loads

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSpec:
    dialect: str = option("openai_chat", "the client's dialect")
    json: dict[str, Any] = option(doc="the body it sends")
    path: str | None = option(
        None,
        "where it sends it, for dialects that name model and stream there",
        example="/v1beta/models/m:streamGenerateContent?alt=sse",
    )
    headers: dict[str, str] = option({}, "headers it sends")
    times: int = option(1, "how often it asks, one after the other")
    then: list[dict[str, Any]] = option(
        [], "further bodies, one after the other, each written over the first one's top level"
    )
    wait: Duration = option(Duration(0.0), "how long it waits before each further request")

    @property
    def target(self) -> Target:
        """What its path says of model and stream."""
        parts = urlsplit(self.path or "")
        locate = DIALECTS[self.dialect].locate
        found = locate("POST", parts.path) if locate is not None else None
        target = found[1] if found is not None else HERE
        return replace(target, query=dict(parse_qsl(parts.query)))

    @property
    def streams(self) -> bool:
        """Whether its first request asks for a stream."""
        try:
            headers = Headers.of(self.headers)
            return DIALECTS[self.dialect].parse(self.bodies()[0], headers, self.target).stream
        except RequestError:
            return False

    def bodies(self) -> list[bytes]:
        """What it sends, one request after the other."""
        asked = [self.json] * self.times
        return [dumps(body) for body in asked + [{**self.json, **more} for more in self.then]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectRequest:
    method: str | None = option(None, "the method")
    url: str | None = option(None, "the whole URL, or a path")
    query: dict[str, Any] = option({}, "query parameters")
    headers: dict[str, Any] = option({}, "headers; others may be there")
    absent: list[str] = option([], "headers that must not be there", lone=True)
    json: Any = option(None, "fields of a JSON body")
    form: dict[str, Any] = option({}, "fields of a form")
    body: str | None = option(None, "the body as text, or a pattern")
    frames: Frames | None = option(
        None, "the body is one frame of this form; `json` and `body` are about what is in it"
    )
    exact: bool = option(False, "no other fields may be there")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSpec:
    """One step of a conversation over a websocket: what we must say, or what the upstream does."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("expect", "json", "text", "base64", "close")

    expect: Any = option(None, "what must be said now: fields of a JSON message, or its text")
    json: Any = option(None, "the upstream says this, as JSON")
    text: str | None = option(None, "the upstream says this, as text")
    base64: str | None = option(None, "the upstream says this, in a binary message")
    close: int | None = option(None, "the upstream closes, with this code")
    reason: str = option("", "the reason it gives for that")
    at: int = option(0, "milliseconds since the upgrade, for `mock`")

    @property
    def message(self) -> SocketMessage | None:
        """What the upstream says, if it says something."""
        if self.base64 is not None:
            return SocketMessage(base64.b64decode(self.base64), text=False)
        if self.json is not None:
            return SocketMessage(dumps(self.json))
        return None if self.text is None else SocketMessage(self.text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySpec:
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("body", "json", "body_file", "base64", "frames")

    status: int = option(200, "status")
    headers: dict[str, str] = option({}, "headers")
    body: str | None = option(None, "the body as text")
    json: Any = option(None, "the body as JSON")
    body_file: str | None = option(None, "the body in a file beside the fixture")
    base64: str | None = option(None, "the body as bytes")
    frames: list[FrameSpec] | None = option(
        None, "the websocket is opened (status 101), and this is said on it, in order"
    )
    cuts: list[list[int]] = option([], "[offset, milliseconds since the request] of each piece")
    end: Literal["eof", "reset", "stall"] = option(
        "eof", "how the answer ends; `eof` of a websocket: it is closed with code 1000"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSpec:
    expect: ExpectRequest = option(ExpectRequest(), "what must be sent")
    reply: ReplySpec = option(ReplySpec(), "what comes back")
    repeat: int = option(1, "how often this exchange may happen")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectAnswer:
    """What the client must see of the answer to its last request."""

    status: int = option(200, "status the client sees")
    text: str | None = option(None, "the answer's text")
    reasoning: str | None = option(None, "the answer's thinking")
    finish: str | None = option(None, "finish reason")
    tool_calls: list[dict[str, Any]] | None = option(None, "calls: name and arguments")
    usage: dict[str, Any] = option({}, "input, output, estimated")
    error: dict[str, Any] = option(
        {}, "fields of the error as the client reads it: message, code, type; and its class"
    )
    upstream_calls: int | None = option(None, "requests the upstream saw")
    never_contains: list[str] = option([], "texts that must not appear in the answer", lone=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureSpec:
    """A fixture file."""

    fixture: Literal[1] = option(doc="the version of the format")
    route: str = option(doc="a route's name or file")
    note: str | None = option(None, "what it shows")
    env: dict[str, str] = option({}, "environment variables; fake secrets")
    files: dict[str, str] = option(
        {}, "files that the route reads, by the name it gives them; then it reads no others"
    )
    clock: float = option(1767225600.0, "epoch seconds at which the clock stands")
    seed: int = option(7, "seed of uuid4, rand_alnum and the like")
    tokens: dict[str, Tree] = option(
        {}, "OAuth logins that are there, by account: the fields of their file"
    )
    client: ClientSpec | None = option(None, "the client's request; without it only `mock` uses it")
    exchanges: list[ExchangeSpec] = option(doc="conversations with the upstream, in order")
    any_order: bool = option(False, "the exchanges may come in any order")
    expect: ExpectAnswer = option(ExpectAnswer(), "what the client must see")


@dataclass(frozen=True, slots=True)
class Fixture:
    """A fixture and the bodies of its replies."""

    file: str
    spec: FixtureSpec
    bodies: tuple[bytes, ...]


def read_fixture(source: bytes, file: str, sidecar: Callable[[str], bytes]) -> Fixture:
    """Raises ConfigError with every mistake. sidecar(name) gives a file beside the fixture."""
    problems: list[Problem] = []
    root = read(source, file, problems)
    spec: Any = WRONG
    if root is not None and root.get("version") is not None and root.get("fixture") is None:
        message = "this is a route, not a fixture: `penstock check` reads it"
        problems.append(root.keys["version"].problem("E102", message))
    elif root is not None:
        reader = Reader(Resolver(Outside(), root, problems), {}, problems)
        spec = reader.options(root, FixtureSpec, "")
    if spec is WRONG:
        raise ConfigError(problems)
    return Fixture(file, spec, tuple(_body(each.reply, sidecar, file) for each in spec.exchanges))


def _body(reply: ReplySpec, sidecar: Callable[[str], bytes], file: str) -> bytes:
    if reply.body_file is not None:
        try:
            return sidecar(reply.body_file)
        except OSError as error:
            message = f"cannot read `{reply.body_file}`: {error.strerror or error}"
            raise ConfigError([Problem(file, 0, 0, "E203", message)]) from None
    if reply.frames is not None:
        said = (frame.message for frame in reply.frames)
        return b"".join(encoded(message) for message in said if message is not None)
    if reply.base64 is not None:
        return base64.b64decode(reply.base64)
    if reply.json is not None:
        return dumps(reply.json)
    return (reply.body or "").encode()


# ---- comparing requests ----


@dataclass(slots=True)
class Matcher:
    """Compares requests with expectations; remembers what «names» stood for."""

    names: dict[str, str] = field(default_factory=dict)

    def differences(self, expect: ExpectRequest, request: HttpRequest) -> list[str]:
        """What is not as expected, in words; [] if all is, and only then are names learned."""
        known, out = dict(self.names), list[str]()
        self._same(expect.method, request.method, "method", out)
        self._url(expect, request, out)
        headers = {name.lower(): value for name, value in request.headers}
        wanted = {name.lower(): value for name, value in expect.headers.items()}
        self._within(wanted, headers, "header", out)
        out += [f"header {name} was sent" for name in expect.absent if name.lower() in headers]
        self._body(expect, request.body, out)
        if out:
            self.names = known
        return out

    def _body(self, expect: ExpectRequest, body: bytes, out: list[str]) -> None:
        if expect.frames is not None:
            body = _inside(expect.frames, body, out)
        text = body.decode("utf-8", "replace")
        if expect.json is not None:
            self._tree(expect.json, _json(body), "json", expect.exact, out)
        if expect.form:
            pairs = dict(parse_qsl(text, keep_blank_values=True))
            self._tree(expect.form, pairs, "form", expect.exact, out)
        if expect.body is not None:
            self._same(expect.body, text, "body", out)

    def message(self, expect: Any, message: SocketMessage | None) -> list[str]:
        """What is not as expected in a message on a websocket; None: there was none."""
        out: list[str] = []
        if message is None:
            return [f"a message should be {expect!r}, none was sent"]
        if isinstance(expect, str):
            self._same(expect, message.data.decode("utf-8", "replace"), "a message", out)
        else:
            self._tree(expect, _json(message.data), "message", False, out)
        return out

    def _url(self, expect: ExpectRequest, request: HttpRequest, out: list[str]) -> None:
        if expect.url is not None:
            whole = urlsplit(request.url)
            got = request.url if "://" in expect.url else whole.path
            self._same(expect.url, got, "url", out)
        query = dict(parse_qsl(urlsplit(request.url).query)) | dict(request.query)
        self._within(expect.query, query, "query", out)

    def _within(
        self, wanted: Mapping[str, Any], got: Mapping[str, Any], what: str, out: list[str]
    ) -> None:
        for name, value in wanted.items():
            if name not in got:
                out.append(f"{what} {name} is missing")
            else:
                self._same(value, got[name], f"{what} {name}", out)

    def _tree(self, wanted: Any, got: Any, place: str, exact: bool, out: list[str]) -> None:
        if isinstance(wanted, dict) and isinstance(got, dict):
            for key, value in wanted.items():
                if key not in got:
                    out.append(f"{place}.{key} is missing")
                else:
                    self._tree(value, got[key], f"{place}.{key}", exact, out)
            if exact:
                out += [f"{place}.{key} is unexpected" for key in got if key not in wanted]
        elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
            for at, (left, right) in enumerate(zip(wanted, got, strict=True)):
                self._tree(left, right, f"{place}[{at}]", exact, out)
        else:
            self._same(wanted, got, place, out)

    def _same(self, wanted: Any, got: Any, what: str, out: list[str]) -> None:
        if wanted is not None and not self.fits(wanted, got):
            out.append(f"{what} should be {wanted!r}, is {repr(got)[:300]}")

    def fits(self, wanted: Any, got: Any) -> bool:
        """Whether a value is what was wanted, a matcher perhaps."""
        if not isinstance(wanted, str):
            return bool(wanted == got and isinstance(wanted, bool) is isinstance(got, bool))
        if wanted == "«any»":
            return got is not None
        if wanted == "«uuid»":
            return isinstance(got, str) and _UUID.fullmatch(got) is not None
        if wanted.startswith("«") and wanted.endswith("»"):
            return isinstance(got, str) and self._named(wanted, got)
        if (
            len(wanted) > 2
            and wanted.startswith("/")
            and wanted.endswith("/")
            and isinstance(got, str)
        ):
            return wanted == got or re.search(wanted[1:-1], got, re.S) is not None
        return bool(wanted == got)

    def _named(self, name: str, got: str) -> bool:
        if name not in self.names and got not in self.names.values():
            self.names[name] = got
        return self.names.get(name) == got


def _inside(frames: Frames, body: bytes, out: list[str]) -> bytes:
    """What the one frame of a body holds."""
    try:
        records = frames_parser(frames).feed(body)
    except FramingError:
        records = []
    if records and framing(frames)(records[0].data) == body:
        return records[0].data
    out.append("body should be one frame")
    return b""


def _json(body: bytes) -> Any:
    try:
        return loads(body)
    except JsonError:
        return None
