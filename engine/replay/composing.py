"""What was recorded, as a fixture: the trees of its requests, replies and answer, and its text."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import yaml

from engine.options import Secret
from engine.wire import HttpRequest, HttpResponse, JsonError, loads

from .play import Seen
from .taping import Taken

ANY, AN_ID = "«any»", "«uuid»"
# Of the transport, of servers, caches and browsers: no route reads these.
_IDLE = re.compile(
    r"(?i)connection|keep-alive|transfer-encoding|content-(?:length|encoding|security-policy)|te"
    r"|trailer|upgrade|sec-websocket-.*|date|server|via|age|vary|alt-svc|nel|report-to|x-powered-by"
    r"|strict-transport-security|access-control-.*|x-content-type-options|x-frame-options|cf-.*"
)
_BEARS = re.compile(r"(?i)(?:proxy-)?authorization|.*[-_](?:key|token|secret)")
_QUERY = re.compile(r"(?i)(?:.*[_-])?(?:key|token|secret|password|signature|sig|code)")
_FIELD = re.compile(
    r'"(?:(?:access|refresh|id|session)_?[tT]oken|client_secret|password|api_?[kK]ey)"'
    r'\s*:\s*"([^"\\]+)"'
)
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|key)\s+(.+)", re.S)
_UNSAFE = re.compile(
    "[^\n\t -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


# ---- what is secret by its place ----


def bearers(taken: Iterable[Taken]) -> Iterator[Secret]:
    """What headers, cookies, queries and bodies hold in places that are for credentials."""
    for each in taken:
        yield from _of_request(each.request)
        if each.head is not None:
            yield from _of_answer(each.head, each.body)


def bears(name: str) -> bool:
    """Whether a header of this name is for a credential."""
    return _BEARS.fullmatch(name) is not None


def _of_request(request: HttpRequest) -> Iterator[Secret]:
    for name, value in request.headers:
        if name.lower() == "cookie":
            for part in value.split(";"):
                yield Secret(part.partition("=")[2].strip().strip('"'), "cookie")
        elif _BEARS.fullmatch(name):
            yield Secret(_credential(value), f"header {name.lower()}")
    form = parse_qsl(request.body.decode("utf-8", "replace")) if _is_form(request) else []
    for name, value in [*parse_qsl(urlsplit(request.url).query), *request.query, *form]:
        if _QUERY.fullmatch(name):
            yield Secret(value, f"parameter {name}")
    yield from _of_body(request.body)


def _credential(value: str) -> str:
    """What is secret in the value of a header: what follows the scheme, a password of Basic."""
    hit = _SCHEME.fullmatch(value)
    if hit is None or not value.lower().startswith("basic"):
        return hit[1] if hit else value
    try:
        pair = base64.b64decode(hit[1], validate=True).decode()
    except ValueError:
        return hit[1]
    return pair.partition(":")[2] or hit[1]


def _of_answer(head: HttpResponse, body: bytes) -> Iterator[Secret]:
    for name, value in head.headers:
        if name.lower() == "set-cookie":
            yield Secret(value.partition(";")[0].partition("=")[2].strip().strip('"'), "cookie")
        elif _BEARS.fullmatch(name):
            yield Secret(value, f"header {name.lower()}")
    yield from _of_body(body)


def _of_body(body: bytes) -> Iterator[Secret]:
    for hit in _FIELD.finditer(body.decode("utf-8", "replace")):
        yield Secret(hit[1], hit[0].split('"')[1])


# ---- trees ----


def request_tree(request: HttpRequest) -> dict[str, Any]:
    """The `expect` of an exchange, with all that was sent."""
    parts = urlsplit(request.url)
    tree: dict[str, Any] = {"method": request.method, "url": request.url}
    if parts.query:  # a whole URL would be compared with its query
        tree["url"] = parts.path
    query = dict(parse_qsl(parts.query)) | dict(request.query)
    headers = {name.lower(): value for name, value in request.headers}
    tree |= {key: found for key, found in (("query", query), ("headers", headers)) if found}
    return tree | _body_tree(request)


def _body_tree(request: HttpRequest) -> dict[str, Any]:
    if not request.body:
        return {}
    if _is_form(request):
        return {"form": dict(parse_qsl(request.body.decode("utf-8", "replace"), True))}
    try:
        return {"json": loads(request.body)}
    except JsonError:
        pass
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        return {}
    return {} if _UNSAFE.search(text) else {"body": text}


def _is_form(request: HttpRequest) -> bool:
    return (request.header("content-type") or "").startswith("application/x-www-form-urlencoded")


def steady(tree: Any, *others: Any) -> Any:
    """The tree as it is each time: what differs is a matcher, or is left out of its map."""
    if all(same(tree, other) for other in others):
        return tree
    if isinstance(tree, dict) and all(isinstance(other, dict) for other in others):
        keys = [key for key in tree if all(key in other for other in others)]
        return {key: steady(tree[key], *(other[key] for other in others)) for key in keys}
    if isinstance(tree, list) and all(
        isinstance(other, list) and len(other) == len(tree) for other in others
    ):
        return [steady(*each) for each in zip(tree, *others, strict=True)]
    return AN_ID if all(map(_is_uuid, (tree, *others))) else ANY


def same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def headers_tree(head: HttpResponse) -> dict[str, str]:
    """The headers of an answer that a route may read. One that comes again has other capitals."""
    found: dict[str, str] = {}
    for name, value in head.headers:
        if not _IDLE.fullmatch(name):
            found[next(each for each in _capitals(name) if each not in found)] = value
    return found


def _capitals(name: str) -> Iterator[str]:
    """The name with each set of its letters the other way round."""
    for number in range(2 ** len(name)):
        yield "".join(char.swapcase() if number >> at & 1 else char for at, char in enumerate(name))


def answer_tree(seen: Seen, calls: int) -> dict[str, Any]:
    """The `expect` of a fixture."""
    reply, tree = seen.reply, dict[str, Any](status=seen.status)
    if seen.error is None or seen.status < 300:
        tree |= {"text": reply.text, "reasoning": reply.reasoning, "finish": reply.finish}
        tree["tool_calls"] = [{"name": call.name, "arguments": call.args} for call in reply.calls]
        counts = dataclasses.asdict(reply.usage) if reply.usage is not None else {}
        told = {name: counts.get(name) for name in ("input", "output")}
        tree["usage"] = {name: count for name, count in told.items() if count is not None}
        tree["usage"] |= {"estimated": True} if counts.get("estimated") else {}
    if seen.error is not None and seen.shown is not None:
        error = {"class": seen.error.cls, "message": seen.shown.message}
        if seen.status >= 300:  # in a stream dialects say less
            error |= {"code": seen.shown.code, "type": seen.shown.type}
        tree["error"] = {name: value for name, value in error.items() if value}
    tree = {name: value for name, value in tree.items() if value or name == "status"}
    return {**tree, "upstream_calls": calls}


def inline(body: bytes) -> bool:
    """Whether a body may stand in YAML, and in an editor, without loss."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return not _UNSAFE.search(text) and not re.search(r"[ \t](?:\n|$)", text)


# ---- text ----


class Flat(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = (
        "|" if "\n" in text and inline(text.encode()) and not text.startswith((" ", "\n")) else None
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _flat(dumper: _Dumper, items: Flat) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Flat, _flat)


def text_of(tree: Mapping[str, Any]) -> str:
    """The file's text."""
    return yaml.dump(dict(tree), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=2**20)
