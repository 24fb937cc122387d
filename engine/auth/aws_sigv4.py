"""AWS Signature Version 4, by botocore's own signer: the `aws` extra.

botocore is imported when a route that signs this way is compiled, and nowhere else on this floor.
Only its arithmetic is used: the request, the keys and the time come in as arguments, so nothing
here reads a file, the network or a clock. Finding keys is the shell's (`engine/shell/aws.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Literal

from engine.options import Template, option
from engine.wire import HttpRequest

EXTRA = "`auth.sign.aws_sigv4` needs the package botocore: install `penstock[aws]`"
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsKeys:
    access_key: Template = option(doc="access key id", example='"{{ account.access_key }}"')
    secret_key: Template = option(doc="secret access key", example='"{{ account.secret_key }}"')
    session_token: Template | None = option(None, "of temporary credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSigv4:
    service: str = option(doc="the service's signing name", example="bedrock")
    region: str = option(doc="the region", example="us-east-1")
    credentials: AwsKeys | Literal["chain"] = option(
        "chain", "`chain`: as AWS's own tools find them (environment, profile, role); or the parts"
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials, revealed."""

    access_key: str
    secret_key: str
    token: str | None = None


Sign = Callable[[HttpRequest, str, str, Keys, float], HttpRequest]


def load() -> Sign:
    """sign(request, service, region, keys, now): the request with its signature in headers.

    The query has to stand in the URL, and headers that are added later are not signed. Raises
    ImportError without botocore.
    """
    auth, request_type = import_module("botocore.auth"), import_module("botocore.awsrequest")

    def sign(
        request: HttpRequest, service: str, region: str, keys: Keys, now: float
    ) -> HttpRequest:
        signed: Any = request_type.AWSRequest(
            request.method, request.url, dict(request.headers), request.body
        )
        signed.context["timestamp"] = stamp(now)
        signer = auth.SigV4Auth(keys, service, region)
        # What `add_auth` does, but for its own look at the clock.
        signer._modify_request_before_signing(signed)
        text = signer.string_to_sign(signed, signer.canonical_request(signed))
        signer._inject_signature_to_request(signed, signer.signature(text, signed))
        added = {name: signed.headers[name] for name in ADDED if name in signed.headers}
        return request.with_headers(added)

    return sign


ADDED = ("X-Amz-Date", "X-Amz-Security-Token", "Date", "Authorization")


def stand_in(
    request: HttpRequest, service: str, region: str, keys: Keys, now: float
) -> HttpRequest:
    """The same shape with nothing computed, to be shown."""
    date = stamp(now)
    headers = {"X-Amz-Date": date}
    if keys.token:
        headers["X-Amz-Security-Token"] = keys.token
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{date[:8]}/{region}/{service}"
        "/aws4_request, Signature=«signature»"
    )
    return request.with_headers(headers)


def stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime(STAMP)
