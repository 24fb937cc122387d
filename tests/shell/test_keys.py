from __future__ import annotations

import hashlib
import re

import pytest

from engine.options import Secret
from engine.shell.keys import ClientKeys, weakness

GOOD = "3f9a0c5e7d1b2486"
OTHER = "c0ffee5e7d1b24869a"


def hashed(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", "is empty"),
        ("1", "is a known sample key"),
        ("changeme", "is a known sample key"),
        ("CHANGE-ME-please", "is a known sample key"),
        ("sk-1234", "is a known sample key"),
        ("sk-1234567890", "is a known sample key"),
        ("password", "is a known sample key"),
        ("your-api-key-here", "is a known sample key"),
        ("sk-...", "is shorter than 12 characters"),
        ("3f9a0c5e7d1", "is shorter than 12 characters"),
        ("aaaabbbbccccdddd", "has fewer than 5 different characters"),
        ("3f9a0c5e 7d1b2486", "holds a space or a character that a header cannot carry"),
        ("3f9a0c5e7d1b248ü", "holds a space or a character that a header cannot carry"),
        ("sha256:", "is not `sha256:` and 64 hexadecimal digits"),
        ("sha256:" + "0g" * 32, "is not `sha256:` and 64 hexadecimal digits"),
        (hashed("changeme"), "is the hash of a known sample key"),
        (hashed("sk-1234"), "is the hash of a known sample key"),
        (hashed(""), "is the hash of a known sample key"),
        (GOOD, None),
        (hashed(GOOD), None),
        (hashed(GOOD).upper().replace("SHA", "sha"), None),
    ],
)
def test_weak_keys_are_told_from_good_ones(key: str, expected: str | None) -> None:
    assert weakness(key) == expected


def test_a_known_key_has_an_id_that_stays_the_same() -> None:
    ident = ClientKeys([Secret(GOOD), Secret(OTHER)]).check(GOOD)
    assert ident is not None
    assert re.fullmatch("[0-9a-f]{64}", ident)
    assert ClientKeys([Secret(GOOD)]).check(GOOD) == ident
    assert ClientKeys([Secret(hashed(GOOD))]).check(GOOD) == ident
    assert ClientKeys([Secret(GOOD), Secret(OTHER)]).check(OTHER) != ident


def test_the_id_is_neither_the_key_nor_its_hash() -> None:
    ident = ClientKeys([Secret(GOOD)]).check(GOOD)
    assert ident not in (GOOD, hashlib.sha256(GOOD.encode()).hexdigest())


@pytest.mark.parametrize(
    "presented",
    [
        "",
        " ",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        f" {GOOD}",
        "\ud800",
        "\x00",
        "é" * 20,
        hashed(GOOD),
    ],
)
def test_anything_else_is_unknown(presented: str) -> None:
    assert ClientKeys([Secret(GOOD)]).check(presented) is None
    assert ClientKeys([Secret(hashed(GOOD))]).check(presented) is None


def test_without_keys_nobody_is_known() -> None:
    assert ClientKeys([]).check("") is None


def test_every_key_is_compared_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    keys = ClientKeys([Secret(f"{at:016x}") for at in range(10)])
    assert keys.check(f"{0:016x}") is not None
    assert len(compared) == 10
