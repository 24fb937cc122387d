"""How a person logs in: in a browser that comes back, or with a code typed on another device.

page, by_code   authorization code with PKCE (RFC 6749 section 4.1, RFC 7636)
by_device       device code (RFC 8628)
"""

from __future__ import annotations

import base64
import hashlib
import string
from dataclasses import dataclass, field
from math import isfinite
from random import Random
from urllib.parse import parse_qsl, urlencode, urlsplit

from engine.errors import ExchangeError
from engine.options import Env
from engine.wire import HttpRequest, HttpResponse

from .answers import body_of, error_code, read_tokens
from .flows import obtain, posted, settle, token_request, words
from .steps import Client, Flow, Keep, Pause, Show

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
UNRESERVED = string.ascii_letters + string.digits + "-._~"
SLOWER = 5.0  # seconds added for each `slow_down`
LEAST_WAIT, DEFAULT_WAIT, LONGEST_WAIT = 0.5, 5.0, 60.0
LASTS, LONGEST = 900.0, 3600.0  # seconds a device code is good for


@dataclass(frozen=True, slots=True)
class Errand:
    """One login by browser: the page to open, and what to expect of who comes back."""

    url: str
    callback: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


def page(client: Client, env: Env, callback: str, random: Random) -> Errand:
    """The page where a person agrees. random has to be unpredictable."""
    options = client.options
    state, verifier = _letters(random, 32), _letters(random, 64)
    challenge = challenge_of(verifier)
    known = client.env(env, callback=callback, state=state, challenge=challenge)
    standard: dict[str, str] = {}
    if not options.own_params:
        standard = {"response_type": "code", "client_id": options.who}
        standard |= {"redirect_uri": callback, "state": state}
        if options.scope:
            standard["scope"] = " ".join(options.scope)
        if options.proves:
            standard |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    url = options.authorize_url or ""
    query = urlencode({**standard, **words(options.authorize_params, known)})
    joint = "&" if urlsplit(url).query else "?"
    return Errand(url + joint + query, callback, state, verifier if options.proves else "")


def challenge_of(verifier: str) -> str:
    """RFC 7636, section 4.2."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _letters(random: Random, size: int) -> str:
    return "".join(random.choices(UNRESERVED, k=size))


def code_of(told: str, errand: Errand, *, pasted: bool = False) -> str:
    """The code in what came back: a query, or pasted by a person a whole address, or the code.

    Raises ExchangeError when the state is another one, or the person said no.
    """
    told = told.strip()
    fields = dict(parse_qsl(urlsplit(told).query if "?" in told else told))
    if pasted and "code" not in fields and "error" not in fields:
        code, _, state = told.partition("#")  # as some pages show it
        fields = {"code": code, "state": state or errand.state}
    if fields.get("state", "") != errand.state:
        raise ExchangeError("auth_invalid", "what came back is not of this login (state differs)")
    if "code" not in fields or not fields["code"]:
        why = fields.get("error", "")
        known = why if why.isascii() and why.replace("_", "").isalnum() else "no code"
        raise ExchangeError("auth_invalid", f"the login was not granted: {known[:40]}")
    return fields["code"]


def by_code(client: Client, env: Env, code: str, errand: Errand) -> Flow:
    """Tokens for a code."""
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": errand.callback,
    }
    if errand.verifier:
        grant["code_verifier"] = errand.verifier
    tokens = yield from obtain(client, env, grant)
    return (yield from settle(client, env, tokens))


# ---- a code for another device ----


@dataclass(frozen=True, slots=True)
class Device:
    code: str = field(repr=False)
    shown: Show
    wait: float
    lasts: float


def by_device(client: Client, env: Env, random: Random) -> Flow:
    """Tokens once a person has typed the code that is shown. Raises ExchangeError."""
    way, verifier = client.options.client_auth[0], _letters(random, 64)
    device = read_device((yield _asks_for_a_code(client, env, verifier)))
    yield device.shown
    waited, wait = 0.0, device.wait
    while waited < device.lasts:
        yield Pause(wait)
        waited += wait
        grant = {"grant_type": GRANT, "device_code": device.code}
        if client.options.proves:
            grant["code_verifier"] = verifier
        response: HttpResponse = yield token_request(client, env, grant, way)
        answer = error_code(response)
        if answer == "slow_down":
            wait = min(LONGEST_WAIT, wait + SLOWER)
        elif answer == "expired_token":
            break
        elif answer != "authorization_pending":
            now = env["_now"]
            assert isinstance(now, int | float)
            tokens = read_tokens(response, client.options, now + waited)
            yield Keep(tokens)
            return (yield from settle(client, {**env, "_now": now + waited}, tokens))
    raise ExchangeError("auth_invalid", "the code was not used in time")


def _asks_for_a_code(client: Client, env: Env, verifier: str) -> HttpRequest:
    options, known = client.options, client.env(env, challenge=challenge_of(verifier))
    fields = {"client_id": options.who}
    if options.scope:
        fields["scope"] = " ".join(options.scope)
    fields |= words(options.device_params, known)
    headers = {"Accept": "application/json", **words(options.token_headers, known)}
    return posted(options, options.device_url or "", fields, headers)


def read_device(response: HttpResponse) -> Device:
    """The answer of the device endpoint (RFC 8628, section 3.2). Raises ExchangeError."""
    body = body_of(response)
    code, shown = body.get("device_code"), body.get("user_code")
    url = body.get("verification_uri") or body.get("verification_url")
    if response.status >= 400 or not all(isinstance(x, str) and x for x in (code, shown, url)):
        why = error_code(response)
        told = f"no code for a device: status {response.status}"
        raise ExchangeError("unavailable", told + (f", {why}" if why else ""))
    whole = body.get("verification_uri_complete")
    return Device(
        str(code),
        Show(str(url), str(shown), whole if isinstance(whole, str) else ""),
        _seconds(body.get("interval"), DEFAULT_WAIT, LONGEST_WAIT),
        _seconds(body.get("expires_in"), LASTS, LONGEST),
    )


def _seconds(value: object, default: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return default
    return min(most, max(LEAST_WAIT, float(value)))
