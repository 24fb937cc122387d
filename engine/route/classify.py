"""Error rules: from an upstream's answer to an outcome class.

`Classifier.head` looks at status and headers alone, before any body is read; `whole` looks at
everything (a body of at most 1 MiB, or the first record of a stream). First match wins. An answer
with an error status that no rule knows is classed by its status; a 2xx that no rule knows is fine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from engine.dialects.outcomes import shorten
from engine.events import ErrorEvent
from engine.options import Env
from engine.wire import HttpResponse, JsonError, loads

from .alike import once
from .answer_spec import AnswerSelectors, ErrorRuleSpec, ErrorsSpec
from .patterns import compile_regex
from .waits import Wait, compile_waits, header_wait

_STATUS = re.compile(r"[1-5]xx|[1-5]\d\d")
_CLOSE = re.compile(r"[1-4]\d\d\d")
_SLASHED = re.compile(r"/.+/[ism]*", re.S)
_EVENT = re.compile(rb"\s*(?:(?:event|id|retry)?:[^\n]*\n)*data:([^\n]*)")

BY_STATUS = {
    401: "auth_invalid", 402: "quota_exhausted", 403: "auth_invalid", 408: "retryable",
    409: "retryable", 425: "retryable", 429: "rate_limited", 503: "overloaded", 529: "overloaded",
}  # fmt: skip

MOVED = {404: "fatal", 405: "fatal"}

# Close codes of websockets: RFC 6455 §7.4.1 and those registered with IANA since.
BY_CLOSE = {
    1001: "truncated", 1003: "invalid_request", 1006: "truncated", 1007: "invalid_request",
    1008: "fatal", 1009: "context_length", 1010: "fatal", 1012: "overloaded", 1013: "overloaded",
    3000: "auth_invalid", 3003: "auth_invalid",
}  # fmt: skip
CLOSED_WELL = (1000, 1005)  # 1005: without a code

_CONTEXT = re.compile(
    r"maximum context length|context_length_exceeded|prompt is too long|context window"
    r"|exceeds the (maximum|available) context|input token count.{0,40}exceeds|input is too long"
    r"|too many tokens",
    re.I,
)


class Answer:
    """What the rules look at. text and value (decoded JSON, or None) are made when asked for."""

    __slots__ = ("_text", "_value", "now", "response", "status")

    def __init__(self, response: HttpResponse, now: float, value: object = None) -> None:
        self.status = response.status
        self.response = response
        self.now = now
        self._text: str | None = None
        self._value: tuple[object] | None = None if value is None else (value,)

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = self.response.body.decode("utf-8", "replace")
        return self._text

    @property
    def value(self) -> object:
        if self._value is None:
            self._value = (_json(self.response.body),)
        return self._value[0]

    @property
    def content(self) -> object:
        """The JSON, or the text where it is none."""
        return self.text if self.value is None else self.value


@dataclass(frozen=True, slots=True)
class Fault:
    """A compiled error rule. needs_body: it cannot be decided by the head."""

    tests: tuple[Callable[[Answer, Env], bool], ...]
    cls: str
    wait: Wait
    needs_body: bool
    good_too: bool

    def fits(self, answer: Answer, env: Env) -> bool:
        for test in self.tests:  # noqa: SIM110 - a generator would double the cost
            if not test(answer, env):
                return False
        return True


class Classifier:
    """The error rules of a route, compiled.

    own   the route writes its requests itself: where the upstream knows no such path, it has moved
    """

    def __init__(self, spec: ErrorsSpec, *, own: bool = False) -> None:
        self._by_code = {**BY_STATUS, **MOVED} if own else BY_STATUS
        self.faults = _faults(spec)
        self.good = tuple(fault for fault in self.faults if fault.good_too)
        self.reads_good = any(fault.needs_body for fault in self.good)
        self.message = spec.message.first if spec.message else None

    def head(self, response: HttpResponse, env: Env, now: float) -> ErrorEvent | None:
        """The class that status and headers alone decide. Only for an answer with 2xx."""
        answer = Answer(response, now)
        for fault in self.good:
            if fault.needs_body:
                return None
            if fault.fits(answer, env):
                return self._event(fault, answer)
        return None

    def whole(
        self, response: HttpResponse, env: Env, now: float, value: object = None
    ) -> ErrorEvent | None:
        """The class of a whole answer, or of a stream's first record (then `value` is given)."""
        good = response.status < 300
        if good and not self.good:
            return None
        answer = Answer(response, now, value)
        for fault in self.good if good else self.faults:
            if fault.fits(answer, env):
                return self._event(fault, answer)
        return None if good else self._by_status(answer)

    def closed(self, code: int, reason: str, env: Env, now: float) -> ErrorEvent | None:
        """What it means that a websocket was closed: rules see the code as status, the reason as
        body. None: it was closed as it should be, which says nothing of the answer."""
        answer = Answer(HttpResponse(code, (), reason.encode()), now)
        for fault in self.faults:
            if fault.fits(answer, env):
                return self._event(fault, answer)
        if code in CLOSED_WELL:
            return None
        return ErrorEvent(BY_CLOSE.get(code, "retryable"), self.words(answer), code)

    def _event(self, fault: Fault, answer: Answer) -> ErrorEvent:
        header = answer.response.header
        wait = fault.wait(answer.content, header, answer.now)
        return ErrorEvent(
            fault.cls,
            self.words(answer),
            answer.status,
            _code(answer.value),
            wait or header_wait(header, answer.now),
        )

    def _by_status(self, answer: Answer) -> ErrorEvent:
        status = answer.status
        if status >= 500:
            cls = self._by_code.get(status, "retryable")
        elif status < 400:
            cls = "fatal"  # a redirect is never followed
        elif _CONTEXT.search(answer.text[:4000]):
            cls = "context_length"
        else:
            cls = self._by_code.get(status, "invalid_request")
        wait = header_wait(answer.response.header, answer.now)
        return ErrorEvent(cls, self.words(answer), status, _code(answer.value), wait)

    def words(self, answer: Answer) -> str:
        """The upstream's own words, cut to 500 characters; markup and binary are not shown."""
        found = self.message(answer.content) if self.message else None
        if not isinstance(found, str) or not found:
            found = _usual_message(answer.value)
        if not isinstance(found, str):
            value = answer.value
            text = (value if isinstance(value, str) else answer.text).strip()
            plain = (
                (value is None or isinstance(value, str))
                and "<" not in text[:200]
                and text.isprintable()
            )
            found = text if plain and len(text) < 300 else ""
        return shorten(found) or _said(answer.status)


