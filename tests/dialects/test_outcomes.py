from __future__ import annotations

from typing import Any

import pytest

from engine.dialects.outcomes import (
    ANSWERS,
    CLIENT_KINDS,
    Answer,
    answer_for,
    classify_error,
    classify_text,
    ends_retries,
    error_from,
    headless,
    message_for,
    read_error,
    retry_headers,
    shorten,
)
from engine.errors import OUTCOMES
from engine.wire import HttpResponse, dumps
from tests.kit import World, route_of


@pytest.mark.parametrize(
    ("value", "words", "code"),
    [
        ({"id": "x"}, "no choices", ""),
        ({"code": 1302, "msg": "too fast", "success": False}, "no choices: too fast", "1302"),
        ({"detail": [{"loc": []}]}, "no choices", ""),
        (
            {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}},
            "no choices: rate limit",
            "1002",
        ),
    ],
)
def test_an_answer_that_is_none_may_say_why(
    value: dict[str, object], words: str, code: str
) -> None:
    found = headless(value, "no choices")
    assert (words, code) == (found.message, found.code)


def test_every_class_and_kind_has_an_answer() -> None:
    assert set(ANSWERS) == {*OUTCOMES, *CLIENT_KINDS}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("short enough", "short enough"),
        ("twenty characters!!!", "twenty characters!!!"),
        ("the key is sk-0123456789", "the key is …"),
        ("the key\nis sk-0123456789", "the key\nis …"),
        ("sk-0123456789-0123456789", "…"),
    ],
)
def test_a_message_is_cut_between_words_so_that_no_half_of_a_secret_is_left(
    text: str, shown: str
) -> None:
    assert shorten(text, 20) == shown
    assert len(shown) <= 20


def test_only_the_clients_own_faults_are_told_as_such() -> None:
    for cls, outcome in OUTCOMES.items():
        if outcome.fault != "client":
            assert ANSWERS[cls].openai.status in (429, 502, 503, 504)
        else:
            assert 400 <= ANSWERS[cls].openai.status < 429


@pytest.mark.parametrize(
    ("kind", "openai", "anthropic"),
    [
        ("auth_invalid", (502, "server_error"), (502, "api_error")),
        ("quota_exhausted", (429, "insufficient_quota"), (402, "billing_error")),
        ("rate_limited", (429, "rate_limit_error"), (429, "rate_limit_error")),
        ("overloaded", (503, "server_error"), (529, "overloaded_error")),
        ("truncated", (502, "server_error"), (502, "api_error")),
        ("timeout", (504, "timeout"), (504, "timeout_error")),
        ("connect", (502, "server_error"), (502, "api_error")),
        ("challenge", (503, "server_error"), (503, "overloaded_error")),
        ("context_length", (400, "invalid_request_error"), (400, "invalid_request_error")),
        ("model_not_found", (404, "invalid_request_error"), (404, "not_found_error")),
        ("auth", (401, "authentication_error"), (401, "authentication_error")),
        ("too_large", (413, "invalid_request_error"), (413, "request_too_large")),
    ],
)
def test_statuses_and_types(kind: str, openai: tuple[int, str], anthropic: tuple[int, str]) -> None:
    found = ANSWERS[kind]
    assert openai == (found.openai.status, found.openai.type)
    assert anthropic == (found.anthropic.status, found.anthropic.type)


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("auth_invalid", 502, "UNAVAILABLE"),
        ("quota_exhausted", 429, "RESOURCE_EXHAUSTED"),
        ("rate_limited", 429, "RESOURCE_EXHAUSTED"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("timeout", 504, "DEADLINE_EXCEEDED"),
        ("context_length", 400, "INVALID_ARGUMENT"),
        ("model_not_found", 404, "NOT_FOUND"),
        ("auth", 401, "UNAUTHENTICATED"),
        ("forbidden", 403, "PERMISSION_DENIED"),
        ("too_large", 413, "INVALID_ARGUMENT"),
        ("internal", 500, "INTERNAL"),
    ],
)
def test_statuses_have_googles_names(kind: str, status: int, word: str) -> None:
    assert Answer(status, word) == answer_for(kind, "gemini")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("context_length", "context_length_exceeded"),
        ("model_not_found", "model_not_found"),
        ("quota_exhausted", "insufficient_quota"),
        ("auth", "invalid_api_key"),
        ("bad_request", None),
    ],
)
def test_codes(kind: str, code: str | None) -> None:
    assert code == ANSWERS[kind].openai.code


