"""An identity service over real sockets, strict as the strictest in the wild, and a chat behind it.

    GET  /authorize    agrees at once: redirects with a code (`agrees = False`: with access_denied)
    POST /token        codes with PKCE, refresh tokens that are single-use, devices, clients
    POST /device       a code for a person; `devices` has what she has done with it
    GET  /key          an access token for an API key, which is what the chat takes with `keyed`
    POST /v1/chat/completions

A refresh token that is used twice ends the login, as RFC 9700 (section 4.14.2) advises. Answers
that stand in `next` are given instead, once each.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from engine.shell.stub import listening

SECRET = "the-clients-secret"
ANSWER = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
}

Fields = dict[str, str]


def answer(body: Any, status: int = 200, **headers: str) -> tuple[int, Any, dict[str, str]]:
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def refusal(code: str, status: int = 400) -> tuple[int, Any, dict[str, str]]:
    return answer({"error": code}, status)


@dataclass
class Identity:
    """The service. Attributes may be changed while it runs.

    lifetime   seconds of an access token, as it is told; `good` decides what the chat takes
    rotates    False: refresh tokens stay
    ways       how the client may tell its secret: basic, form, none
    next       answers of the token endpoint that come first
    keyed      the chat takes API keys, not access tokens
    asked      fields of every token request; calls: credentials of every chat
    reused     refresh tokens that were presented again
    """

    lifetime: int = 3600
    rotates: bool = True
    ways: tuple[str, ...] = ("form", "basic", "none")
    agrees: bool = True
    keyed: bool = False
    delay: float = 0.0
    next: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    next_key: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[Fields] = field(default_factory=list)
    pages: list[Fields] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    reused: int = 0
    good: set[str] = field(default_factory=set)
    codes: dict[str, Fields] = field(default_factory=dict)
    refreshers: dict[str, int] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    polls: int = 0
    url: str = ""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def refreshes(self) -> int:
        return sum(each.get("grant_type") == "refresh_token" for each in self.asked)

    def expire(self) -> None:
        """No access token or key is good any more."""
        self.good.clear()

    def login(self) -> Fields:
        """A login that has happened elsewhere: its tokens."""
        family = next(self._numbers)
        pair: Fields = self._pair(family)
        return pair

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        name = request.path.rpartition("/")[2]
        found: web.StreamResponse = await getattr(self, f"_{name}")(request, body)
        return found

    # ---- pages ----

    async def _authorize(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        asked = dict(request.query)
        self.pages.append(asked)
        back = asked.get("redirect_uri") or asked["redirect"]
        told = {"state": asked["state"]}
        if self.agrees:
            code = f"code-{next(self._numbers)}"
            self.codes[code] = {**asked, "back": back}
            told["code"] = code
        else:
            told["error"] = "access_denied"
        return web.Response(status=302, headers={"Location": f"{back}?{urlencode(told)}"})

    async def _device(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        code = f"device-{next(self._numbers)}"
        self.devices[code] = "authorization_pending"
        return web.json_response(
            {
                "device_code": code, "user_code": "ABCD-1234",
                "verification_uri": f"{self.url}/go", "expires_in": 60, "interval": 0.5,
            }
        )  # fmt: skip

    async def _key(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if self.next_key:
            return _response(*self.next_key.pop(0))
        token = request.query.get("accessToken", "")
        if token not in self.good:
            return web.json_response({"success": False, "message": "no"})
        key = f"key-of-{token}"
        self.good.add(key)
        return web.json_response({"success": True, "data": {"apiKey": key, "email": "a@b.example"}})

    async def _completions(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        told = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.calls.append(told)
        fits = told.startswith("key-of-") == self.keyed
        if told not in self.good or not fits:
            return web.json_response({"error": {"message": "token expired"}}, status=401)
        return web.json_response(ANSWER)

    # ---- tokens ----

    async def _token(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append(fields)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.next:
            return _response(*self.next.pop(0))
        if not self._knows(request, fields):
            return _response(*refusal("invalid_client", 401))
        kind = fields.get("grant_type", "").rpartition(":")[2]
        return _response(*getattr(self, f"_by_{kind}", self._by_nothing)(fields))

    def _knows(self, request: web.BaseRequest, fields: Fields) -> bool:
        basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") == f"Basic {basic}":
            return "basic" in self.ways
        if "client_secret" in fields:
            return "form" in self.ways and fields["client_secret"] == SECRET
        return "none" in self.ways and fields.get("client_id") == "me"

    def _by_authorization_code(self, fields: Fields) -> Any:
        page = self.codes.pop(fields.get("code", ""), None)
        if page is None or fields.get("redirect_uri") != page["back"]:
            return refusal("invalid_grant")
        if "code_challenge" in page:
            digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
            proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if proof != page["code_challenge"]:
                return refusal("invalid_grant")
        return answer(self._pair(next(self._numbers)))

    def _by_refresh_token(self, fields: Fields) -> Any:
        token = fields.get("refresh_token", "")
        family = self.refreshers.get(token)
        if family is None:
            return refusal("invalid_grant")
        if family < 0:  # spent before: whoever stole it and whoever owns it are out
            self.reused += 1
            for other, kin in self.refreshers.items():
                if abs(kin) == -family:
                    self.refreshers[other] = family
            return refusal("invalid_grant")
        if self.rotates:
            self.refreshers[token] = -family
            return answer(self._pair(family))
        return answer({k: v for k, v in self._pair(family).items() if k != "refresh_token"})

    def _by_client_credentials(self, fields: Fields) -> Any:
        return answer({k: v for k, v in self._pair(0).items() if k != "refresh_token"})

    def _by_device_code(self, fields: Fields) -> Any:
        self.polls += 1
        state = self.devices.get(fields.get("device_code", ""), "expired_token")
        if state == "agreed":
            return answer(self._pair(next(self._numbers)))
        return refusal(state)

    def _by_nothing(self, fields: Fields) -> Any:
        return refusal("unsupported_grant_type")

    def _pair(self, family: int) -> Any:
        number = next(self._numbers)
        access, refresh = f"at-{number}", f"rt-{number}"
        self.good.add(access)
        self.refreshers[refresh] = family or 1_000_000 + number
        return {
            "access_token": access, "refresh_token": refresh, "token_type": "bearer",
            "expires_in": self.lifetime,
        }  # fmt: skip


def _response(status: int, body: Any, headers: dict[str, str]) -> web.StreamResponse:
    if isinstance(body, bytes):
        return web.Response(status=status, body=body, headers=headers)
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def identity(**given: Any) -> AsyncIterator[Identity]:
    service = Identity(**given)
    async with listening(service.handle) as url:
        service.url = url
        yield service
