"""Options of OAuth 2 that belong together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth.conversations import exchange, options

CODE: dict[str, Any] = {"flow": "authorization_code", "authorize_url": "https://id.example/a"}


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        ({"flow": "authorization_code"}, "authorize_url"),
        ({"flow": "device_code"}, "device_url"),
        ({"flow": "client_credentials", "client_secret": None}, "client_secret"),
        ({"flow": "refresh_token", "refresh_token": None}, "refresh_token"),
    ],
)
def test_each_flow_has_a_key_that_it_needs(given: dict[str, Any], needs: str) -> None:
    with pytest.raises(ValueError, match=f"needs `{needs}`"):
        options(**given)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"accounts": []}, "needs names"),
        ({"accounts": ["a", "a"]}, "each once"),
        ({"accounts": ["a", "b"], "store": "~/x.json"}, r"write `\*`"),
        ({"authorize_params": {"redirect": "{{ oauth.callback }}"}}, "must send `oauth.state`"),
    ],
)
def test_options_that_do_not_go_together(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        options(**CODE, **given)


def test_a_rule_that_would_fit_every_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="needs `status` or `match`"):
        options(errors=[{"as_": "retryable"}])


def test_own_parameters_are_all_there_are() -> None:
    assert not options(**CODE, authorize_params={"prompt": "consent"}).own_params
    own = {"redirect": "{{ oauth.callback }}", "state": "{{ oauth.state }}"}
    assert options(**CODE, authorize_params=own).own_params


def test_a_verifier_follows_a_challenge() -> None:
    own = {"redirect": "{{ oauth.callback }}", "state": "{{ oauth.state }}"}
    device: dict[str, Any] = {"flow": "device_code", "device_url": "https://id.example/d"}
    assert options(**CODE).proves
    assert not options(**CODE, pkce="none").proves
    assert not options(**CODE, authorize_params=own).proves
    assert options(**CODE, authorize_params={**own, "cc": "{{ oauth.challenge }}"}).proves
    assert not options(**device).proves
    assert options(**device, device_params={"cc": "{{ oauth.challenge }}"}).proves


def test_parts_are_what_is_taken_without_tokens_and_times() -> None:
    given = options(
        take={"resource_url": "$.u", "access_token": "$.t"},
        exchange=exchange(api_key="$.k", expires_at="$.e"),
    )
    assert given.parts == ("resource_url", "api_key")
