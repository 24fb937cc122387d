"""Signature Version 4, held against the vectors that AWS publishes (aws-sig-v4-test-suite)."""

from __future__ import annotations

import re

import pytest

from engine.auth.aws_sigv4 import Keys, load, stamp, stand_in
from engine.wire import HttpRequest

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = 1440938160.0  # 2015-08-30T12:36:00Z


def signed(method: str, url: str, keys: Keys = KEYS, **more: object) -> HttpRequest:
    request = HttpRequest(method, url, **more)  # type: ignore[arg-type] # headers, body
    return load()(request, "service", "us-east-1", keys, NOW)


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        (
            "GET",
            "https://example.amazonaws.com/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
    ],
)
def test_published_vectors(method: str, url: str, expected: str) -> None:
    request = signed(method, url)
    assert request.header("x-amz-date") == "20150830T123600Z"
    assert request.header("authorization") == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={expected}"
    )


def test_what_was_signed_before_is_signed_anew() -> None:
    once = signed("POST", "https://example.amazonaws.com/")
    again = load()(once, "service", "us-east-1", KEYS, NOW)
    assert again == once


def test_temporary_credentials_bring_their_token() -> None:
    keys = Keys(KEYS.access_key, KEYS.secret_key, "a-session-token")
    request = signed("POST", "https://example.amazonaws.com/", keys, body=b"{}")
    assert request.header("x-amz-security-token") == "a-session-token"
    assert "host;x-amz-date;x-amz-security-token" in (request.header("authorization") or "")


def test_headers_of_the_route_are_kept_and_signed() -> None:
    headers = (("Content-Type", "application/json"), ("User-Agent", "x"))
    request = signed("POST", "https://example.amazonaws.com/", headers=headers, body=b"{}")
    assert request.headers[:2] == headers
    assert "SignedHeaders=content-type;host;x-amz-date" in (request.header("authorization") or "")


def test_the_stand_in_has_the_shape_and_no_signature() -> None:
    request = HttpRequest("POST", "https://example.amazonaws.com/", body=b"{}")
    shown = stand_in(request, "service", "us-east-1", Keys("«id»", "", "«token»"), NOW)
    assert shown.headers == (
        ("X-Amz-Date", "20150830T123600Z"),
        ("X-Amz-Security-Token", "«token»"),
        (
            "Authorization",
            (
                "AWS4-HMAC-SHA256 Credential=«id»/20150830/us-east-1/service/aws4_request, "
                "Signature=«signature»"
            ),
        ),
    )


def test_a_time_stamp_is_utc_to_the_second() -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z", stamp(NOW + 0.9))
    assert stamp(NOW + 0.9) == stamp(NOW)
