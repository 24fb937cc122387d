"""Requests to the upstream, compiled: a CallSpec becomes a function from variables to HttpRequest.

URL, query, headers and body are checked for control characters on every rendering: what a client
wrote can fill a value, never a line of the protocol. Scheme and host stand in the route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode

from engine.errors import ExchangeError
from engine.options import OMIT, Blob, Env, Secret, Template, Tree
from engine.wire import HttpRequest, dumps, find_header

from .alike import once
from .http_spec import CallSpec

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A request, compiled. `render(env)` gives it; `body` alone may be replaced by the caller.

    frame   puts the body into a frame; what is only shown stays as it is
    """

    method: str
    url: Callable[[Env], str]
    query: Callable[[Env], Pairs]
    headers: Callable[[Env], Pairs]
    body: Callable[[Env], tuple[bytes, str]] | None
    timeout: float | None
    frame: Callable[[bytes], bytes] | None = None

    def render(self, env: Env, body: tuple[bytes, str] | None = None) -> HttpRequest:
        """body: (bytes, content type) instead of the route's own."""
        data, kind = body or (self.body(env) if self.body else (b"", ""))
        headers = self.headers(env)
        if kind and not any(name.lower() == "content-type" for name, _ in headers):
            headers = (("Content-Type", kind), *headers)
        if self.frame is not None and "_mask" not in env:
            data = self.frame(data)
        return HttpRequest(self.method, self.url(env), headers, self.query(env), data, self.timeout)

    def quick(
        self,
        env: Env,
        content: tuple[bytes, str] | None,
        headers: Pairs,
        queries: Pairs,
    ) -> HttpRequest:
        """The same with headers, and the query of credentials, that were rendered at load."""
        body, kind = content or (self.body(env) if self.body else (b"", ""))
        if kind and find_header(headers, "content-type") is None:
            headers = (("Content-Type", kind), *headers)
        query = self.query(env)
        body = body if self.frame is None else self.frame(body)
        return HttpRequest(self.method, self.url(env), headers, query + queries, body, self.timeout)


@once
def compile_request(
    spec: CallSpec,
    base_url: str,
    headers: Mapping[str, Template],
    default_method: str | None = None,
) -> Plan:
    """spec over the route's common headers; paths are appended to base_url."""
    bodies = (spec.json, spec.form, spec.multipart, spec.raw)
    has_body = any(body is not None for body in bodies)
    return Plan(
        method=spec.method or default_method or ("POST" if has_body else "GET"),
        url=_url(spec, base_url.rstrip("/")),
        query=pairs(spec.query, "query parameter"),
        headers=pairs(without_case({**headers}, spec.headers), "header"),
        body=_body(spec),
        timeout=float(spec.timeout) if spec.timeout is not None else None,
    )


def without_case(
    lower: Mapping[str, Template], upper: Mapping[str, Template]
) -> dict[str, Template]:
    """Headers of two layers; the upper one wins whatever the case of the name."""
    names = {name.lower() for name in upper}
    return {**{n: t for n, t in lower.items() if n.lower() not in names}, **upper}


def _url(spec: CallSpec, base_url: str) -> Callable[[Env], str]:
    if spec.url is not None:
        url = spec.url
        return lambda env: url
    if spec.path is None:
        return lambda env: base_url
    render = spec.path.render
    if spec.path.constant:
        whole = base_url + _slashed(text(render({})))
        return lambda env: whole
    return lambda env: base_url + _slashed(safe(render(env), "path"))


def _slashed(path: str) -> str:
    return path if path.startswith("/") or not path else "/" + path


def pairs(templates: Mapping[str, Template], what: str) -> Callable[[Env], Pairs]:
    """Rendered name-value pairs; entries that are OMIT are left out."""
    if not templates:
        return _no_pairs
    if all(template.constant for template in templates.values()):
        fixed = _render_pairs(list(templates.items()), {}, what)
        return lambda env: fixed
    items = list(templates.items())
    return lambda env: _render_pairs(items, env, what)


def _no_pairs(env: Env) -> Pairs:
    return ()


def _render_pairs(items: list[tuple[str, Template]], env: Env, what: str) -> Pairs:
    rendered = ((name, template.render(env)) for name, template in items)
    return tuple((name, safe(value, what)) for name, value in rendered if value is not OMIT)


def text(value: object) -> str:
    """A value as it stands in a header, form or path."""
    if isinstance(value, str):
        return value
    if isinstance(value, Secret):
        return value.reveal()
    if value is OMIT or value is None:
        return ""
    try:
        return dumps(value).decode()
    except TypeError:
        raise _no_text() from None


def _no_text() -> ExchangeError:
    message = "the bytes of a file stand where only a multipart form or a raw body takes them"
    return ExchangeError("fatal", message)


def safe(value: object, what: str) -> str:
    """The text, if it holds no control character; else the request is refused."""
    out = text(value)
    if _CONTROL.search(out):
        raise ExchangeError("invalid_request", f"a {what} would hold a control character")
    return out


def _body(spec: CallSpec) -> Callable[[Env], tuple[bytes, str]] | None:
    if spec.json is not None:
        return json_body(spec.json)
    if spec.form is not None:
        return _form(list(spec.form.items()))
    if spec.multipart is not None:
        return _multipart(list(spec.multipart.items()))
    if spec.raw is not None:
        return _raw(spec.raw)
    return None


def json_body(tree: Tree) -> Callable[[Env], tuple[bytes, str]]:
    render = tree.render

    def body(env: Env) -> tuple[bytes, str]:
        try:
            return dumps(render(env)), "application/json"
        except TypeError:
            raise _no_text() from None

    return body


def _raw(template: Template) -> Callable[[Env], tuple[bytes, str]]:
    def body(env: Env) -> tuple[bytes, str]:
        value = template.render(env)
        if isinstance(value, Blob):
            return value.data, value.mime
        return text(value).encode(), "text/plain; charset=utf-8"

    return body


def _form(items: list[tuple[str, Template]]) -> Callable[[Env], tuple[bytes, str]]:
    def body(env: Env) -> tuple[bytes, str]:
        values = ((name, template.render(env)) for name, template in items)
        fields = [(name, text(value)) for name, value in values if value is not OMIT]
        return urlencode(fields).encode(), "application/x-www-form-urlencoded"

    return body


def _multipart(items: list[tuple[str, Template]]) -> Callable[[Env], tuple[bytes, str]]:
    """multipart/form-data of texts and files (RFC 7578); the boundary never occurs in them."""

    def body(env: Env) -> tuple[bytes, str]:
        values = [(name, template.render(env)) for name, template in items]
        fields = [_field(name, value) for name, value in values if value is not OMIT]
        random = env.get("_random")
        assert isinstance(random, Random)
        boundary = b"penstock%024x" % random.getrandbits(96)
        while any(boundary in content for _, content in fields):
            boundary = b"penstock%024x" % random.getrandbits(96)
        parts = [
            b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, head, content)
            for head, content in fields
        ]
        whole = b"".join(parts) + b"--%s--\r\n" % boundary
        return whole, f"multipart/form-data; boundary={boundary.decode()}"

    return body


def _field(name: str, value: object) -> tuple[bytes, bytes]:
    """What stands in a part's head, and its content."""
    head = f'name="{_quoted(name)}"'
    if isinstance(value, Blob):
        kind = safe(value.mime, "content type")
        head += f'; filename="{_quoted(value.name)}"\r\nContent-Type: {kind}'
        return head.encode(), value.data
    return head.encode(), text(value).encode()


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
