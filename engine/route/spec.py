"""Every key of a route, as option dataclasses: the one table behind checking, schema and docs.

A field's default is the language's default. `None` means "not written". Kinds bring their own
dataclasses (`parsers`, `auth`, `dialects.profile`); this file unites them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.auth.aws_sigv4 import AwsSigv4
from engine.auth.hmac import Hmac
from engine.auth.picks import PICKS
from engine.auth.sources import Accounts
from engine.auth.static import Basic
from engine.dialects import DIALECTS
from engine.dialects.profile import Profile, Unsupported
from engine.errors import OUTCOMES
from engine.options import (
    Condition,
    Duration,
    Path,
    Regex,
    Secret,
    Selector,
    Size,
    Template,
    Tree,
    Word,
    option,
)
from engine.parsers import PARSERS
from engine.parsers.frames import Frames

from .nodes import Node

CLASSES = tuple(OUTCOMES)
_EVENT = ("=", "req", "model", "session", "vars", "let", "data", "event")
_LET = ("=", "req", "model", "vars", "let")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    SHORTHAND: ClassVar[str] = "id"

    id: str = option(doc="the name clients use", example="gpt-4o")
    upstream: str | None = option(None, "the name the upstream knows; default: the id")
    aliases: list[str] = option([], "further names clients may use", lone=True)
    max_output: int | None = option(None, "largest number of tokens one answer may have")
    owned_by: str | None = option(None, "`owned_by` in the models list; default: the route's name")
    set: dict[str, Any] = option({}, "overrides of `vars` for this model")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    suffix: str = option(doc="appended to every model's id", example="-nothink")
    set: dict[str, Any] = option({}, "overrides of `vars` for this variant")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlSpec:
    ONE_OF: ClassVar[tuple[str, ...]] = ("json", "jwt")

    json: Path | None = option(None, "seconds the value is good for, in the answer")
    jwt: str | None = option(
        None, "claim of the value (a JWT) that holds its expiry, epoch seconds"
    )
    minus: Duration = option(Duration(0.0), "taken off what was found")
    max: Duration | None = option(None, "never longer than this")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSpec:
    """A request to the upstream. At most one body."""

    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("json", "form", "multipart", "raw")

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] | None = option(
        None, "default: POST with a body, else GET"
    )
    path: Template | None = option(None, "appended to `base_url`", example="/chat/completions")
    url: str | None = option(None, "a whole URL instead; scheme and host are literal")
    query: dict[str, Template] = option({}, "query parameters")
    headers: dict[str, Template] = option({}, "headers; they win over what a client sent")
    json: Tree | None = option(None, "a JSON body: a tree with templates in it")
    form: dict[str, Template] | None = option(None, "an urlencoded form")
    multipart: dict[str, Template] | None = option(None, "a multipart form of text fields")
    raw: Template | None = option(None, "a body of text, as it is")
    timeout: Duration | None = option(None, "limit for this request alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpec:
    """An edit of the outgoing JSON body, also on passthrough."""

    when: Condition | None = option(None, "only if this holds")
    set: dict[str, Tree] = option({}, "fields set, by dotted name")
    drop: list[str] = option([], "fields removed, by dotted name", lone=True)
    rename: dict[str, str] = option({}, "fields renamed, old name to new")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpec(HttpSpec):
    unknown: Literal["forward", "drop"] = option(
        "forward", "client fields the dialect does not know, towards an upstream of that dialect"
    )
    patch: list[PatchSpec] = option([], "edits of the outgoing body")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSpec:
    scope: Literal["route", "account", "session", "request"] = option(
        "route", "who shares one value"
    )
    request: HttpSpec | None = option(None, "the request whose answer holds the value")
    extract: list[StepSpec] | dict[str, list[StepSpec]] | None = option(
        None, "alternatives, first hit wins; or a map of outputs to such lists"
    )
    transform: Node | None = option(None, "a transform with `produce`, instead of `request`")
    ttl: Duration | TtlSpec | None = option(None, "how long the value is good; default: for ever")
    refresh_before: Duration = option(Duration(0.0), "renewed this long before it expires")
    prefetch: bool = option(False, "fetched when the route is loaded, not at the first request")
    persist: bool = option(False, "kept in the store over restarts")
    refresh_for: list[str] = option(
        [], "outcome classes that renew the value", choices=CLASSES, lone=True
    )
    refresh_after: int | None = option(None, "failed requests in a row that renew the value")
    when: Condition | None = option(None, "only fetched when this holds; else undefined")
    secret: bool = option(True, "masked in explain, logs and errors")
    cleanup: HttpSpec | None = option(
        None, "a request that undoes it when its scope (`request` or `session`) ends; it sees "
        "`values`, `account`, `session` and `vars`",
        example={"method": "DELETE", "path": "/chats/{{ values.chat | urlpath }}"},
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SignSpec:
    """Signs the final bytes of each attempt. A route has one signer: this, or a transform's."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("hmac", "aws_sigv4")

    hmac: Hmac | None = option(None, "a keyed hash over a text of your making")
    aws_sigv4: AwsSigv4 | None = option(None, "AWS Signature Version 4 (`penstock[aws]`)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkSpec:
    """When an account is left out. Only failures that are its own fault count."""

    after: int | None = option(None, "failures in a row; default: only its outcome class parks it")
    for_: Duration = option(Duration(600.0), "how long it is then left out", name="for")
    refused: Duration | Literal["until_changed"] = option(
        "until_changed",
        "how long an account of several is left out whose credential was refused (`auth_invalid`)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshAllSpec:
    after: int = option(doc="accounts that fail one after the other: these are logged in anew")
    min_pool: int = option(1, "only in a pool of at least so many accounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSpec:
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("bearer", "basic")

    from_: list[Accounts] | None = option(
        None, "where accounts come from; a list is all of them together", name="from", lone=True
    )
    pick: str = option("round_robin", "which account is taken for a request", choices=tuple(PICKS))
    park: ParkSpec = option(ParkSpec(), "when an account is left out, and for how long")
    refresh_all: RefreshAllSpec | None = option(
        None, "when failed accounts are logged in anew though no class says so"
    )
    wait: Duration = option(Duration(30.0), "the longest a request waits for a free account")
    bearer: Template | None = option(None, "sent as `Authorization: Bearer …`")
    header: dict[str, Template] = option({}, "sent as headers")
    query: dict[str, Template] = option({}, "sent in the query string")
    cookie: dict[str, Template] = option({}, "sent as cookies")
    basic: Basic | None = option(None, "sent as `Authorization: Basic …`")
    sign: SignSpec | None = option(None, "a signature over what is sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    key: list[str] = option(
        doc="where the session's name is found, first non-empty wins: `req.user`, `header.x-…`, "
        "`fingerprint` (a hash of the first turn)",
        lone=True,
        example="[req.user]",
    )
    ttl: Duration = option(Duration(3600.0), "a session unused for so long is forgotten")
    max: int = option(1024, "most sessions kept for this route")
    history: Literal["client", "server"] = option(
        "client", "who keeps the turns; `server`: the client sends only the new one"
    )
    max_messages: int = option(200, "most messages kept with `history: server`")
    state: dict[str, Tree] = option({}, "variables of a new session", roots=_LET)
    persist: bool = option(False, "survives a restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallsRule:
    each: Path | None = option(None, "the calls; the other paths then start at one of them")
    index: Path | None = option(None, "tells parallel calls apart")
    id: Path | Literal["auto"] | None = option(None, "the call's id; `auto` makes one")
    name: Path | None = option(None, "the tool's name")
    arguments: Path | None = option(None, "a piece of JSON text, or the whole as an object")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRule:
    input: Path | None = option(None, "tokens read")
    output: Path | None = option(None, "tokens written")
    cached: Path | None = option(None, "of the input: read from a cache")
    cache_write: Path | None = option(None, "of the input: written to a cache")
    reasoning: Path | None = option(None, "of the output: thinking")
    input_includes: Literal["cached", "nothing"] = option("cached", "whether input counts cached")
    output_excludes: Literal["reasoning", "nothing"] = option(
        "nothing", "whether output leaves thinking out"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRule:
    SHORTHAND: ClassVar[str] = "path"

    path: Word = option(doc="a constant, or where the reason is found")
    map: dict[str, str] = option(
        {}, "the upstream's words to stop, length, tool_calls, content_filter; `*` for the rest"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEmitter:
    message: Path | None = option(None, "the upstream's words")
    class_: Word = option(Word("retryable"), "an outcome class, or where the word is", name="class")
    map: dict[str, str] = option({}, "the upstream's words to outcome classes; `*` for the rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One rule: selectors say which records, emitters what they mean. First match wins."""

    event: list[str] = option([], "event names of the framing", lone=True)
    match: Selector | None = option(None, "values at paths", example="{type: delta}")
    not_: Selector | None = option(None, "values that must not stand there", name="not")
    has: Path | None = option(None, "something must stand there")
    when: Condition | None = option(
        None, "an expression on `data`; slow, for rare cases", roots=_EVENT
    )
    each: Path | None = option(None, "go over a list; all else is then about one item")
    text: Path | None = option(None, "a piece of the answer")
    reasoning: Path | None = option(None, "a piece of thinking")
    reasoning_signature: Path | None = option(None, "the signature of the thinking")
    tool_calls: ToolCallsRule | None = option(None, "calls of tools")
    usage: UsageRule | None = option(None, "token counts, absolute")
    finish: FinishRule | None = option(None, "why the answer ended")
    error: ErrorEmitter | None = option(None, "the upstream failed")
    annotation: Path | None = option(None, "sources and notes beside the answer")
    set: dict[str, Path] = option({}, "session variables learned from the record")
    end: bool = option(False, "the answer is over")
    ignore: bool = option(False, "nothing of interest")
    continue_: bool = option(False, "look at the rules below too", name="continue")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec:
    SHORTHAND: ClassVar[str] = "word"

    word: str | None = option(None, "the framing, when it needs no options", choices=tuple(PARSERS))
    frames: Frames | None = option(None, "length-prefixed frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    format: FormatSpec | None = option(None, "the framing; it wins over the content type")
    use: Literal["auto", "always", "never"] = option(
        "auto", "whether the upstream is asked to stream: as the client did, always, never"
    )
    done: list[str] = option([], "payloads that mark the end", lone=True, example='"[DONE]"')
    reduce: Literal["delta", "snapshot", "snapshot_tolerant", "path_patch"] = option(
        "delta", "what a record holds: the new piece, or all so far, or a patch of a document"
    )
    finish_optional: bool = option(False, "the end marker or end of input alone closes the answer")
    min_text: int = option(0, "fewer characters at the end are an `empty_response`")
    unmatched: Literal["ignore", "warn", "error"] = option("warn", "records no rule knows")
    event_from: str = option(":event-type", "frame header that names the event (aws_eventstream)")
    events: list[RuleSpec] | None = option(None, "rules, first match wins")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSpec:
    format: Literal["json", "text"] = option("json", "how the whole body is read")
    min_text: int = option(0, "fewer characters are an `empty_response`")
    events: list[RuleSpec] | None = option(None, "rules, first match wins")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRuleSpec:
    status: list[int | str] = option([], "codes or `4xx`, `5xx`", lone=True)
    match: Selector | None = option(None, "values in the JSON body")
    header: dict[str, str] = option({}, "headers: text, or `/pattern/`")
    body: Regex | None = option(None, "a pattern on the body")
    content_type: str | None = option(None, "beginning of the content type")
    when: Condition | None = option(
        None,
        "an expression",
        roots=("=", "req", "model", "session", "vars", "let", "data", "status"),
    )
    as_: str = option(doc="the outcome class", name="as", choices=CLASSES)
    retry_after: list[str] = option(
        [], "where the waiting time is: `header.retry-after`, a path, or a duration", lone=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorsSpec:
    message: Path | None = option(None, "the upstream's own words in an error body")
    rules: list[ErrorRuleSpec] = option([], "first match wins")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffSpec:
    initial: Duration = option(Duration(0.5), "wait before the second attempt")
    factor: float = option(2.0, "growth from attempt to attempt")
    max: Duration = option(Duration(8.0), "longest wait")
    jitter: Literal["full", "none"] = option("full", "random between 0 and the wait, or the wait")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    attempts: int = option(3, "attempts in all, the first counted")
    for_: list[str] | None = option(
        None, "outcome classes that are tried again; default: those that may pass", name="for",
        choices=CLASSES,
    )  # fmt: skip
    backoff: BackoffSpec = option(BackoffSpec(), "waits between attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutsSpec:
    connect: Duration = option(Duration(10.0), "dial to connected, TLS included")
    first_byte: Duration = option(Duration(120.0), "request sent to first event of the answer")
    idle: Duration = option(Duration(90.0), "one complete frame to the next")
    total: Duration = option(Duration(580.0), "the whole request, waits and retries included")
    early_headers: Duration | Literal["never"] = option(
        Duration(15.0), "a streaming client gets its headers and a ping after so long"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSpec:
    rpm: int | None = option(None, "calls in any minute")
    concurrency: int | None = option(None, "calls under way at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsSpec:
    per_account: LimitSpec = option(
        LimitSpec(), "of each account; a request takes another one, or waits (`auth.wait`)"
    )
    per_client: LimitSpec = option(
        LimitSpec(), "of each client key; a request waits (`auth.wait`), then it is `rate_limited`"
    )
    request: Size = option(Size(32 * 1024**2), "largest client body")
    answer: Size = option(Size(64 * 1024**2), "largest whole answer")
    event: Size = option(Size(16 * 1024**2), "largest frame of a stream")
    concurrency: int | None = option(None, "most requests of this route under way at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverSpec:
    """The upstream's own list of models, fetched in the background and kept up to date."""

    path: Template = option(doc="where the list is, appended to `base_url`", example="/models")
    ids: Path = option(doc="the names in it", example="$.data[*].id")
    every: Duration = option(Duration(600.0), "how often it is fetched anew")


@dataclass(frozen=True, slots=True, kw_only=True)
class PassthroughSpec:
    """Other endpoints of the upstream, asked with this route's credentials and model names."""

    embeddings: Template | None = option(
        None, "where it makes embeddings, as the OpenAI API does", example="/embeddings"
    )
    count_tokens: Template | None = option(
        None,
        "where it counts the tokens of a request in its own dialect; without it they are estimated",
        example="/messages/count_tokens",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSpec:
    verify: bool = option(True, "check the upstream's certificate")
    ca: str | None = option(None, "a file with further certificate authorities")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    proxy: Secret | None = option(None, "an HTTP proxy; those of the environment are ignored")
    cookies: Literal["none", "route", "account", "session"] = option(
        "none", "who shares a cookie jar"
    )
    headers: dict[str, Template] = option({}, "sent with every request to the upstream")
    reuse: bool = option(True, "reuse connections; off for upstreams that frame carelessly")
    sniff: bool = option(False, "recognise gzip and deflate that no header declares")
    tls: TlsSpec = option(TlsSpec(), "how the connection is secured")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RouteSpec:
    """A route file. `x-…` keys are free for notes. It prints nothing: `vars` may hold a secret."""

    version: Literal[1] = option(doc="the version of the language")
    name: str | None = option(None, "default: the file's stem; state is kept under it")
    description: str | None = option(None, "shown in lists")
    enabled: bool = option(True, "false: loaded and checked, not served")
    abstract: bool = option(False, "true: never served, only extended")
    extends: str | None = option(None, "a preset's name or `./file.yaml`")
    priority: int = option(0, "who gets a bare model id that several routes offer")
    dialect: str | None = option(
        None, "the upstream's dialect; without it the route brings request and rules",
        choices=tuple(DIALECTS),
    )  # fmt: skip
    profile: Profile = option(Profile(), "what this upstream can and cannot do")
    profiles: dict[str, Profile] = option(
        {}, "the same for models whose name fits (`kimi-k2*`), laid over `profile` key by key"
    )
    on_unsupported: Unsupported | None = option(
        None,
        "what becomes of fields the upstream cannot be told: left out and named (warn), refused, "
        "left out (silent); default: warn, and refuse where the meaning would change",
    )
    base_url: str | None = option(None, "scheme and host, perhaps a path; no templates")
    models: list[ModelSpec] = option([], "what the route offers")
    variants: list[VariantSpec] = option([], "further names for every model")
    discover: DiscoverSpec | None = option(None, "further models: those that the upstream lists")
    vars: dict[str, Any] = option({}, "constants")
    let: dict[str, Tree] = option({}, "computed once per request, top to bottom", roots=_LET)
    auth: AuthSpec = option(AuthSpec(), "credentials and where they are put")
    values: dict[str, ValueSpec] = option({}, "fetched values: nonces, login tokens, ids")
    session: SessionSpec | None = option(None, "conversations over several requests")
    request: RequestSpec | None = option(None, "what is sent")
    stream: StreamSpec | None = option(None, "how a streamed answer is read")
    response: ResponseSpec | None = option(None, "how a whole answer is read")
    passthrough: PassthroughSpec = option(PassthroughSpec(), "other endpoints that are passed on")
    transforms: list[Node] = option([], "Python beside YAML, top to bottom")
    errors: ErrorsSpec = option(ErrorsSpec(), "what failed answers mean")
    retry: RetrySpec = option(RetrySpec(), "when and how often to try again")
    timeouts: TimeoutsSpec = option(TimeoutsSpec(), "limits in time")
    limits: LimitsSpec = option(LimitsSpec(), "limits in size and number")
    upstream: UpstreamSpec = option(UpstreamSpec(), "the connection")


__all__ = [name for name in dir() if name.endswith(("Spec", "Rule", "Emitter"))]
