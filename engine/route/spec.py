"""Every key of a route, as option dataclasses: the one table behind checking, schema and docs.

A field's default is the language's default. `None` means "not written". Kinds bring their own
dataclasses (`auth`, `dialects.profile`), `answer_spec.py` those for reading, `http_spec.py` those
of any request; this file unites them.
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
from engine.options import (
    Condition,
    Duration,
    Path,
    Selector,
    Size,
    Template,
    Tree,
    option,
)
from engine.parsers.frames import Frames

from .answer_spec import CLASSES, ErrorsSpec, ResponseSpec, StreamSpec
from .http_spec import HttpSpec, Method, StepSpec
from .media_spec import MediaSpec
from .nodes import Node
from .poll_spec import PollSpec

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
class TtlSpec:
    ONE_OF: ClassVar[tuple[str, ...]] = ("json", "jwt")

    json: Path | None = option(None, "seconds the value is good for, in the answer")
    jwt: str | None = option(
        None, "claim of the value (a JWT) that holds its expiry, epoch seconds"
    )
    minus: Duration = option(Duration(0.0), "taken off what was found")
    max: Duration | None = option(None, "never longer than this")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundsSpec:
    min: float | None = option(None, "no number is sent that is less")
    max: float | None = option(None, "no number is sent that is more")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpec:
    """An edit of the outgoing JSON body, also on passthrough."""

    when: Condition | None = option(None, "only if this holds")
    set: dict[str, Tree] = option({}, "fields set, by dotted name")
    drop: list[str] = option([], "fields removed, by dotted name", lone=True)
    rename: dict[str, str] = option({}, "fields renamed, old name to new")
    default: dict[str, Tree] = option({}, "fields set where the body has none, by dotted name")
    clamp: dict[str, BoundsSpec] = option({}, "numbers kept within bounds, by dotted name")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSpec:
    """A message of ours on a websocket."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("json", "text")

    after: Selector | None = option(
        None,
        "it waits for a message of the upstream that fits, and so do those below it",
        example="{event: connected}",
    )
    take: dict[str, Path | StepSpec] = option(
        {},
        "what is found in the message it waited for, by a path or a step, for `{{ take.… }}`",
        example={"answer": "$.parameter"},
    )
    json: Tree | None = option(
        None, "JSON; `data` is the message it waited for", roots=("data", "take")
    )
    text: Template | None = option(None, "text as it is", roots=("data", "take"))
    binary: bool = option(False, "sent as a binary message")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSpec:
    """What is said in answer to any message of the upstream that fits, as often as one comes."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("json", "text")

    match: Selector = option(doc="the messages it answers", example="{event: ping}")
    take: dict[str, Path | StepSpec] = option(
        {}, "the same of the message it answers", example={"answer": "$.parameter"}
    )
    json: Tree | None = option(None, "JSON; `data` is the message", roots=("data", "take"))
    text: Template | None = option(None, "text as it is", roots=("data", "take"))
    binary: bool = option(False, "sent as a binary message")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebsocketSpec:
    """A websocket in place of a request with a body: what is said on it."""

    send: list[SendSpec] = option([], "messages, one after the other")
    reply: list[AnswerSpec] = option([], "answers to what the upstream says; first match wins")
    ping: Duration | None = option(
        None, "the line is tried after so long a silence, to keep it open", example="20s"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpec(HttpSpec):
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("json", "form", "multipart", "raw", "websocket")

    method: Method | None = option(None, "default: POST; GET for a websocket")
    frames: Frames | None = option(
        None,
        "the body goes as one length-prefixed frame, as Connect-RPC wants it",
        example={"flags": True},
    )
    websocket: WebsocketSpec | None = option(
        None, "the call is a conversation over a websocket, opened at `path` or `url`"
    )
    poll: PollSpec | None = option(
        None, "the request makes a job, and its answer is asked for until it is there"
    )
    unknown: Literal["forward", "drop"] = option(
        "forward", "client fields the dialect does not know, towards an upstream of that dialect"
    )
    patch: list[PatchSpec] = option([], "edits of the outgoing body")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSpec:
    """A question to a model, put by a request of its own, once for all attempts of a request."""

    model: str = option(
        doc="who is asked: a name that clients could use, of this route or of another",
        example="seer/qwen-vl",
    )
    messages: Tree = option(
        doc="the conversation, in the form of Chat Completions; a text is one message of a user",
        example="{{ req.messages | as_openai }}",
    )
    system: Template | None = option(None, "a system text in front of it")
    max_tokens: int | None = option(None, "most tokens of the answer")
    timeout: Duration = option(Duration(60.0), "the longest wait for the answer, retries included")
    keep: Duration | None = option(None, "how long an answer is kept for the same question")


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
    ask: AskSpec | None = option(
        None, "a model is asked, instead of `request`; only for scope request, and never a secret"
    )
    on_error: Literal["fail", "skip"] = option(
        "fail", "when it cannot be had: the request fails, or goes on with the value undefined"
    )
    each: list[Literal["image", "file", "audio", "video"]] = option(
        [], "kinds of media: each one of the request has a value of its own, as `media` in the "
        "request, and the value is their list", lone=True,
    )  # fmt: skip
    item: Tree | None = option(
        None, "with `each`: what stands in the list; default: what was found", roots=("found",),
        example={"type": "file", "id": "{{ found }}"},
    )  # fmt: skip
    ttl: Duration | TtlSpec | None = option(None, "how long the value is good; default: for ever")
    refresh_before: Duration = option(Duration(0.0), "renewed this long before it expires")
    prefetch: bool = option(False, "fetched when the route is loaded, not at the first request")
    persist: bool = option(False, "kept in the store over restarts")
    parallel: int = option(4, "most fetches at once for scope account: logins of a pool")
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
    bearer: Template | None = option(None, "sent as `Authorization: Bearer …`", credential=True)
    header: dict[str, Template] = option({}, "sent as headers", credential=True)
    query: dict[str, Template] = option({}, "sent in the query string", credential=True)
    cookie: dict[str, Template] = option({}, "sent as cookies", credential=True)
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
class BackoffSpec:
    initial: Duration = option(Duration(0.5), "wait before the second attempt")
    factor: float = option(2.0, "growth from attempt to attempt")
    max: Duration = option(Duration(8.0), "longest wait")
    jitter: Literal["full", "none"] = option("full", "random between 0 and the wait, or the wait")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpec:
    """How much of the traffic of ten seconds may be tried again because the upstream failed."""

    share: float = option(0.2, "further attempts to requests, at most")
    least: float = option(10.0, "further attempts a second that are made whatever the share")


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSpec:
    after: int = option(10, "failures of the upstream in a row after which it is left alone")
    probe: Duration = option(Duration(5.0), "then one request in so long looks if it is back")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    attempts: int = option(3, "attempts in all, the first counted")
    for_: list[str] | None = option(
        None, "outcome classes that are tried again; default: those that may pass", name="for",
        choices=CLASSES,
    )  # fmt: skip
    backoff: BackoffSpec = option(BackoffSpec(), "waits between attempts")
    budget: BudgetSpec = option(BudgetSpec(), "against storms while the upstream is down")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuationSpec:
    finish: list[Literal["length", "other"]] = option(
        ["length"], "finish reasons after which the answer goes on", lone=True
    )
    max: int = option(5, "most further attempts of one answer")
    style: Literal["assistant_prefill", "user_prompt"] = option(
        "assistant_prefill",
        "what asks for more: the answer so far as the last turn, or `prompt` behind it",
    )
    prompt: str = option(
        "Continue exactly where you stopped. Repeat nothing.", "with `user_prompt`: what is asked"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsSpec:
    """Tools of MCP servers, run by the engine. Only for client keys that `clients.tools` lists."""

    mcp: list[str] = option(
        doc="servers whose tools the model may call; `mcp` of penstock.yaml declares them",
        lone=True,
        example="[time, files]",
    )
    max_rounds: int = option(5, "how often calls are run before the model has to answer")
    timeout: Duration = option(Duration(60.0), "limit for one call; the server's own holds, too")
    parallel: int = option(4, "most calls of one answer that run at once")
    show: Literal["reasoning", "none"] = option(
        "reasoning", "what the client sees of the calls: a line each as thinking, or nothing"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackSpec:
    SHORTHAND: ClassVar[str] = "to"

    to: str = option(doc="name of the route that is asked next")
    for_: list[str] | None = option(
        None, "outcome classes that lead there; default: every failure that is not the client's",
        name="for", choices=CLASSES, lone=True,
    )  # fmt: skip
    model: str | None = option(None, "its model; default: the same id, else its first")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutsSpec:
    connect: Duration = option(Duration(10.0), "dial to connected, TLS included")
    first_byte: Duration = option(
        Duration(120.0), "request sent to first event of the answer; dialling is not in it"
    )
    body: Duration | None = option(
        None,
        "headers of a whole answer to its end; default: what is left of `first_byte`",
        example="30s",
    )
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
    proxy: Template | None = option(
        None,
        "an HTTP proxy, perhaps of the account; empty: none. Those of the environment are ignored",
        example="http://proxy.example:3128",
        secret=True,
    )
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
    media: MediaSpec = option(MediaSpec(), "pictures and files that a request names by URL")
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
    breaker: BreakerSpec | None = option(
        None, "whether an upstream that keeps failing is left alone, at once for all requests"
    )
    continuation: ContinuationSpec | None = option(
        None, "whether an answer that was cut off for its length goes on in a further attempt"
    )
    tools: ToolsSpec | None = option(None, "tools that the engine itself runs for the model")
    hold: Literal["content", "full"] = option(
        "content",
        "how long an answer is held back: up to its first content, or whole, so that a failure at "
        "any point is tried again or left to another route",
    )
    fallback: list[FallbackSpec] = option(
        [], "routes that are asked, in order, when this one fails"
    )
    timeouts: TimeoutsSpec = option(TimeoutsSpec(), "limits in time")
    limits: LimitsSpec = option(LimitsSpec(), "limits in size and number")
    upstream: UpstreamSpec = option(UpstreamSpec(), "the connection")
