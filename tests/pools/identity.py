"""A service with accounts: people log in, get tokens that end, and talk with them.

Everything is counted: who logged in how often, how many logins ran at once, which token and which
cookie came with which call.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from tests.security.stage import Echo, Received


@dataclass
class Identity(Echo):
    """The knobs may be turned while it runs.

    lasts     seconds a token is good for
    down      its login answers 503
    refuses   people whose password it no longer takes
    slow      seconds a login takes
    """

    lasts: float = 3600.0
    down: bool = False
    slow: float = 0.0
    refuses: set[str] = field(default_factory=set)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    logins: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    tried: int = 0
    inside: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.answer = self.serve

    async def serve(self, request: web.BaseRequest, got: Received) -> web.StreamResponse:
        road = {"/signin": self.sign_in, "/session": self.open_session}
        return await road.get(got.target.partition("?")[0], self.talk)(got)

    async def sign_in(self, got: Received) -> web.StreamResponse:
        """Email and password for a token, in the body and as a cookie."""
        self.tried += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(self.slow)
            who = got.json["email"]
            if self.down:
                return web.Response(status=503)
            if who in self.refuses or got.json["password"] != f"word of {who}":
                return web.json_response({"detail": "wrong password"}, status=401)
            self.logins[who] += 1
            token = self.token_of(who)
            answer = web.json_response({"token": token})
            answer.set_cookie("token", token)
            answer.set_cookie("person", who)
            return answer
        finally:
            self.inside -= 1

    def token_of(self, who: str) -> str:
        """A JWT; nobody checks its signature."""
        until = time.time() + self.lasts
        claims = {"id": who, "exp": until, "n": self.logins[who]}
        parts = [{"alg": "none"}, claims]
        coded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
        token = b".".join([*coded, b"sig"]).decode()
        self.tokens[token] = (who, until)
        return token

    async def open_session(self, got: Received) -> web.StreamResponse:
        """The second step of a login: a token for a key."""
        who = self.whose(got)
        if who is None:
            return web.Response(status=401)
        return web.json_response({"key": f"key of {who}"})

    def whose(self, got: Received) -> str | None:
        """Who a good token belongs to."""
        heads = {name.lower(): value for name, value in got.headers}
        who, until = self.tokens.get(heads.get("authorization", "")[7:], (None, 0.0))
        return who if time.time() < until else None

    async def talk(self, got: Received) -> web.StreamResponse:
        """Says whose token came, and whose cookie; 401 without a good token."""
        who = self.whose(got)
        if who is None:
            return web.json_response({"detail": "expired"}, status=401)
        self.calls[who] += 1
        heads = {name.lower(): value for name, value in got.headers}
        person = re.search(r'person="?([^;"]+)', heads.get("cookie", ""))
        said = {"who": who, "jar": person[1] if person else "", "asked": got.json.get("prompt")}
        return web.json_response({"text": json.dumps(said)})

    def expire(self, *people: str) -> None:
        """These tokens (all, if nobody is named) are no longer good."""
        for token, (who, _) in self.tokens.items():
            if not people or who in people:
                self.tokens[token] = (who, 0.0)


ROUTE = """
version: 1
base_url: %URL%
models: [people]
auth:
  from: { file: accounts.jsonl, format: jsonl, id: email }
  bearer: "{{ values.token }}"
{auth}
upstream: { cookies: account }
values:
  token:
    scope: account
    request:
      path: /signin
      json: { email: "{{ account.email }}", password: "{{ account.password }}" }
    extract: [ { cookie: token }, { json: $.token } ]
    ttl: { jwt: exp }
    refresh_for: [auth_expired]
{value}
request: { path: /talk, json: { prompt: "{{ req.prompt }}" } }
response: { events: [ { text: $.text, finish: stop } ] }
errors: { rules: [ { status: 401, as: auth_expired }, { status: 5xx, as: retryable } ] }
"""


def route(auth: str = "", value: str = "", more: str = "") -> str:
    """The route to it; more keys of `auth`, of the value, of the whole."""
    text = ROUTE.replace("{auth}\n", auth and f"  {auth}\n")
    return text.replace("{value}\n", value and f"    {value}\n") + more


def person(number: int, password: str = "") -> str:
    """A line of the accounts file."""
    who = f"p{number}@example.com"
    return json.dumps({"email": who, "password": password or f"word of {who}"}) + "\n"
