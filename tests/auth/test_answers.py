"""Answers of identity services, good and bad, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.auth.answers import body_of, error_code, read_exchange, read_tokens
from engine.auth.tokens import Tokens
from engine.errors import ExchangeError
from engine.wire import HttpResponse
from tests.auth.conversations import NOW, exchange, grants, options, says


def refused(response: HttpResponse, **given: Any) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        read_tokens(response, options(**given), NOW)
    return caught.value


def test_the_tokens_of_the_standard() -> None:
    tokens = read_tokens(grants("at", "rt", scope="a"), options(), NOW)
    assert tokens == Tokens("at", "rt", NOW + 3600, NOW, "Bearer", "a")


def test_what_an_answer_leaves_out_stays_as_it_was() -> None:
    before = Tokens("old", "rt", NOW, scope="a", parts={"k": "v"}, rest={"email": "x"})
    tokens = read_tokens(says({"access_token": "new"}), options(), NOW, before)
    assert tokens == Tokens(
        "new", "rt", NOW + 3600, NOW, "Bearer", "a", {"k": "v"}, rest={"email": "x"}
    )


def test_a_token_that_nothing_refreshes_and_that_says_no_end_has_none() -> None:
    assert read_tokens(says({"access_token": "at"}), options(), NOW).until is None


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({"expires_in": "60"}, NOW + 60),
        ({"expires_in": 60.5}, NOW + 60.5),
        ({"expires_in": True}, NOW + 3600),
        ({"expires_in": 0}, NOW + 3600),
        ({"expires_in": -1}, NOW + 3600),
        ({"expires_in": "soon"}, NOW + 3600),
        ({"expires_in": None, "expires_at": NOW + 9}, NOW + 9),
    ],
)
def test_ends_of_every_kind(more: dict[str, Any], until: float) -> None:
    assert read_tokens(grants("at", "rt", **more), options(), NOW).until == until


def test_tokens_elsewhere_and_further_parts() -> None:
    take = {"access_token": "$.data.t", "expires_at": "$.data.end", "resource_url": "$.data.url"}
    body = {"data": {"t": "at", "end": int(NOW * 1000) + 5000, "url": "https://r.example"}}
    tokens = read_tokens(says(body), options(take=take), NOW)
    assert (tokens.access, tokens.until) == ("at", NOW + 5)
    assert tokens.parts == {"resource_url": "https://r.example"}


def test_a_form_is_read_where_one_is_sent() -> None:
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    response = says(b"access_token=at&scope=a%20b&token_type=bearer", content_type=kind)
    tokens = read_tokens(response, options(), NOW)
    assert (tokens.access, tokens.scope, tokens.kind) == ("at", "a b", "bearer")


@pytest.mark.parametrize(
    ("response", "cls", "says_so"),
    [
        (says({"error": "invalid_grant"}, 400), "auth_invalid", "status 400, invalid_grant"),
        (says({"error": "invalid_client"}, 401), "auth_invalid", "invalid_client"),
        (says({"error": "temporarily_unavailable"}, 400), "unavailable", "temporarily_unavailable"),
        (says({"error": "bad_verification_code"}), "unavailable", "status 200, bad_verification"),
        (says(b"<html>", 502), "unavailable", "status 502"),
        (says({}, 429, Retry_After="17"), "rate_limited", "status 429"),
        (says({"hello": 1}), "unavailable", "no access token"),
        (says(b"not json"), "unavailable", "no access token"),
        (says([1]), "unavailable", "no access token"),
    ],
)
def test_failures_by_the_standard(response: HttpResponse, cls: str, says_so: str) -> None:
    error = refused(response)
    assert error.cls == cls
    assert says_so in error.message


def test_a_wait_that_is_asked_for_is_told() -> None:
    assert refused(says({}, 429, Retry_After="17")).retry_after == 17
    assert refused(says({}, 429, Retry_After="later")).retry_after is None


RULES: list[dict[str, Any]] = [
    {"match": {"success": False}, "as_": "retryable"},
    {"status": [403], "as_": "auth_invalid"},
]


def test_the_routes_rules_come_first() -> None:
    overload = {"success": False, "code": "500", "message": "too many", "data": None}
    assert refused(says(overload), errors=RULES).cls == "retryable"
    assert refused(says({}, 403), errors=RULES).cls == "auth_invalid"
    assert refused(says({"error": "invalid_grant"}, 400), errors=RULES).cls == "auth_invalid"
    assert refused(says({}, 503), errors=RULES).cls == "unavailable"


def test_no_message_repeats_what_a_service_says() -> None:
    leak = {"error": "token sk-canary-1 is bad", "error_description": "sk-canary-2", "x": "sk-"}
    assert "sk-" not in refused(says(leak, 400)).message
    assert error_code(says(leak, 400)) == ""


def test_the_exchange_gives_all_its_parts() -> None:
    given = options(exchange=exchange(api_key="$.data.apiKey", expires_in="$.data.left"))
    answer = says({"success": True, "data": {"apiKey": "sk-1", "left": 30}})
    assert read_exchange(answer, given, NOW) == ({"api_key": "sk-1"}, NOW + 30)
    with pytest.raises(ExchangeError, match="nothing for `api_key`"):
        read_exchange(says({"success": True, "data": {"apiKey": ""}}), given, NOW)
    with pytest.raises(ExchangeError, match="exchange of the token was refused: status 500"):
        read_exchange(says({}, 500), given, NOW)


def test_a_body_that_is_no_map_has_no_fields() -> None:
    assert body_of(says(b"\xff")) == {}
    assert body_of(says("text")) == {}
