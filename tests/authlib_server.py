"""An authorization server of authlib's parts, which know the standards and none of our code.

Codes with PKCE (RFC 7636), device codes (RFC 8628), assertions (RFC 7523) and refresh tokens that
are single-use. authlib brings the rules; here are only the tables it asks for, and HTTP.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from authlib.oauth2 import rfc7523, rfc8628  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, grants  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload, OAuth2Request  # type: ignore[import-untyped]
from authlib.oauth2.rfc6750 import BearerTokenGenerator  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import CodeChallenge  # type: ignore[import-untyped]

from engine.shell.stub import listening

SECRET = "the-clients-secret"
WAYS = ["client_secret_basic", "client_secret_post", "none"]


class Client(ClientMixin):  # type: ignore[misc] # authlib has no types
    client_id = "me"

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, uri: str) -> bool:
        return uri.startswith("http://localhost:") and uri.endswith("/callback")

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in WAYS

    def check_response_type(self, kind: str) -> bool:
        return kind == "code"

    def check_grant_type(self, kind: str) -> bool:
        return True


@dataclass
class Row:
    """A code, a device or a token: what authlib asks of each."""

    client_id: str
    scope: str = ""
    redirect_uri: str = ""
    code: str = ""
    code_challenge: str | None = None
    code_challenge_method: str | None = None
    user_code: str = ""
    polled: float = 0.0
    spent: bool = False

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_client_id(self) -> str:
        return self.client_id

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return False

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client_id


@dataclass
class Tables:
    """agreed: user codes a person has typed; keys: public ones, by who signs assertions."""

    codes: dict[str, Row] = field(default_factory=dict)
    devices: dict[str, Row] = field(default_factory=dict)
    refreshers: dict[str, Row] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)
    agreed: set[str] = field(default_factory=set)
    keys: dict[str, Any] = field(default_factory=dict)
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    interval: float = 0.5
    url: str = ""


class Code(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = WAYS

    def save_authorization_code(self, code: str, request: Any) -> None:
        told = request.payload.data
        self.server.tables.codes[code] = Row(
            request.client.client_id, request.scope or "", request.payload.redirect_uri, code,
            told.get("code_challenge"), told.get("code_challenge_method"),
        )  # fmt: skip

    def query_authorization_code(self, code: str, client: Client) -> Row | None:
        found: Row | None = self.server.tables.codes.get(code)
        return found

    def delete_authorization_code(self, row: Row) -> None:
        del self.server.tables.codes[row.code]

    def authenticate_user(self, row: Row) -> str:
        return "ann"


class Refresh(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = WAYS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, token: str) -> Row | None:
        row: Row | None = self.server.tables.refreshers.get(token)
        return row if row is not None and not row.spent else None

    def authenticate_user(self, row: Row) -> str:
        return "ann"

    def revoke_old_credential(self, row: Row) -> None:
        row.spent = True


class Device(rfc8628.DeviceCodeGrant):  # type: ignore[misc]
    def query_device_credential(self, code: str) -> Row | None:
        found: Row | None = self.server.tables.devices.get(code)
        return found

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        return ("ann", True) if user_code in self.server.tables.agreed else None

    def should_slow_down(self, row: Row) -> bool:
        now = time.monotonic()
        fast, row.polled = now - row.polled < float(self.server.tables.interval), now
        return fast


class Bearer(rfc7523.JWTBearerGrant):  # type: ignore[misc]
    def resolve_issuer_client(self, issuer: str) -> Client | None:
        return Client() if issuer in self.server.tables.keys else None

    def resolve_client_public_key(self, client: Client) -> Any:
        issuer = self.extract_assertion(self.request.form["assertion"])[1]["iss"]
        return self.server.tables.keys[issuer]

    def get_audiences(self) -> list[str]:
        return [f"{self.server.tables.url}/token"]

    def authenticate_user(self, subject: str) -> str | None:
        return subject if subject == "ann" else None

    def has_granted_permission(self, client: Client, user: str) -> bool:
        return True


class DeviceEndpoint(rfc8628.DeviceAuthorizationEndpoint):  # type: ignore[misc]
    INTERVAL = 1

    def get_verification_uri(self) -> str:
        return f"{self.server.tables.url}/go"

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        row = Row(client_id, scope or "", user_code=data["user_code"])
        self.server.tables.devices[data["device_code"]] = row


class Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables()
        numbers = itertools.count(1)
        make = BearerTokenGenerator(
            lambda **given: f"at-{next(numbers)}", lambda **given: f"rt-{next(numbers)}"
        )
        self.register_token_generator("default", make)
        self.register_grant(Code, [CodeChallenge(required=True)])
        self.register_grant(Refresh)
        self.register_grant(Device)
        self.register_grant(Bearer)
        self.register_endpoint(DeviceEndpoint)

    def query_client(self, client_id: str) -> Client | None:
        return Client() if client_id == "me" else None

    def save_token(self, token: dict[str, str], request: Any) -> None:
        self.tables.good.add(token["access_token"])
        if "refresh_token" in token:
            self.tables.refreshers[token["refresh_token"]] = Row("me", token.get("scope", ""))

    def send_signal(self, name: str, *args: Any, **given: Any) -> None:
        pass

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> web.Response:
        if isinstance(body, dict):
            return web.json_response(body, status=status)
        return web.Response(status=status, headers=dict(headers))

    # ---- HTTP ----

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path.endswith("/completions"):
            return self._chat(request)
        asked = Asked(request, dict(parse_qsl(body.decode())))
        if request.path == "/authorize":
            grant = self.get_consent_grant(asked, end_user="ann")
            found = self.create_authorization_response(asked, grant_user="ann", grant=grant)
        elif request.path == "/device":
            found = self.create_endpoint_response("device_authorization", asked)
        else:
            found = self.create_token_response(asked)
        kind = asked.form.get("grant_type", request.path).rpartition(":")[2]
        text = found.text or "" if isinstance(found.body, bytes) else ""
        self.tables.answers.append((kind, found.status, text))
        response: web.StreamResponse = found
        return response

    def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tables.calls.append(token)
        if token not in self.tables.good:
            return web.json_response({"error": {"message": "expired"}}, status=401)
        message = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "choices": [message]})


class Asked(OAuth2Request):  # type: ignore[misc]
    """A request as authlib reads it."""

    def __init__(self, request: web.BaseRequest, form: dict[str, str]) -> None:
        super().__init__(request.method, str(request.url), headers=request.headers)
        self._args, self._form = dict(request.query), form
        self.payload = BasicOAuth2Payload({**self._args, **form})

    @property
    def args(self) -> dict[str, str]:
        return self._args

    @property
    def form(self) -> dict[str, str]:
        return self._form


@asynccontextmanager
async def authlib_server() -> AsyncIterator[Tables]:
    server = Server()
    async with listening(server.handle) as url:
        server.tables.url = url
        yield server.tables
