"""OAuth 2 (RFC 6749) as a source of accounts: its options.

The conversations are in `flows.py` and, for a person who logs in, in `grants.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.errors import OUTCOMES
from engine.options import Duration, Path, Secret, Selector, Template, Tree, option

from .assertions import ACCOUNT, Assertion

AUTHORIZE = (*ACCOUNT, "oauth.callback", "oauth.state", "oauth.challenge")
TOKEN = (*ACCOUNT, "oauth.access_token", "oauth.refresh_token", "oauth.scope")
CLASSES = tuple(OUTCOMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Where the browser comes back to: a port of this machine, or a page that shows the code."""

    host: Literal["localhost", "127.0.0.1"] = option("localhost", "how this machine is called")
    port: int = option(0, "the port, if the service knows only one; 0 takes a free one")
    path: str = option("/callback", "the path")
    uri: str | None = option(None, "a page of the service instead, whose code is then pasted")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthRule:
    status: list[int] = option([], "status codes of the answer", lone=True)
    match: Selector | None = option(None, "values in its JSON body")
    as_: str = option(doc="`auth_invalid` ends the login; every other class may pass", name="as",
                      choices=CLASSES)  # fmt: skip

    def __post_init__(self) -> None:
        if not self.status and self.match is None:
            raise ValueError("a rule needs `status` or `match`")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRequest:
    """One request with the token. At most one body."""

    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ("json", "form")

    method: Literal["GET", "POST"] | None = option(None, "default: POST with a body, else GET")
    url: str = option(doc="a whole URL; scheme and host are literal")
    query: dict[str, Template] = option({}, "query parameters", roots=TOKEN)
    headers: dict[str, Template] = option({}, "headers", roots=TOKEN)
    json: Tree | None = option(None, "a JSON body", roots=TOKEN)
    form: dict[str, Template] | None = option(None, "an urlencoded form", roots=TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    request: ExchangeRequest = option(doc="what is asked with the access token")
    take: dict[str, Path] = option(
        doc="parts of the account in its answer; `expires_in`, `expires_at`: how long they last"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    flow: Literal[
        "authorization_code", "device_code", "client_credentials", "refresh_token", "jwt_bearer"
    ] = option(doc="how the first token is had; the first two by `penstock login`")
    token_url: str = option(doc="where tokens are given and refreshed")
    authorize_url: str | None = option(None, "`authorization_code`: the page a person logs in at")
    authorize_params: dict[str, Template] = option(
        {}, "further parameters of that page; all there are, if one mentions `oauth.callback`",
        roots=AUTHORIZE,
    )  # fmt: skip
    callback: Callback = option(Callback(), "`authorization_code`: where the browser comes back")
    pkce: Literal["S256", "none"] = option("S256", "proof that who asked is who comes (RFC 7636)")
    device_url: str | None = option(None, "`device_code`: where a code for a person is had")
    device_params: dict[str, Template] = option(
        {}, "further parameters of that request; the verifier follows if one is `oauth.challenge`",
        roots=(*ACCOUNT, "oauth.challenge"),
    )  # fmt: skip
    client_id: str | None = option(None, "who asks; only `jwt_bearer` may do without")
    client_secret: Secret | None = option(None, "and how it proves that")
    client_auth: list[str] = option(
        ["form"], "how the client is told, tried in this order until one is not refused",
        choices=("basic", "form", "none"), lone=True,
    )  # fmt: skip
    scope: list[str] = option([], "what is asked for", lone=True)
    assertion: Assertion | None = option(
        None, "`jwt_bearer`: what the client signs and gives for a token (RFC 7523)"
    )
    refresh_token: Secret | None = option(None, "`refresh_token`: the first one")
    token_params: dict[str, Template] = option(
        {}, "further parameters of every token request", roots=ACCOUNT
    )
    token_headers: dict[str, Template] = option({}, "headers of every token request", roots=ACCOUNT)
    token_body: Literal["form", "json"] = option("form", "how token requests are written")
    take: dict[str, Path] = option(
        {}, "where things are in a token answer, by name: `access_token`, `refresh_token`, "
        "`expires_in`, `expires_at` if elsewhere; other names are parts of the account",
    )  # fmt: skip
    exchange: Exchange | None = option(None, "a second step: token to the key that is really used")
    accounts: list[str] = option(
        ["default"], "names of the accounts, each logged in by itself", lone=True
    )
    store: str | None = option(
        None, "a JSON file for the tokens, which other programs may share; `*` stands for the "
        "account; default: the engine's own store",
        example="~/.iflow/oauth_creds.json",
    )  # fmt: skip
    refresh_before: Duration = option(Duration(300.0), "renewed so long before the end")
    lifetime: Duration = option(Duration(3600.0), "of a token that can be refreshed and says none")
    timeout: Duration = option(Duration(30.0), "limit for one request")
    errors: list[OAuthRule] = option([], "what failed answers mean, also those with status 200")

    def __post_init__(self) -> None:
        needed = {
            "authorization_code": "authorize_url",
            "device_code": "device_url",
            "client_credentials": "client_secret",
            "refresh_token": "refresh_token",
            "jwt_bearer": "assertion",
        }[self.flow]
        if getattr(self, needed) is None:
            raise ValueError(f"`flow: {self.flow}` needs `{needed}`")
        if self.client_id is None and self.flow != "jwt_bearer":
            raise ValueError(f"`flow: {self.flow}` needs `client_id`")
        if not self.accounts or len(set(self.accounts)) < len(self.accounts):
            raise ValueError("`accounts` needs names, each once")
        if len(self.accounts) > 1 and self.store is not None and "*" not in self.store:
            raise ValueError("several accounts in one `store`: write `*` where the name belongs")
        if self.own_params and "oauth.state" not in _mentions(self.authorize_params):
            raise ValueError("`authorize_params` that name the callback must send `oauth.state`")

    @property
    def who(self) -> str:
        """The client's id, "" if it has none."""
        return self.client_id or ""

    @property
    def proof(self) -> str:
        """What proves who asks, where that is a key and no secret."""
        if self.assertion is None or self.flow != "jwt_bearer":
            return ""
        key = self.assertion.key or self.assertion.service_account
        return key.reveal() if key is not None else ""

    @property
    def own_params(self) -> bool:
        """The route writes every parameter of the page itself."""
        return "oauth.callback" in _mentions(self.authorize_params)

    @property
    def proves(self) -> bool:
        """A challenge is sent, so the verifier has to follow."""
        if self.flow == "device_code":
            return "oauth.challenge" in _mentions(self.device_params)
        own = "oauth.challenge" in _mentions(self.authorize_params)
        return own if self.own_params else self.pkce == "S256"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of an account's parts beside `access_token`."""
        names = [*self.take, *(self.exchange.take if self.exchange else ())]
        return tuple(name for name in dict.fromkeys(names) if name not in TIMES_AND_TOKENS)


def _mentions(templates: dict[str, Template]) -> frozenset[str]:
    return frozenset[str]().union(*(each.mentions for each in templates.values()))


TIMES_AND_TOKENS = (
    "access_token", "refresh_token", "expires_in", "expires_at", "token_type", "scope",
)  # fmt: skip
