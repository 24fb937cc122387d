"""`auth.sign` on whole requests."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from random import Random
from typing import Any

import pytest

from engine.errors import ExchangeError
from engine.options import Secret
from engine.wire import HttpRequest
from tests.kit import compiled, route_of

NOW = 1700000000.0
HEAD = """
version: 1
base_url: https://api.example.com/v2
models: [m]
request: { path: /chat, query: { q: "a b" }, json: { say: "{{ req.prompt }}" } }
response: { events: [ { text: $.x } ] }
"""
BODY = '{"say":"hé"}'.encode()


def signed(text: str, *, env: dict[str, str] | None = None, **more: Any) -> HttpRequest:
    route = route_of(HEAD + text, env={"ID": "me", "SECRET": "s3cret", **(env or {})})
    known: dict[str, Any] = {
        "req": {"prompt": "hé"}, "model": {"id": "m", "upstream": "m"}, "vars": {}, "values": {},
        "session": {}, "account": route.account, "_ref": route.references, "_now": NOW,
        "_random": Random(1), **more,
    }  # fmt: skip
    return route.render(known, None, [], None)


WRITTEN = """
auth:
  from: { inline: { id: "${env:ID}", secret: "${env:SECRET}" } }
  sign:
    hmac:
      algorithm: sha256
      key: "{{ account.secret }}"
      encoding: hex
      payload: "{{ [sig.method, sig.path_query, sig.timestamp, sig.body_sha256] | join('\\n') }}"
      headers:
        X-Key-Id: "{{ account.id }}"
        X-Timestamp: "{{ sig.timestamp }}"
        X-Signature: "v1={{ sig.value }}"
"""


def expected(key: bytes, payload: str) -> str:
    return hmac.new(key, payload.encode(), hashlib.sha256).hexdigest()


def test_a_body_is_signed_as_the_language_promises() -> None:
    request = signed(WRITTEN)
    digest = hashlib.sha256(BODY).hexdigest()
    value = expected(b"s3cret", f"POST\n/v2/chat?q=a%20b\n1700000000\n{digest}")
    assert (request.url, request.query) == ("https://api.example.com/v2/chat?q=a%20b", ())
    assert request.body == BODY
    found = {name: request.header(name) for name in ("X-Key-Id", "X-Timestamp", "X-Signature")}
    assert found == {"X-Key-Id": "me", "X-Timestamp": "1700000000", "X-Signature": f"v1={value}"}


def test_the_upstreams_clock_is_used_where_it_is_known() -> None:
    assert signed(WRITTEN, _skew=-90.0).header("x-timestamp") == "1699999910"


def test_nothing_is_computed_under_the_mask() -> None:
    request = signed(WRITTEN, _mask=True)
    assert request.header("x-signature") == "v1=«signature»"
    assert request.header("x-key-id") == "«env:ID»"
    assert request.query == (("q", "a b"),)
    assert "s3cret" not in repr(request)


TWO_STAGES = """
auth:
  from: { inline: { root: "${env:SECRET}", user: "${env:ID}" } }
  sign:
    hmac:
      key: "{{ account.root }}"
      derive: [ { payload: "{{ sig.timestamp_ms // 300000 }}", encoding: hex } ]
      payload: >-
        requestId,r1,timestamp,{{ sig.timestamp_ms }},user_id,{{ account.user
        }}|{{ req.prompt | b64 }}|{{ sig.timestamp_ms }}
      headers: { X-Signature: "{{ sig.value }}" }
      query: { timestamp: "{{ sig.timestamp_ms }}", signature_timestamp: "{{ sig.timestamp_ms }}" }
"""


def test_two_stages_over_a_window_of_time() -> None:
    """The scheme of the chats around GLM: a key for five minutes, its hex text signs the rest."""
    request = signed(TWO_STAGES)
    window = expected(b"s3cret", str(1700000000000 // 300000)).encode()
    said = b64encode("hé".encode()).decode()
    text = f"requestId,r1,timestamp,1700000000000,user_id,me|{said}|1700000000000"
    assert request.header("x-signature") == expected(window, text)
    assert request.url.endswith(
        "?q=a%20b&timestamp=1700000000000&signature_timestamp=1700000000000"
    )


def test_the_signature_of_iflow_by_a_filter() -> None:
    """The vector of that service's own program: key, session id and time as they are published."""
    text = """
auth: { from: { inline: { api_key: "${env:SECRET}" } } }
let: { sid: session-00000000-0000-4000-8000-000000000000, ts: "{{ now_ms() }}" }
upstream:
  headers:
    x-iflow-signature: >-
      {{ ('iFlow-Cli:' ~ let.sid ~ ':' ~ let.ts) | hmac_sha256(account.api_key) }}
"""
    let = {"sid": "session-00000000-0000-4000-8000-000000000000", "ts": 1700000000000}
    request = signed(text, env={"SECRET": "sk-test-0000"}, let=let)
    assert request.header("x-iflow-signature") == (
        "a421ec34235883fcb8015c037b6f99c020ee1c4089079ae89b1f4fdc0823c640"
    )


def test_a_signature_that_would_break_a_line_is_refused() -> None:
    text = WRITTEN.replace("{{ account.id }}", "{{ req.prompt }}")
    with pytest.raises(ExchangeError, match="control character"):
        signed(text, req={"prompt": "a\r\nX-Admin: 1"})


AWS = """
auth:
  from: { inline: { id: "${env:ID}", secret: "${env:SECRET}" } }
  sign:
    aws_sigv4:
      service: bedrock
      region: us-east-1
      credentials: { access_key: "{{ account.id }}", secret_key: "{{ account.secret }}" }
"""
CHAIN = "auth: { sign: { aws_sigv4: { service: bedrock, region: us-east-1 } } }\n"


def test_aws_with_the_parts_of_an_account() -> None:
    request = signed(AWS)
    told = request.header("authorization") or ""
    assert told.startswith(
        "AWS4-HMAC-SHA256 Credential=me/20231114/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature="
    )
    assert request.url == "https://api.example.com/v2/chat?q=a%20b"
    assert signed(AWS) == request
    assert signed(AWS, _skew=60.0).header("authorization") != told


def test_aws_under_the_mask() -> None:
    shown = signed(AWS, _mask=True)
    assert shown.header("authorization") == (
        "AWS4-HMAC-SHA256 Credential=«env:ID»/20231114/us-east-1/bedrock/aws4_request, "
        "Signature=«signature»"
    )
    assert "«aws access key»" in (signed(CHAIN, _mask=True).header("authorization") or "")


def test_aws_with_the_chain() -> None:
    keys = {name: Secret(name) for name in ("access_key", "secret_key", "session_token")}
    request = signed(CHAIN, _aws=keys)
    assert "Credential=access_key/" in (request.header("authorization") or "")
    assert request.header("x-amz-security-token") == "session_token"
    with pytest.raises(ExchangeError, match="no chain of AWS credentials"):
        signed(CHAIN)


def test_a_route_says_whether_it_needs_the_chain() -> None:
    env = {"ID": "i", "SECRET": "s"}
    signers = [route_of(HEAD + text, env=env).signer for text in (AWS, CHAIN)]
    assert [signer.chain for signer in signers if signer] == [False, True]


def test_a_missing_package_is_a_problem_of_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError

    monkeypatch.setattr("engine.route.signing.load", missing)
    found = compiled(HEAD + CHAIN)
    assert found.route is None
    assert [(problem.code, problem.line) for problem in found.problems] == [("E532", 7)]
    assert "penstock[aws]" in found.problems[0].message
