"""What failed, in the upstream's words and in the client's.

Upstream side: `read_error`, `classify_error` and `error_from` sort an upstream's error into an
outcome class of `engine.errors.OUTCOMES`. Client side: `ANSWERS` says which status, type and
code each family of client dialects sees for a class, or for a kind of `CLIENT_KINDS` (faults of
the client's own request). A route's own error rules run before any of this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from engine.errors import ExchangeError
from engine.events import CONTENT, ErrorEvent, Event
from engine.wire import HttpResponse, JsonError, loads

Family = Literal["openai", "anthropic", "ollama", "gemini"]

CLIENT_KINDS: dict[str, str] = {
    "bad_request": "the request is malformed",
    "auth": "the client's key is missing or wrong",
    "forbidden": "the client may not do this",
    "not_found": "there is no such endpoint or object",
    "model_not_found": "no route serves the model",
    "too_large": "the request is larger than the server takes",
    "previous_response_not_found": "the answer to go on from is not kept",
    "unsupported": "the route's upstream cannot do what is asked",
    "method": "the endpoint does not take this method",
    "unavailable": "the server is starting, draining or full",
    "internal": "a bug of the server",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How one family of client dialects shows a failure. code is None where it has none."""

    status: int
    type: str
    code: str | None = None


# What Google's APIs call an HTTP status.
_GOOGLE = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    openai: Answer
    anthropic: Answer

    @property
    def ollama(self) -> Answer:
        """Its errors are a status and words: the status is the one of the OpenAI API."""
        return self.openai

    @property
    def gemini(self) -> Answer:
        """The status of the OpenAI column under Google's name for it."""
        status = self.openai.status
        return Answer(status, _GOOGLE.get(status, "INVALID_ARGUMENT"))


_BAD_GATEWAY = Row(Answer(502, "server_error", "bad_gateway"), Answer(502, "api_error"))
_CREDENTIAL = Row(Answer(502, "server_error", "upstream_credential"), Answer(502, "api_error"))
_UNAVAILABLE = Row(
    Answer(503, "server_error", "service_unavailable"), Answer(503, "overloaded_error")
)


def _invalid(status: int, code: str | None, anthropic: str = "invalid_request_error") -> Row:
    return Row(Answer(status, "invalid_request_error", code), Answer(status, anthropic))


# One row for every outcome class and every client kind; the two sets share model_not_found and
# unavailable, with one meaning for the client.
ANSWERS: dict[str, Row] = {
    "auth_expired": _CREDENTIAL,
    "auth_invalid": _CREDENTIAL,
    "quota_exhausted": Row(
        Answer(429, "insufficient_quota", "insufficient_quota"), Answer(402, "billing_error")
    ),
    "rate_limited": Row(
        Answer(429, "rate_limit_error", "rate_limit_exceeded"), Answer(429, "rate_limit_error")
    ),
    "stale": _BAD_GATEWAY,
    "session_lost": _BAD_GATEWAY,
    "overloaded": Row(Answer(503, "server_error", "overloaded"), Answer(529, "overloaded_error")),
    "retryable": _BAD_GATEWAY,
    "truncated": _BAD_GATEWAY,
    "empty_response": _BAD_GATEWAY,
    "context_length": _invalid(400, "context_length_exceeded"),
    "reasoning_missing": _invalid(400, None),
    "content_filter": _invalid(400, "content_filter"),
    "invalid_request": _invalid(400, None),
    "model_not_found": _invalid(404, "model_not_found", "not_found_error"),
    "challenge": _UNAVAILABLE,
    "timeout": Row(Answer(504, "timeout", "timeout"), Answer(504, "timeout_error")),
    "connect": _BAD_GATEWAY,
    "unavailable": _UNAVAILABLE,
    "fatal": _BAD_GATEWAY,
    "bad_request": _invalid(400, None),
    "auth": Row(
        Answer(401, "authentication_error", "invalid_api_key"), Answer(401, "authentication_error")
    ),
    "forbidden": Row(
        Answer(403, "permission_error", "permission_denied"), Answer(403, "permission_error")
    ),
    "not_found": _invalid(404, "not_found", "not_found_error"),
    "too_large": _invalid(413, "request_too_large", "request_too_large"),
    "previous_response_not_found": _invalid(400, "previous_response_not_found"),
    "unsupported": _invalid(400, "unsupported_parameter"),
    "method": _invalid(405, "method_not_allowed"),
    "internal": Row(Answer(500, "server_error", "internal_error"), Answer(500, "api_error")),
}

_OWN_KEY = ("auth_expired", "auth_invalid")
_MAY_COME_BACK = ("rate_limited", "unavailable")
_PATIENCE = 60.0  # seconds a client may be told to wait and come back by itself


