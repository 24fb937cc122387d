"""Logins by a person, move by move."""

from __future__ import annotations

from random import Random
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from engine.auth.grants import (
    GRANT,
    Errand,
    by_code,
    by_device,
    challenge_of,
    code_of,
    page,
    read_device,
)
from engine.auth.steps import Show
from engine.errors import ExchangeError
from engine.wire import HttpRequest, HttpResponse
from tests.auth.conversations import NOW, client, exchange, grants, options, play, says

ENV: dict[str, Any] = {"_now": NOW, "vars": {}}
BACK = "http://localhost:8087/oauth2callback"
CODE: dict[str, Any] = {
    "flow": "authorization_code", "authorize_url": "https://id.example/oauth",
    "refresh_token": None,
}  # fmt: skip


def test_the_challenge_of_the_standards_example() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_page_of_the_standard() -> None:
    made = client(options(**CODE, scope=["a", "b"], authorize_params={"prompt": "consent"}))
    errand = page(made, ENV, BACK, Random(1))
    query = dict(parse_qsl(urlsplit(errand.url).query))
    assert query == {
        "response_type": "code", "client_id": "me", "redirect_uri": BACK, "state": errand.state,
        "scope": "a b", "code_challenge": challenge_of(errand.verifier),
        "code_challenge_method": "S256", "prompt": "consent",
    }  # fmt: skip
    assert (len(errand.state), len(errand.verifier)) == (32, 64)


def test_a_page_with_names_of_its_own() -> None:
    """As iFlow has it: `redirect`, and no word of the standard."""
    own = {
        "loginMethod": "phone", "type": "phone", "redirect": "{{ oauth.callback }}",
        "state": "{{ oauth.state }}", "client_id": "10009311001",
    }  # fmt: skip
    errand = page(client(options(**CODE, authorize_params=own)), ENV, BACK, Random(1))
    assert parse_qs(urlsplit(errand.url).query) == {
        "loginMethod": ["phone"], "type": ["phone"], "redirect": [BACK],
        "state": [errand.state], "client_id": ["10009311001"],
    }  # fmt: skip
    assert errand.verifier == ""


def test_state_and_verifier_differ_from_login_to_login() -> None:
    made, random = client(options(**CODE)), Random(1)
    one, two = (page(made, ENV, BACK, random) for _ in range(2))
    assert one.state != two.state
    assert one.verifier != two.verifier
    assert one.verifier not in repr(one)


ERRAND = Errand("https://id.example", BACK, "the-state", "the-verifier")


@pytest.mark.parametrize(
    "told",
    [
        "code=c%2F1&state=the-state",
        f"{BACK}?state=the-state&code=c%2F1",
        " code=c/1&state=the-state\n",
    ],
)
def test_the_code_of_what_comes_back(told: str) -> None:
    assert code_of(told, ERRAND) == "c/1"


@pytest.mark.parametrize("told", ["c/1", "c/1#the-state", f"{BACK}?code=c%2F1&state=the-state"])
def test_the_code_of_what_a_person_pastes(told: str) -> None:
    assert code_of(told, ERRAND, pasted=True) == "c/1"


@pytest.mark.parametrize(
    ("told", "pasted", "why"),
    [
        ("code=c&state=another", False, "state differs"),
        ("code=c", False, "state differs"),
        ("c#another", True, "state differs"),
        (f"{BACK}?code=c&state=another", True, "state differs"),
        ("error=access_denied&state=the-state", False, "access_denied"),
        ("error=<script>&state=the-state", False, "no code"),
        ("state=the-state", False, "no code"),
        ("", True, "no code"),
    ],
)
def test_what_is_not_a_code_of_this_login(told: str, pasted: bool, why: str) -> None:
    with pytest.raises(ExchangeError, match=why) as caught:
        code_of(told, ERRAND, pasted=pasted)
    assert caught.value.cls == "auth_invalid"


def test_a_code_is_exchanged_with_its_verifier() -> None:
    made = client(options(**CODE))
    played = play(by_code(made, ENV, "c1", ERRAND), lambda request, fields: grants("at", "rt"))
    assert played.fields == [
        {
            "grant_type": "authorization_code", "code": "c1", "redirect_uri": BACK,
            "code_verifier": "the-verifier", "client_id": "me", "client_secret": "s3cret",
        }
    ]  # fmt: skip
    assert played.steps == ["HttpRequest", "Keep"]
    assert played.tokens is not None
    assert played.tokens.refresh == "rt"