def test_a_refused_request_keeps_what_the_upstream_said_of_it() -> None:
    kept = answer_for("invalid_request", "openai", status=422, code="odd")
    assert Answer(422, "invalid_request_error", "odd") == kept
    assert Answer(422, "invalid_request_error") == (
        answer_for("invalid_request", "anthropic", status=422, code="odd")
    )
    assert Answer(413, "request_too_large") == (
        answer_for("invalid_request", "anthropic", status=413)
    )
    assert Answer(400, "invalid_request_error") == answer_for("invalid_request", "openai")


def test_the_upstreams_code_does_not_replace_ours() -> None:
    assert answer_for("overloaded", "openai", code="x").code == "overloaded"


def test_f23_what_is_said_of_a_credential() -> None:
    rejected = "upstream credential rejected"
    assert rejected == message_for("auth_invalid", "bad key sk-1", status=401)
    assert rejected == message_for("auth_expired", "bad key sk-1")
    assert f"{rejected}: no access here" == message_for(
        "auth_invalid", "no access here", status=403
    )


def test_a_failure_without_words_gets_some() -> None:
    assert message_for("retryable", "") == "the upstream failed"
    assert message_for("bad_request", "") == "the request is malformed"
    assert message_for("retryable", "as it was") == "as it was"


@pytest.mark.parametrize(
    ("kind", "after", "ends"),
    [
        ("retryable", None, True),
        ("timeout", None, True),
        ("quota_exhausted", 5.0, True),
        ("rate_limited", None, True),
        ("rate_limited", 61.0, True),
        ("rate_limited", 60.0, False),
        ("unavailable", 1.0, False),
        ("overloaded", 1.0, True),
        ("invalid_request", None, False),
        ("model_not_found", None, False),
        ("auth", None, False),
    ],
)
def test_what_clients_shall_not_try_again(kind: str, after: float | None, ends: bool) -> None:
    assert ends is ends_retries(kind, after)


def test_headers_of_a_failure() -> None:
    assert retry_headers("rate_limited", 2.1) == {"retry-after": "3"}
    assert retry_headers("quota_exhausted", 0) == {"retry-after": "1", "x-should-retry": "false"}
    assert retry_headers("bad_request") == {}


# ---- upstream side ----


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"error": {"message": "m", "type": "t", "code": "c", "param": "p"}},
            ("m", "t", "c", "p"),
        ),
        ({"error": {"message": "m", "type": None, "code": 5}}, ("m", "", "5", None)),
        (
            {"error": {"status": "UNAVAILABLE"}},
            ("the upstream reported an error", "UNAVAILABLE", "", None),
        ),
        ([{"error": {"message": "m", "code": 503}}], ("m", "", "503", None)),
        ({"error": "text"}, ("text", "", "", None)),
        ({"error": True, "message": "m"}, ("m", "", "", None)),
        ({"object": "error", "message": "m", "type": "t"}, ("m", "t", "", None)),
        ({"type": "error", "error": {"type": "t", "message": "m"}}, ("m", "t", "", None)),
    ],
)
def test_errors_in_all_their_forms(value: object, words: tuple[object, ...]) -> None:
    found = read_error(value)
    assert found is not None
    assert words == (found.message, found.type, found.code, found.param)


@pytest.mark.parametrize("value", [{}, {"error": None}, {"error": {}}, {"error": ""}, [], 5, None])
def test_what_is_no_error(value: object) -> None:
    assert read_error(value) is None


@pytest.mark.parametrize(
    ("type", "code", "message", "status", "cls"),
    [
        ("", "", "", 0, "retryable"),
        ("", "", "", 500, "retryable"),
        ("", "", "", 503, "overloaded"),
        ("", "", "", 529, "overloaded"),
        ("", "", "", 429, "rate_limited"),
        ("", "", "", 401, "auth_expired"),
        ("", "", "", 403, "auth_invalid"),
        ("", "", "", 404, "model_not_found"),
        ("", "", "", 402, "quota_exhausted"),
        ("", "", "", 400, "invalid_request"),
        ("", "", "", 422, "invalid_request"),
        ("", "", "", 408, "retryable"),
        ("", "", "", 409, "retryable"),
        ("", "", "", 302, "fatal"),
        ("invalid_request_error", "", "", 0, "invalid_request"),
        ("invalid_request_error", "context_length_exceeded", "", 400, "context_length"),
        ("invalid_request_error", "", "maximum context length is 8192", 400, "context_length"),
        ("server_error", "", "This model's maximum context length is 4", 500, "context_length"),
        ("", "", "prompt is too long: 5 tokens > 4 maximum", 400, "context_length"),
        ("", "", "the request exceeds the available context size", 400, "context_length"),
        ("", "", "input token count (5) exceeds the maximum", 400, "context_length"),
        ("", "", "Rate limit: too many tokens per minute", 429, "rate_limited"),
        ("insufficient_quota", "insufficient_quota", "", 429, "quota_exhausted"),
        ("access_terminated_error", "", "usage limit", 403, "quota_exhausted"),
        ("", "", "you have reached your usage limit", 403, "quota_exhausted"),
        ("rate_limit_error", "", "too many tokens", 0, "rate_limited"),
        ("overloaded_error", "", "Overloaded", 0, "overloaded"),
        ("", "429", "slow down", 0, "rate_limited"),
        ("", "429", "slow down", 200, "rate_limited"),
        ("", "400", "x", 502, "retryable"),
        ("", "", "The model `x` does not exist", 400, "model_not_found"),
        ("", "content_filter", "", 400, "content_filter"),
        ("", "", "triggering our content management policy", 400, "content_filter"),
        ("authentication_error", "", "", 0, "auth_expired"),
        ("", "invalid_api_key", "", 401, "auth_expired"),
        ("permission_error", "", "", 403, "auth_invalid"),
        ("", "", "the engine is currently overloaded", 500, "overloaded"),
        ("UNAVAILABLE", "", "", 0, "overloaded"),
    ],
)
def test_the_class_of_an_error(type: str, code: str, message: str, status: int, cls: str) -> None:
    assert cls == classify_error(type, code, message, status)
    assert cls in OUTCOMES