def answer_for(kind: str, family: Family, *, status: int = 0, code: str = "") -> Answer:
    """What a client of the family sees for a class or kind.

    status and code are the upstream's: of a request it refused, 413, 422 and its own code stay.
    """
    if kind == "invalid_request":
        if status == 413:
            kind = "too_large"
        shown: Answer = getattr(ANSWERS[kind], family)
        if status == 422:
            shown = replace(shown, status=422)
        return replace(shown, code=code) if code and family == "openai" else shown
    return getattr(ANSWERS[kind], family)  # type: ignore[no-any-return]


def message_for(kind: str, message: str, *, status: int = 0) -> str:
    """What the client reads. Errors about the upstream's credential say so and nothing else: the
    client would take them for its own, and some upstreams repeat the key. A 403 keeps its reason.
    """
    if kind not in _OWN_KEY:
        return message or CLIENT_KINDS.get(kind, "the upstream failed")
    reason = f": {message}" if status == 403 and message else ""
    return f"upstream credential rejected{reason}"


def shorten(text: str, most: int = 500) -> str:
    """At most so many characters, cut between words: half a secret is no longer known as one."""
    if len(text) <= most:
        return text
    words = text[: most - 2].rsplit(None, 1)
    return f"{words[0]} …" if len(words) == 2 else "…"


def ends_retries(kind: str, retry_after: float | None = None) -> bool:
    """Whether the answer carries `x-should-retry: false`.

    The engine has retried already, and the SDKs would do so twice more on 408, 409, 429 and 5xx.
    Left out where the client is told to come back within a minute.
    """
    status = ANSWERS[kind].openai.status
    if status not in (408, 409, 429) and status < 500:
        return False
    told = kind in _MAY_COME_BACK and retry_after is not None and retry_after <= _PATIENCE
    return not told


def retry_headers(kind: str, retry_after: float | None = None) -> dict[str, str]:
    """Headers of an answer that failed: when to come back, and whether to try again at all."""
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers["retry-after"] = str(max(1, ceil(retry_after)))
    if ends_retries(kind, retry_after):
        headers["x-should-retry"] = "false"
    return headers


# ---- upstream side ----


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error object as an upstream worded it; what it did not say is ""."""

    message: str
    type: str = ""
    code: str = ""
    param: str | None = None


def read_error(value: object) -> UpstreamError | None:
    """The error in a decoded answer or record of any known dialect, or None if it holds none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    found = value.get("error")
    if not found:
        return _error_object(value) if value.get("object") == "error" else None
    if isinstance(found, dict):
        return _error_object(found)
    return UpstreamError(found if isinstance(found, str) else _message(value), code=_code(value))


def headless(value: dict[str, object], lacks: str) -> UpstreamError:
    """The error of an answer without its main part. Some upstreams tell it so, with a 200:
    `{"code": 1302, "msg": "…"}`, `{"base_resp": {"status_code": 1002, "status_msg": "…"}}`.

    lacks: what is said where they tell nothing
    """
    base = value.get("base_resp")
    held = base if isinstance(base, dict) else value
    words = next((w for n in _WORDY if isinstance(w := held.get(n), str) and w), "")
    code = _code({"code": held.get("code", held.get("status_code"))})
    return UpstreamError(f"{lacks}: {words}" if words else lacks, code=code)


def unless_empty(events: list[Event], reason: object) -> list[Event]:
    """The events of a whole answer. One that says nothing and tells no reason to end is none."""
    if reason or any(isinstance(event, (*CONTENT, ErrorEvent)) for event in events):
        return events
    return [ErrorEvent("empty_response", "the upstream's answer says nothing")]


_WORDY = ("message", "msg", "detail", "error_msg", "status_msg")


def _error_object(found: dict[str, object]) -> UpstreamError:
    kind = found.get("type") or found.get("status")
    param = found.get("param")
    return UpstreamError(
        message=_message(found),
        type=kind if isinstance(kind, str) else "",
        code=_code(found),
        param=param if isinstance(param, str) else None,
    )


def _message(found: dict[str, object]) -> str:
    for name in ("message", "msg", "detail"):
        text = found.get(name)
        if isinstance(text, str) and text:
            return text
    return "the upstream reported an error"


def _code(found: dict[str, object]) -> str:
    code = found.get("code")
    return str(code) if isinstance(code, str | int) else ""