@once
def classifier_of(spec: ErrorsSpec, own: bool) -> Classifier:
    """The classifier of routes with these rules."""
    return Classifier(spec, own=own)


def told(errors: ErrorsSpec, response: HttpResponse) -> str:
    """What a JSON answer says of its failure, "" if it says nothing: no other text is repeated."""
    answer = Answer(response, 0.0)
    if not isinstance(answer.value, dict):
        return ""
    words = Classifier(errors).words(answer)
    return "" if words == _said(response.status) else words


def _said(status: int) -> str:
    if status == 1006:
        return "the upstream broke off its answer"
    done = "closed the websocket with code" if status >= 1000 else "answered with status"
    return f"the upstream {done} {status}"


def _json(body: bytes) -> object:
    """The JSON of a body, or of its first event: some refuse a stream in the form of one."""
    event = _EVENT.match(body)
    if event is not None:
        body = event[1]
    if body[:64].lstrip()[:1] not in (b"{", b"[", b'"'):
        return None
    try:
        return loads(body)
    except JsonError:
        return None


def _usual_message(value: object) -> object:
    """The message where most APIs put it: error.message, error, message, detail."""
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return error["message"]
    for key in ("error", "message", "detail", "msg"):
        if isinstance(value.get(key), str):
            return value[key]
    return None


def _code(value: object) -> str:
    error = value.get("error") if isinstance(value, dict) else None
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


# ---- rules ----


Test = Callable[[Answer, Env], bool]


def tests_of(rule: AnswerSelectors) -> list[Test]:
    """The selectors of a rule, compiled: those that cost least come first."""
    tests: list[Test] = []
    if rule.status:
        tests.append(_status_test([str(code) for code in rule.status]))
    if rule.content_type is not None:
        wanted = rule.content_type.lower()
        tests.append(
            lambda answer, env: (
                (answer.response.header("content-type") or "").lower().startswith(wanted)
            )
        )
    for name, pattern in rule.header.items():
        tests.append(_header_test(name, pattern))
    if rule.match is not None:
        fits = rule.match.test
        tests.append(lambda answer, env: answer.value is not None and fits(answer.value))
    if rule.body is not None:
        search = rule.body.search
        tests.append(lambda answer, env: search(answer.text) is not None)
    if rule.when is not None:
        holds = rule.when.test
        tests.append(
            lambda answer, env: holds({**env, "data": answer.value, "status": answer.status})
        )
    return tests


@lru_cache(maxsize=256)
def _faults(spec: ErrorsSpec) -> tuple[Fault, ...]:
    """The rules, compiled once for all routes that have the very same."""
    return tuple(map(_fault, spec.rules))


def _fault(rule: ErrorRuleSpec) -> Fault:
    return Fault(
        tests=tuple(tests_of(rule)),
        cls=rule.as_,
        wait=compile_waits(rule.retry_after),
        needs_body=any((rule.match, rule.body, rule.when)),
        good_too=not rule.status or any(str(code).startswith("2") for code in rule.status),
    )


def _status_test(codes: list[str]) -> Callable[[Answer, Env], bool]:
    exact = frozenset(int(code) for code in codes if code.isdigit())
    families = frozenset(int(code[0]) for code in codes if code.endswith("xx"))
    return lambda answer, env: answer.status in exact or answer.status // 100 in families


def good_status(code: str, *, socket: bool = False) -> bool:
    """Whether a word of `status:` means something; of a websocket also a close code."""
    return bool(_STATUS.fullmatch(code) or (socket and _CLOSE.fullmatch(code)))


def _header_test(name: str, pattern: str) -> Callable[[Answer, Env], bool]:
    compiled = header_pattern(pattern)
    if compiled is None:
        return lambda answer, env: answer.response.header(name) == pattern
    search = compiled.search
    return lambda answer, env: search(answer.response.header(name) or "") is not None


def header_pattern(text: str) -> re.Pattern[str] | None:
    """The pattern of `/…/flags`, None for plain text. Raises re.error and ValueError."""
    return compile_regex(text) if _SLASHED.fullmatch(text) else None
