"""The keys of any request to the upstream, and of the steps that find something in its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.options import Duration, Path, Regex, Template, Tree, option

from .nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One way to find a value in an answer; `then` goes on with what was found."""

    ONE_OF: ClassVar[tuple[str, ...]] = (
        "json", "regex", "header", "cookie", "jwt_claim", "body", "transform",
    )  # fmt: skip

    json: Path | None = option(None, "a path into the JSON body", example="$.data.token")
    regex: Regex | None = option(None, "a pattern on the body; its first group, else the whole")
    header: str | None = option(None, "a header of the answer")
    cookie: str | None = option(None, "a cookie the answer sets")
    jwt_claim: str | None = option(
        None, "a claim of the JWT found so far (no signature is checked)"
    )
    body: bool | None = option(None, "the whole body as text")
    transform: Node | None = option(None, "a transform with `extract`")
    then: StepSpec | None = option(None, "the next step, on what this one found")


Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpec:
    """What every request has. Its kinds say what a `url` may be."""

    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("json", "form", "multipart", "raw")

    method: Method | None = option(None, "default: POST with a body, else GET")
    path: Template | None = option(None, "appended to `base_url`", example="/chat/completions")
    url: Any = option(None, "a whole URL instead")
    query: dict[str, Template] = option({}, "query parameters")
    headers: dict[str, Template] = option({}, "headers; they win over what a client sent")
    json: Tree | None = option(None, "a JSON body: a tree with templates in it")
    form: dict[str, Template] | None = option(None, "an urlencoded form")
    multipart: dict[str, Template] | None = option(
        None, "a multipart form of text fields, and in an upload of a file (`media.content`)"
    )
    raw: Template | None = option(None, "a body of text, as it is")
    timeout: Duration | None = option(None, "limit for this request alone")
    proxy: Template | None = option(
        None, "an HTTP proxy for this request alone, instead of `upstream.proxy`", secret=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec(CallSpec):
    """A request to the upstream. At most one body."""

    url: str | None = option(None, "a whole URL instead; scheme and host are literal")
