"""`auth.sign`, compiled: a function from the final request to the signed one.

It runs last, on the bytes that go out, and again for each attempt. Under `_mask` nothing is
computed: the signature shows as «signature».
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.auth.aws_sigv4 import AwsKeys, AwsSigv4, Keys, load, stand_in
from engine.auth.facts import facts, with_query
from engine.auth.hmac import Hmac, key_bytes, mac
from engine.errors import ExchangeError
from engine.options import Env, Secret, Template
from engine.wire import HttpRequest

from .mentions import mentioned
from .render import pairs, text
from .spec import SignSpec

SHOWN = "«signature»"


@dataclass(frozen=True, slots=True)
class Signer:
    """chain: it signs with what AWS's chain of credentials gives, which env holds as `_aws`."""

    sign: Callable[[HttpRequest, Env], HttpRequest]
    chain: bool = False


def compile_signer(spec: SignSpec) -> Signer:
    """Raises ImportError when the library that signs is not installed."""
    return _hmac(spec.hmac) if spec.hmac is not None else _aws(spec.aws_sigv4)


def moment(env: Env) -> float:
    """Now, by the upstream's clock as far as it is known."""
    now: Any = env["_now"]
    skew: Any = env.get("_skew", 0.0)
    return float(now + skew)


# ---- hmac ----


def _hmac(options: Hmac) -> Signer:
    headers, query = pairs(options.headers, "header"), pairs(options.query, "query parameter")
    wanted = {name.partition(".")[2] for name in mentioned(options) if name.startswith("sig.")}

    def sign(request: HttpRequest, env: Env) -> HttpRequest:
        whole = dataclasses.replace(request, url=with_query(request.url, request.query), query=())
        random: Any = env["_random"]
        sig = facts(whole, moment(env), random, wanted)
        known = {**env, "sig": sig}
        sig["value"] = SHOWN if env.get("_mask") else _value(options, known)
        more = query(known)
        if env.get("_mask"):
            signed = dataclasses.replace(request, query=request.query + more)
        else:
            signed = dataclasses.replace(whole, url=with_query(whole.url, more))
        return signed.with_headers(dict(headers(known)))

    return Signer(sign)


def _value(options: Hmac, env: Env) -> str:
    key = key_bytes(text(options.key.render(env)), options.key_encoding)
    stages = ((_bytes(stage.payload, env), stage.encoding) for stage in options.derive)
    payload = _bytes(options.payload, env)
    return mac(key, stages, payload, options.algorithm, options.encoding)


def _bytes(template: Template, env: Env) -> bytes:
    return text(template.render(env)).encode("utf-8", "surrogateescape")


# ---- aws_sigv4 ----


def _aws(options: AwsSigv4 | None) -> Signer:
    assert options is not None
    signature, credentials = load(), options.credentials
    chain = not isinstance(credentials, AwsKeys)

    def sign(request: HttpRequest, env: Env) -> HttpRequest:
        masked = bool(env.get("_mask"))
        if not masked:
            url = with_query(request.url, request.query)
            request = dataclasses.replace(request, url=url, query=())
        keys = _chained(env) if chain else _written(credentials, env)
        make = stand_in if masked else signature
        return make(request, options.service, options.region, keys, moment(env))

    return Signer(sign, chain)


def _written(parts: Any, env: Env) -> Keys:
    token = text(parts.session_token.render(env)) if parts.session_token is not None else ""
    return Keys(
        text(parts.access_key.render(env)), text(parts.secret_key.render(env)), token or None
    )


def _chained(env: Env) -> Keys:
    if env.get("_mask"):
        return Keys("«aws access key»", "")
    found: Any = env.get("_aws")
    if not isinstance(found, dict) or not found:
        raise ExchangeError("fatal", "there is no chain of AWS credentials here")
    parts: dict[str, Secret] = found
    token = parts.get("session_token")
    return Keys(
        parts["access_key"].reveal(),
        parts["secret_key"].reveal(),
        token.reveal() if token else None,
    )


__all__ = ["Signer", "compile_signer", "moment"]
