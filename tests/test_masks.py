"""The forms in which a secret may stand in text."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.masks import BEGINS, MARKED, SHORTEST, cores, forms, spellings


def hidden(secret: str, data: bytes) -> bool:
    return any(form in data for form in forms(secret))


@pytest.mark.parametrize("secret", ["sk-plain-1234", 'p"\\ä/+ b&c=', "a b+c/d:e@f"])
def test_a_secret_is_found_however_it_is_written(secret: str) -> None:
    raw = secret.encode()
    for text in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(quote(secret, safe=""), safe=""),
        orjson.dumps(secret).decode(),
        orjson.dumps(orjson.dumps(secret).decode()).decode(),
        quote(secret, safe="").lower(),
        raw.hex(),
        raw.hex().upper(),
    ):
        if text.lower() == text or secret.lower() == secret:
            assert hidden(secret, text.encode()), text


@given(st.text(min_size=9, max_size=30), st.binary(max_size=7), st.binary(max_size=7))
def test_a_secret_inside_base64_is_found_at_any_alignment(
    secret: str, before: bytes, after: bytes
) -> None:
    raw = before + secret.encode() + after
    assert hidden(secret, base64.b64encode(raw))
    assert hidden(secret, base64.urlsafe_b64encode(raw))


@pytest.mark.parametrize("secret", ["", "a", "12345"])
def test_what_is_short_is_no_secret(secret: str) -> None:
    assert forms(secret) == set()
    assert all(len(form) >= SHORTEST for form in forms("123456"))


@given(st.text(max_size=12), st.text(max_size=12))
def test_spellings_of_two_texts_stand_in_the_same_order(one: str, other: str) -> None:
    assert len(spellings(one)) == len(spellings(other))
    for text in (one, other):
        hexed = text.encode("utf-8", "replace").hex().encode()
        assert [hexed, hexed.upper()] == spellings(text)[-2:]


def test_a_core_stands_behind_the_start_of_its_group() -> None:
    for shift, (head, core) in enumerate(list(cores(b"secret-1"))[:3]):
        coded = base64.b64encode(b"abc"[:shift] + b"secret-1" + b"xyz")
        assert head == coded.index(core)


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("sk-" + "a" * 16, "sk-"), ("x rk_live_" + "a" * 16, "rk_live_"),
        ("ASIA" + "A" * 16, "ASIA"),
        ("glpat-" + "a" * 20, "glpat-"), ("xoxb-" + "1" * 10, "xoxb-"), ("AIza" + "a" * 30, "AIza"),
        ("-----BEGIN EC PRIVATE KEY-----", "-----BEGIN "),
        ("eyJ" + "a" * 10 + "." + "b" * 10, "eyJ"),
    ],
)  # fmt: skip
def test_marked_credentials_are_known_by_how_they_begin(text: str, begin: str) -> None:
    hit, quick = re.search(MARKED, text), re.search(BEGINS, text)
    assert hit is not None
    assert quick is not None
    assert (begin, begin) == (hit[hit.lastindex or 0], quick[0])


@pytest.mark.parametrize(
    "text", ["desk-" + "a" * 16, "sk-" + "a" * 15, "AKIA" + "A" * 17, "eyJ.a.b"]
)
def test_what_is_longer_shorter_or_within_a_word_is_no_marked_credential(text: str) -> None:
    assert re.search(MARKED, text) is None