def test_a_login_ends_with_the_exchange() -> None:
    def server(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
        return says({"k": "key"}) if request.method == "GET" else grants("at", "rt")

    made = client(options(**CODE, exchange=exchange(api_key="$.k")))
    played = play(by_code(made, ENV, "c1", ERRAND), server)
    assert played.steps == ["HttpRequest", "Keep", "HttpRequest", "Keep"]
    assert played.store is not None
    assert played.store["apiKey"] == "key"


# ---- device codes ----

DEVICE: dict[str, Any] = {
    "flow": "device_code", "device_url": "https://id.example/device", "refresh_token": None,
    "client_auth": ["none"],
}  # fmt: skip
SHOWN = {
    "device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": "https://id.example/go",
    "verification_uri_complete": "https://id.example/go?c=ABCD", "expires_in": 900, "interval": 5,
}  # fmt: skip


def device(*answers: Any, shown: Any = SHOWN, **given: Any) -> Any:
    left = list(answers)

    def server(request: HttpRequest, fields: dict[str, str]) -> HttpResponse:
        return says(shown) if request.url.endswith("/device") else left.pop(0)

    return play(by_device(client(options(**{**DEVICE, **given})), ENV, Random(1)), server)


def waits(code: str) -> HttpResponse:
    return says({"error": code}, 400)


def test_a_code_is_shown_and_asked_after_until_it_is_used() -> None:
    played = device(
        waits("authorization_pending"), waits("slow_down"), waits("authorization_pending"),
        grants("at", "rt"), scope=["read"],
    )  # fmt: skip
    page = Show("https://id.example/go", "ABCD-EFGH", "https://id.example/go?c=ABCD")
    assert played.shown == [page]
    assert played.pauses == [5.0, 5.0, 10.0, 10.0]
    assert played.fields[0] == {"client_id": "me", "scope": "read"}
    assert played.fields[1] == {"grant_type": GRANT, "device_code": "dc", "client_id": "me"}
    assert played.steps[-1] == "Keep"
    assert played.tokens is not None
    assert (played.tokens.access, played.tokens.obtained) == ("at", NOW + 30)


def test_errors_that_come_with_status_200_wait_too() -> None:
    pending = says({"error": "authorization_pending", "error_description": "…"})
    assert device(pending, grants("at")).tokens.access == "at"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (waits("access_denied"), "access_denied"),
        (waits("expired_token"), "not used in time"),
        (waits("invalid_client"), "invalid_client"),
    ],
)
def test_a_login_that_fails_is_over(answer: HttpResponse, why: str) -> None:
    with pytest.raises(ExchangeError, match=why) as caught:
        device(answer)
    assert caught.value.cls == "auth_invalid"


def test_a_code_that_nobody_uses_runs_out() -> None:
    pending = [waits("authorization_pending")] * 4
    with pytest.raises(ExchangeError, match="not used in time"):
        device(*pending, shown={**SHOWN, "expires_in": 20})


def test_a_challenge_of_the_device_is_answered() -> None:
    params = {"code_challenge": "{{ oauth.challenge }}", "code_challenge_method": "S256"}
    played = device(grants("at"), device_params=params)
    asked, polled = played.fields
    assert asked["code_challenge"] == challenge_of(polled["code_verifier"])


@pytest.mark.parametrize(
    "answer",
    [says({"error": "invalid_scope"}, 400), says({}), says(b"x"), says({**SHOWN, "user_code": 1})],
)
def test_an_answer_without_a_code_is_an_error(answer: HttpResponse) -> None:
    with pytest.raises(ExchangeError, match="no code for a device"):
        read_device(answer)


def test_old_names_and_missing_times() -> None:
    found = read_device(
        says({"device_code": "d", "user_code": "U", "verification_url": "https://x", "interval": 0})
    )
    assert (found.shown.page, found.wait, found.lasts) == ("https://x", 0.5, 900.0)
    assert "'d'" not in repr(found)
