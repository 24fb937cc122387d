"""Tokens kept alive, move by move."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.auth.flows import next_look, parts_of, renew
from engine.auth.tokens import Tokens, kept
from engine.errors import ExchangeError
from engine.options import Secret
from engine.wire import HttpRequest, HttpResponse
from tests.auth.conversations import (
    NOW,
    Played,
    Server,
    client,
    exchange,
    grants,
    options,
    play,
    says,
)

GOOD = Tokens("old", "rt-1", NOW + 1800, NOW - 1800)
DUE = Tokens("old", "rt-1", NOW + 100, NOW - 3500)
OVER = Tokens("old", "rt-1", NOW - 1, NOW - 3601)


def nobody(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
    raise AssertionError("no request was expected")


def rotating(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
    """Refresh tokens are single-use: rt-1 gives rt-2 and so on."""
    number = int(fields["refresh_token"].removeprefix("rt-").replace("first", "0"))
    return grants(f"at-{number + 1}", f"rt-{number + 1}")


def run(server: Server, store: Tokens | None = None, *, env: Any = (), **given: Any) -> Played:
    made = client(options(**given))
    return play(renew(made, {"_now": NOW, "vars": {}, **dict(env)}), server, store)


def run_reading(look: Callable[[], Any], server: Server) -> Played:
    """The same, with a store that others write to."""
    flow = renew(client(options()), {"_now": NOW, "vars": {}})
    return play(flow, server, look)


# ---- refreshing ----


def test_good_tokens_are_used_as_they_are() -> None:
    played = run(nobody, GOOD)
    assert played.tokens == GOOD
    assert played.steps == ["Recall"]


@pytest.mark.parametrize("store", [DUE, OVER])
def test_due_tokens_are_refreshed_and_kept_before_use(store: Tokens) -> None:
    played = run(rotating, store)
    assert played.steps == ["Recall", "HttpRequest", "Keep"]
    assert played.tokens == Tokens("at-2", "rt-2", NOW + 3600, NOW)
    assert played.store is not None
    assert played.store["refresh_token"] == "rt-2"
    assert played.fields == [
        {
            "grant_type": "refresh_token", "refresh_token": "rt-1", "client_id": "me",
            "client_secret": "s3cret",
        }
    ]  # fmt: skip


def test_the_first_refresh_token_is_the_routes_own() -> None:
    played = run(rotating)
    assert played.fields[0]["refresh_token"] == "first"
    assert played.tokens == Tokens("at-1", "rt-1", NOW + 3600, NOW)


def test_a_refused_token_is_refreshed_though_it_is_young() -> None:
    played = run(rotating, GOOD, env={"_refused": parts_of(GOOD)})
    assert played.tokens is not None
    assert played.tokens.access == "at-2"


def test_what_another_process_has_refreshed_is_not_refreshed_again() -> None:
    played = run(nobody, GOOD, env={"_refused": parts_of(OVER) | {"access_token": "older"}})
    assert played.tokens == GOOD


def test_a_lead_longer_than_the_life_does_not_refresh_for_ever() -> None:
    played = run(nobody, Tokens("young", "rt-1", NOW + 3500, NOW - 100), refresh_before=162000.0)
    assert played.steps == ["Recall"]
    foreign = run(rotating, Tokens("young", "rt-1", NOW + 3500), refresh_before=162000.0)
    assert foreign.steps == ["Recall", "HttpRequest", "Keep"]


def test_somebody_faster_is_seen_when_the_token_is_spent() -> None:
    """Two processes refresh at once: the loser reads again what the winner has kept."""
    won = Tokens("theirs", "rt-9", NOW + 3600, NOW)
    looks = iter([kept(OVER), kept(won)])
    played = run_reading(
        lambda: next(looks), lambda request, fields: says({"error": "invalid_grant"}, 400)
    )
    assert played.tokens == won
    assert played.steps == ["Recall", "HttpRequest", "Recall"]


def test_a_spent_refresh_token_asks_for_a_login() -> None:
    with pytest.raises(ExchangeError, match="invalid_grant; log in, please") as caught:
        run(lambda request, fields: says({"error": "invalid_grant"}, 400), OVER)
    assert caught.value.cls == "auth_invalid"


def test_nobody_has_logged_in() -> None:
    with pytest.raises(ExchangeError, match="log in, please") as caught:
        run(nobody, flow="authorization_code", authorize_url="https://x", refresh_token=None)
    assert caught.value.cls == "auth_invalid"


def test_a_token_without_refresh_is_used_to_its_end() -> None:
    given: dict[str, Any] = {"flow": "device_code", "device_url": "https://x"}
    given["refresh_token"] = None
    played = run(nobody, Tokens("at", "", NOW + 1, NOW - 99), **given)
    assert played.steps == ["Recall"]
    with pytest.raises(ExchangeError, match="log in, please"):
        run(nobody, Tokens("at", "", NOW - 1, NOW - 99), **given)


DOWN: list[Server] = [
    lambda request, fields: says(b"", 503),
    lambda request, fields: says({}, 429),
    lambda request, fields: says(b"<html>"),
    lambda request, fields: ExchangeError("connect", "no connection"),
    lambda request, fields: says({"success": False, "code": "500"}),
]


@pytest.mark.parametrize("server", DOWN)
def test_old_tokens_that_are_valid_outlive_a_failed_refresh(server: Server) -> None:
    rules: list[Any] = [{"match": {"success": False}, "as_": "retryable"}]
    played = run(server, DUE, errors=rules)
    assert played.tokens == DUE
    assert "Keep" not in played.steps
    with pytest.raises(ExchangeError) as caught:
        run(server, OVER, errors=rules)
    assert caught.value.cls != "auth_invalid"


def test_a_refused_token_does_not_outlive_a_failed_refresh() -> None:
    with pytest.raises(ExchangeError, match="status 503"):
        run(lambda request, fields: says(b"", 503), DUE, env={"_refused": parts_of(DUE)})


# ---- the client ----


def test_client_credentials_need_nobody() -> None:
    played = run(
        lambda request, fields: grants("at"), flow="client_credentials", refresh_token=None,
        scope=["a", "b"], token_params={"audience": "{{ vars.who }}"},
        env={"vars": {"who": "https://api.example"}},
    )  # fmt: skip
    assert played.fields == [
        {
            "grant_type": "client_credentials", "client_id": "me", "client_secret": "s3cret",
            "scope": "a b", "audience": "https://api.example",
        }
    ]  # fmt: skip
    assert played.tokens is not None
    assert (played.tokens.access, played.tokens.until) == ("at", NOW + 3600)


def test_ways_of_telling_the_client_are_tried_in_order() -> None:
    def server(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
        if "client_secret" not in fields:
            return says({"error": "invalid_client"}, 401)
        return grants("at", "rt-2")

    played = run(server, OVER, client_auth=["basic", "form"])
    first, second = played.requests
    told = "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert (first.header("authorization"), second.header("authorization")) == (told, None)
    assert ["client_secret" in fields for fields in played.fields] == [False, True]
    assert played.tokens is not None


def test_a_public_client_tells_only_its_name() -> None:
    played = run(rotating, OVER, client_auth=["none"], client_secret=Secret("unused"))
    assert "client_secret" not in played.fields[0]
    assert played.requests[0].header("authorization") is None


def test_a_body_of_json_and_headers_of_the_route() -> None:
    bodies: list[Any] = []

    def server(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
        bodies.append(json.loads(request.body))
        return grants("at", "rt-2")

    played = run(server, OVER, token_body="json", token_headers={"apikey": "public"})
    assert bodies[0]["refresh_token"] == "rt-1"
    request = played.requests[0]
    assert request.header("content-type") == "application/json"
    assert request.header("apikey") == "public"
    assert request.timeout == 30.0


# ---- the exchange ----

KEY = exchange(api_key="$.data.apiKey")
HAS = dataclasses.replace(GOOD, parts={"api_key": "sk-1"})


def keys(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
    if request.method == "GET":
        token = dict(request.query)["accessToken"]
        return says({"success": True, "data": {"apiKey": f"key-of-{token}"}})
    return rotating(request, fields)


def test_a_refresh_is_followed_by_the_exchange() -> None:
    played = run(keys, dataclasses.replace(OVER, parts={"api_key": "sk-1"}), exchange=KEY)
    assert played.steps == ["Recall", "HttpRequest", "Keep", "HttpRequest", "Keep"]
    assert played.tokens is not None
    assert parts_of(played.tokens) == {"access_token": "at-2", "api_key": "key-of-at-2"}
    assert played.store is not None
    assert played.store["apiKey"] == "key-of-at-2"
    assert "exchange_pending" not in played.store


def test_a_key_that_is_there_is_not_asked_for_again() -> None:
    assert run(nobody, HAS, exchange=KEY).tokens == HAS


def test_a_key_that_is_missing_is_asked_for() -> None:
    played = run(keys, GOOD, exchange=KEY)
    assert played.steps == ["Recall", "HttpRequest", "Keep"]
    assert played.tokens is not None
    assert played.tokens.parts == {"api_key": "key-of-old"}


def test_a_failed_exchange_keeps_the_rotated_token_and_the_old_key() -> None:
    def server(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
        return says({}, 500) if request.method == "GET" else rotating(request, fields)

    store = dataclasses.replace(DUE, parts={"api_key": "sk-good"})
    played = run(server, store, exchange=KEY)
    assert played.store is not None
    assert (played.store["refresh_token"], played.store["apiKey"]) == ("rt-2", "sk-good")
    assert played.tokens is not None
    assert (played.tokens.parts, played.tokens.pending) == ({"api_key": "sk-good"}, True)
    later = run(keys, played.tokens, exchange=KEY)
    assert later.steps == ["Recall", "HttpRequest", "Keep"]
    assert later.tokens is not None
    assert (later.tokens.parts, later.tokens.pending) == ({"api_key": "key-of-at-2"}, False)


def test_parts_with_an_end_of_their_own_are_exchanged_again() -> None:
    short = exchange(api_key="$.data.apiKey", expires_in="$.data.left")
    ends = dataclasses.replace(HAS, parts_until=NOW + 10)
    played = run(keys, ends, exchange=short)
    assert played.steps == ["Recall", "HttpRequest", "Keep"]


# ---- when to look again ----


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (Tokens("a"), None),
        (Tokens("a", until=NOW + 3600, obtained=NOW), 3300.0),
        (Tokens("a", until=NOW + 100, obtained=NOW - 3500), 60.0),
        (Tokens("a", until=NOW + 9000, obtained=NOW, parts_until=NOW + 1800), 1500.0),
        (Tokens("a", parts_until=NOW + 300), 150.0),
        (Tokens("a", pending=True), 60.0),
    ],
)
def test_the_next_look_is_before_the_first_end(tokens: Tokens, expected: float | None) -> None:
    assert next_look(client(options()), tokens, NOW) == expected
