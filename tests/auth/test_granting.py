"""OAuth as a source of accounts: who they are, where their tokens are, when they are renewed."""

from __future__ import annotations

from typing import Any

import pytest

from engine.auth.granting import Login, account_of, fetching_of
from engine.auth.tokens import Tokens, kept
from engine.options import Secret
from tests.auth.conversations import NOW
from tests.kit import route_of

ROUTE = """
version: 1
name: oauth
extends: openai
base_url: https://api.example.com/v1
models: [m]
auth:
  from:
    oauth2:
      flow: authorization_code
      authorize_url: https://id.example.com/page
      token_url: https://id.example.com/token
      client_id: me
MORE
  bearer: "{{ account.access_token }}"
"""


def logins(more: str = "", **env: str) -> tuple[Login, ...]:
    text = "\n".join(f"      {line}" for line in more.splitlines())
    return route_of(ROUTE.replace("MORE", text), env=env).logins


def test_the_account_of_a_route_that_names_none() -> None:
    (login,) = logins()
    assert (login.account, login.by_a_person) == ("default", True)
    assert login.place.startswith("store:oauth/default/")
    assert login.client.log_in == "log in: penstock login oauth"


def test_each_name_is_an_account_of_its_own() -> None:
    one, two = logins("accounts: [ann, bob]\nstore: tokens/*.json")
    assert [one.place, two.place] == ["file:routes/tokens/ann.json", "file:routes/tokens/bob.json"]
    assert one.digest != two.digest
    assert two.client.log_in == "log in: penstock login oauth bob"


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("~/.iflow/oauth_creds.json", "file:~/.iflow/oauth_creds.json"),
        ("/var/lib/t.json", "file:/var/lib/t.json"),
        ("t.json", "file:routes/t.json"),
    ],
)
def test_where_tokens_are_kept(store: str, place: str) -> None:
    assert [login.place for login in logins(f"store: {store}")] == [place]


def test_an_edit_of_what_is_beside_keeps_the_login_and_one_of_the_client_does_not() -> None:
    def digest(more: str) -> str:
        return logins(more)[0].digest

    assert digest("refresh_before: 1h\nlifetime: 2h") == digest("")
    assert digest("client_secret: s") != digest("")


def test_the_accounts_parts_are_fetched() -> None:
    route = route_of(ROUTE.replace("MORE", "      take: { resource_url: $.u }"))
    (account,) = route.roster.accounts
    plan = route.values[account.fetched]
    assert (account.id, account.parts) == ("default", {})
    assert (plan.outputs, plan.place, plan.persist) == (
        ("access_token", "resource_url"), route.logins[0].place, False,
    )  # fmt: skip
    assert account == account_of(route.logins[0], account.fetched)


def test_a_flow_gives_parts_their_end_and_when_to_look_again() -> None:
    fetching = fetching_of(logins()[0])
    flow = fetching.flow({"_now": NOW, "vars": {}})
    next(flow)
    stored: Any = kept(Tokens("at", "rt", NOW + 3600, NOW))
    with pytest.raises(StopIteration) as stop:
        flow.send(stored)
    granted = stop.value.value
    assert (granted.parts, granted.expires_in) == ({"access_token": "at"}, 3600.0)
    assert granted.renew_in == 3300.0
    assert "at" not in repr(granted)


def test_the_clients_secret_is_known_to_the_redactor() -> None:
    text = ROUTE.replace("MORE", '      client_secret: "${env:SECRET}"')
    route = route_of(text, env={"SECRET": "a-client-secret"})
    assert Secret("a-client-secret") in route.references.values()
    assert "a-client-secret" not in repr(route.spec.auth)
