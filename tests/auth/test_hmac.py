"""Keyed hashes, held against published values."""

from __future__ import annotations

import pytest

from engine.auth.hmac import key_bytes, mac
from engine.errors import ExchangeError

# RFC 4231, test case 2, and the same input under the other hashes (RFC 2202, RFC 4231).
JEFE, NOTHING = b"Jefe", b"what do ya want for nothing?"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("md5", "750c783e6ab0b503eaa86e310a5db738"),
        ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "sha384",
            (
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                "8e2240ca5e69e2c78b3239ecfab21649"
            ),
        ),
        (
            "sha512",
            (
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
            ),
        ),
    ],
)
def test_each_hash_gives_what_its_standard_says(algorithm: str, expected: str) -> None:
    assert mac(JEFE, (), NOTHING, algorithm, "hex") == expected


def test_the_encodings_hold_the_same_bytes() -> None:
    assert mac(JEFE, (), NOTHING, "sha256", "base64") == (
        "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="
    )
    assert mac(JEFE, (), NOTHING, "md5", "base64url") == "dQx4PmqwtQPqqG4xCl23OA"


def test_raw_stages_are_the_signing_key_of_aws() -> None:
    """The example of AWS's manual for Signature Version 4 (IAM, 2015-08-30)."""
    stages = [(part, "raw") for part in (b"20150830", b"us-east-1", b"iam", b"aws4_request")]
    text = (
        b"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n"
        b"f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    )
    assert mac(b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", stages, text, "sha256", "hex") == (
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_a_hex_stage_hands_on_text() -> None:
    inner = mac(b"root", (), b"5666666", "sha256", "hex")
    assert mac(b"root", [(b"5666666", "hex")], b"x", "sha256", "hex") == mac(
        inner.encode(), (), b"x", "sha256", "hex"
    )


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("ключ", "text", "ключ".encode()),
        ("00ff", "hex", b"\x00\xff"),
        ("AP8=", "base64", b"\x00\xff"),
        ("-_8", "base64url", b"\xfb\xff"),
    ],
)
def test_a_key_is_read_as_it_is_written(text: str, encoding: str, expected: bytes) -> None:
    assert key_bytes(text, encoding) == expected


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_key_written_in_another_way_is_not_shown(encoding: str) -> None:
    with pytest.raises(ExchangeError, match=f"is not {encoding}") as caught:
        key_bytes("my-secret!", encoding)
    assert "my-secret" not in str(caught.value)
    assert caught.value.__suppress_context__