_WORDS: dict[str, str] = {
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "model_not_found": "model_not_found",
    "not_found_error": "model_not_found",
    "not_found": "model_not_found",
    "insufficient_quota": "quota_exhausted",
    "quota_exceeded": "quota_exhausted",
    "billing_error": "quota_exhausted",
    "billing_hard_limit_reached": "quota_exhausted",
    "access_terminated_error": "quota_exhausted",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "rate_limit_reached_error": "rate_limited",
    "too_many_requests": "rate_limited",
    "resource_exhausted": "rate_limited",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "engine_overloaded_error": "overloaded",
    "service_unavailable": "overloaded",
    "unavailable": "overloaded",
    "invalid_api_key": "auth_expired",
    "invalid_authentication_error": "auth_expired",
    "authentication_error": "auth_expired",
    "unauthenticated": "auth_expired",
    "token_expired": "auth_expired",
    "permission_error": "auth_invalid",
    "permission_denied": "auth_invalid",
    "timeout": "retryable",
    "timeout_error": "retryable",
}
# Types that say only who is to blame: the text and the status know more.
_BROAD: dict[str, str] = {
    "invalid_request_error": "invalid_request",
    "invalid_argument": "invalid_request",
    "badrequesterror": "invalid_request",
    "bad_request_error": "invalid_request",
}
_PHRASES = tuple(
    (cls, re.compile("|".join(phrases), re.IGNORECASE))
    for cls, phrases in {
        "context_length": (
            "maximum context length",
            "context_length_exceeded",
            "prompt is too long",
            "exceeds? the (?:maximum|available) context",
            "input token count.{0,80}exceeds",
            "input is too long",
            "too many tokens",
            "context window",
        ),
        "reasoning_missing": (
            "reasoning_content is missing",
            "missing .?reasoning_content",
            "reasoning_content.{0,40}must be passed back",
        ),
        "quota_exhausted": (
            "insufficient.{0,12}(?:quota|balance|credit)",
            "exceeded your current quota",
            "credit balance is too low",
            "usage limit",
            "billing cycle",
        ),
        "content_filter": ("content (?:management )?policy", "content filter", "safety system"),
        "model_not_found": (
            "model .{0,80}(?:does not exist|not found|not exist)",
            "unknown model",
            "no such model",
        ),
        "rate_limited": ("rate.?limit", "too many requests"),
        "overloaded": ("overloaded", "server is busy", "at capacity"),
    }.items()
)
_STATUSES: dict[int, str] = {
    401: "auth_expired",
    402: "quota_exhausted",
    403: "auth_invalid",
    404: "model_not_found",
    408: "retryable",
    409: "retryable",
    425: "retryable",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
# Statuses whose meaning no phrase in the text may change.
_FIRM = (401, 404, 429)


def classify_error(type: str, code: str, message: str, status: int) -> str:
    """The outcome class of an upstream's error. status is 0 where there was none (in a stream).

    In order: a telling code or type, a firm status, a phrase of the message, the status, a broad
    type. An error that says nothing is retryable.
    """
    if code.isdecimal() and status < 300:
        status = int(code)
    for word in (code.lower(), type.lower()):
        if word in _WORDS:
            return _WORDS[word]
    if status not in _FIRM:
        for cls, pattern in _PHRASES:
            if pattern.search(message):
                return cls
    if status in _STATUSES:
        return _STATUSES[status]
    if 300 <= status < 400:
        return "fatal"
    if 400 <= status < 500:
        return "invalid_request"
    return _BROAD.get(type.lower(), "retryable")


def error_event(found: UpstreamError, status: int = 0) -> ErrorEvent:
    """An error that came in an answer, classed."""
    cls = classify_error(found.type, found.code, found.message, status)
    return ErrorEvent(cls, found.message, status, found.code)


def bare_error(value: dict[str, object]) -> UpstreamError:
    """The error of an `event: error` whose data has no `error` key."""
    return read_error({"error": value}) or UpstreamError("the upstream reported an error")


_CHALLENGE = re.compile(rb"challenge-platform|cf-chl|just a moment\.\.\.|captcha", re.IGNORECASE)
_PAGE = re.compile(rb"\s*<")


def classify_text(body: bytes, status: int = 0) -> tuple[str, str]:
    """Class and message of an answer that is not JSON: nothing, a page, or plain text."""
    cls = classify_error("", "", "", status)
    if not body.strip():
        if status < 400:
            return "empty_response", "the upstream's answer is empty"
        return cls, f"the upstream answered {status}"
    if _PAGE.match(body):
        if _CHALLENGE.search(body):
            return "challenge", "a bot wall answered instead of the upstream"
        return cls, "the upstream answered with a page, not JSON"
    if status < 400:
        return cls, "the upstream's answer is not JSON"
    text = shorten(body[:4000].decode("utf-8", "replace").strip(), 300)
    return classify_error("", "", text, status), text


def error_from(response: HttpResponse) -> ExchangeError:
    """What an upstream's answer with an error status means. The message is the upstream's own."""
    after = _retry_after(response)
    try:
        value = loads(response.body)
    except JsonError:
        cls, message = classify_text(response.body, response.status)
        return ExchangeError(cls, message, status=response.status, retry_after=after)
    found = read_error(value)
    if found is None:
        found = (
            _error_object(value)
            if isinstance(value, dict)
            else UpstreamError(shorten(str(value), 300))
        )
    return ExchangeError(
        classify_error(found.type, found.code, found.message, response.status),
        found.message,
        status=response.status,
        code=found.code,
        retry_after=after,
    )


def _retry_after(response: HttpResponse) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(response.header(name) or "") * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None
