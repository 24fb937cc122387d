"""Logins in fixtures: what a route does with tokens is played without any service.

The answers are those that iFlow's identity service is known to have given.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.replay.fixtures import Fixture
from engine.replay.play import complaints, play
from engine.replay.recorded import Recorded
from engine.route.route import Route
from engine.shell.loopback import through_sockets
from engine.shell.testing import WORLD
from tests.replaying import fixture, route

CLOCK = 1_767_225_600
ROUTE = """
dialect: openai_chat
auth:
  from:
    oauth2:
      flow: authorization_code
      authorize_url: https://id.example/oauth
      token_url: https://id.example/oauth/token
      client_id: me
      client_secret: a-client-secret
      exchange:
        request:
          url: https://id.example/api/oauth/getUserInfo
          query: { accessToken: "{{ oauth.access_token }}" }
        take: { api_key: $.data.apiKey }
      store: ~/.iflow/oauth_creds.json
      refresh_before: 45h
      errors: [ { match: { success: false }, as: retryable } ]
  bearer: "{{ account.api_key }}"
errors:
  rules:
    - { match: { status: ["434", "438"] }, as: auth_invalid }
    - { status: 401, as: auth_expired }
"""
GOOD = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
}
ASKS = {"json": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}}


def tokens(left: float, **more: Any) -> dict[str, Any]:
    return {
        "access_token": "at-1", "refresh_token": "rt-1", "apiKey": "sk-1",
        "expiry_date": int((CLOCK + left) * 1000), "token_type": "bearer", "scope": "", **more,
    }  # fmt: skip


def refresh(spent: str, reply: Any, status: int = 200) -> dict[str, Any]:
    form = {"grant_type": "refresh_token", "refresh_token": spent, "client_id": "me"}
    return {
        "expect": {"method": "POST", "url": "https://id.example/oauth/token", "form": form},
        "reply": {"status": status, "json": reply},
    }


def renewed(number: int) -> dict[str, Any]:
    return {
        "access_token": f"at-{number}", "refresh_token": f"rt-{number}", "expires_in": 172_800,
        "token_type": "bearer", "scope": "",
    }  # fmt: skip


def key(token: str, value: str) -> dict[str, Any]:
    url = "https://id.example/api/oauth/getUserInfo"
    return {
        "expect": {"method": "GET", "url": url, "query": {"accessToken": token}},
        "reply": {"json": {"success": True, "data": {"apiKey": value}}},
    }


def chat(key: str, reply: Any = GOOD, status: int = 200) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    return {"expect": {"headers": headers}, "reply": {"status": status, "json": reply}}


OVERLOAD = {"success": False, "code": "500", "message": "当前找我聊的人太多了", "data": None}
CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a good key is used as it is": (
        [chat("sk-1")],
        {"tokens": {"default": tokens(46 * 3600)}},
    ),
    "45 hours before the end it is refreshed, and the key read again": (
        [refresh("rt-1", renewed(2)), key("at-2", "sk-2"), chat("sk-2")],
        {"tokens": {"default": tokens(44 * 3600)}},
    ),
    "an overload, told with status 200, keeps the key": (
        [refresh("rt-1", OVERLOAD), chat("sk-1")],
        {"tokens": {"default": tokens(3600)}},
    ),
    "a date as text is read": (
        [chat("sk-1")],
        {"tokens": {"default": tokens(0, expiry_date="2026-02-01 00:00")}},
    ),
    "a key that is refused is renewed, and the request tried again": (
        [chat("sk-1", {}, 401), refresh("rt-1", renewed(2)), key("at-2", "sk-2"), chat("sk-2")],
        {"tokens": {"default": tokens(46 * 3600)}},
    ),
    "invalid_grant is the end": (
        [refresh("rt-1", {"error": "invalid_grant"}, 400)],
        {"tokens": {"default": tokens(-1)}, "expect": {"status": 502}},
    ),
    "a blocked key is no answer": (
        [chat("sk-1", {"status": "434", "msg": "Invalid apiKey", "body": None})],
        {
            "tokens": {"default": tokens(46 * 3600)},
            "expect": {"status": 502, "never_contains": ['Invalid apiKey","role']},
        },
    ),
    "nobody has logged in": ([], {"expect": {"status": 502}}),
}


def made(name: str) -> tuple[Route, Fixture]:
    exchanges, more = CASES[name]
    found = {"client": ASKS, "clock": CLOCK, "expect": {"status": 200, "text": "hi"}, **more}
    return route(ROUTE), fixture(*exchanges, **found)


@pytest.mark.parametrize("name", CASES)
async def test_in_memory(name: str) -> None:
    subject, asked = made(name)
    assert complaints(asked, await play(subject, asked, WORLD, Recorded(asked))) == []


@pytest.mark.parametrize("name", CASES)
async def test_through_sockets(name: str) -> None:
    subject, asked = made(name)
    assert complaints(asked, await through_sockets(subject, asked, WORLD.observer)) == []