@pytest.mark.parametrize(
    ("body", "status", "cls", "message"),
    [
        (b"", 200, "empty_response", "the upstream's answer is empty"),
        (b" \n", 204, "empty_response", "the upstream's answer is empty"),
        (b"", 503, "overloaded", "the upstream answered 503"),
        (b" <!doctype html>", 200, "retryable", "the upstream answered with a page, not JSON"),
        (b"<html>502</html>", 502, "retryable", "the upstream answered with a page, not JSON"),
        (
            b"<html><title>Just a moment...</title>",
            403,
            "challenge",
            "a bot wall answered instead of the upstream",
        ),
        (b"upstream connect error", 503, "overloaded", "upstream connect error"),
        (b"rate limit hit", 400, "rate_limited", "rate limit hit"),
        (b"OK", 200, "retryable", "the upstream's answer is not JSON"),
    ],
)
def test_answers_that_are_not_json(body: bytes, status: int, cls: str, message: str) -> None:
    assert (cls, message) == classify_text(body, status)


def test_an_error_answer_of_an_upstream() -> None:
    body = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    error = error_from(HttpResponse(429, (("Retry-After", "7"),), dumps(body)))
    assert (
        error.cls, error.message, error.status, error.code, error.retry_after,
    ) == ("rate_limited", "slow down", 429, "rate_limit_exceeded", 7.0)  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_how_long_an_upstream_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds == error_from(HttpResponse(429, tuple(headers.items()))).retry_after


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "plain"}, "plain"),
        ({"detail": "fastapi"}, "fastapi"),
        ({"detail": [{"loc": []}]}, "the upstream reported an error"),
        (["odd"], "['odd']"),
    ],
)
def test_error_answers_without_an_error_object(body: object, message: str) -> None:
    error = error_from(HttpResponse(400, (), dumps(body)))
    assert ("invalid_request", message) == (error.cls, error.message)


def test_an_error_answer_that_is_a_page() -> None:
    error = error_from(HttpResponse(502, (), b"<html>"))
    assert (error.cls, error.status) == ("retryable", 502)


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(
    ("preset", "body", "expected"),
    [
        ("openai", b'{"choices":[{}]}', "empty_response"),
        (
            "openai",
            b'{"choices":[{"message":{"content":""},"finish_reason":null}]}',
            "empty_response",
        ),
        ("openai", b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}', None),
        ("openai", b'{"choices":[{"message":{"content":"hi"}}]}', None),
        ("anthropic", b'{"content":[]}', "empty_response"),
        ("anthropic", b'{"content":[],"stop_reason":"end_turn"}', None),
        ("anthropic", b'{"content":[{"type":"text","text":"hi"}]}', None),
        ("gemini", b'{"candidates":[{}]}', "empty_response"),
        ("gemini", b'{"candidates":[{"finishReason":"STOP"}]}', None),
        ("gemini", b'{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}', None),
    ],
)
async def test_a_whole_answer_without_content_needs_a_reason_to_end(
    preset: str, body: bytes, expected: str | None, client: str
) -> None:
    route = route_of(
        f"version: 1\nextends: {preset}\nbase_url: https://a.example\nmodels: [m]\n"
        "retry: { attempts: 1 }"
    )
    more: Any = {"max_tokens": 9} if client == "anthropic_messages" else {}
    async with World([body] * 3) as world:
        sink = await world.ask(route, dialect=client, **more)
    assert expected == (sink.error.cls if sink.error else None)
