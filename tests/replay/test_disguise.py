"""Secrets of a recording, replaced by texts of the same shape."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from random import Random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.masks import spellings
from engine.options import Secret
from engine.replay.disguise import Disguise, Found, shaped

KEY = "sk-Ab12+cd/34"


def disguise(*secrets: str, allow: frozenset[str] = frozenset()) -> Disguise:
    return Disguise([Secret(text, f"s{at}") for at, text in enumerate(secrets, 1)], allow)


def shape(text: str) -> str:
    return "".join(
        "0" if char.isdigit() else "A" if char.isupper() else "a" if char.isalpha() else char
        for char in text
    )


@pytest.mark.parametrize(
    ("text", "begin"),
    [("sk-Ab12Cd34", "fa-Ke"), ("0a1b2c3d4e5f", ""), ("ABCDEF123", "FADE"), ("4711-081500", "")],
)
def test_a_placeholder_has_the_shape_of_its_secret(text: str, begin: str) -> None:
    made = shaped(text, Random(1))
    assert (shape(text), begin, True) == (shape(made), made[: len(begin)], made != text)


def test_hexadecimal_stays_so() -> None:
    int(shaped("deadbeef00112233", Random(1)), 16)


def test_a_placeholder_has_as_many_bytes_as_its_secret() -> None:
    assert len("pässwört-1".encode()) == len(shaped("pässwört-1", Random(1)).encode())


def test_of_a_token_the_header_and_the_numbers_stay() -> None:
    claims = {"sub": "ann@a.example", "exp": 1767225600, "roles": ["owner"]}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    coded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    token = ".".join((*coded, "c2lnbmF0dXJl"))
    head, body, signature = shaped(token, Random(1)).split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert (coded[0], 1767225600) == (head, told["exp"])
    assert "ann@a.example" != told["sub"]
    assert shape("ann@a.example") == shape(told["sub"])
    assert "c2lnbmF0dXJl" != signature
    assert len(token) == len(shaped(token, Random(1)))


def test_a_token_may_stand_behind_something_and_have_a_header_that_is_none() -> None:
    claims = base64.urlsafe_b64encode(b'{"id":"guest-1","exp":1767312000}').decode().rstrip("=")
    made = shaped(f"user::a1b2.{claims}.c2ln", Random(1))
    head, body, _ = made.split(".")
    assert (shape("user::a1b2"), True) == (shape(head), head != "user::a1b2")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert ({"id", "exp"}, 1767312000) == (set(told), told["exp"])
    assert "guest-1" != told["id"]


def test_of_a_url_scheme_and_port_stay_and_its_host_is_secret_behind_others() -> None:
    hides = disguise("https://api.a.example:8443/v1")
    clean = hides.clean(b"https://api.a.example:8443/v1/x wss://api.a.example:8443/y").decode()
    first, second = clean.split()
    assert "https://" == first[:8]
    assert ":8443/" in first
    assert first[8:].partition("/")[0] == second[6:].partition("/")[0]
    assert [] == hides.left(clean.encode())


@given(st.text(min_size=6, max_size=20).filter(lambda text: text.strip() == text))
def test_each_spelling_becomes_the_same_spelling_of_the_placeholder(text: str) -> None:
    hides = disguise(text)
    fake = hides.clean(text.encode()).decode()
    for form, other in zip(spellings(text), spellings(fake), strict=True):
        if len(form) > len(text.encode()):  # a short one may be a part of another
            assert len(other) == len(hides.clean(form))


@pytest.mark.parametrize("before", [b"", b"u", b"u:", b"user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_inside_base64_the_placeholder_stands_where_the_secret_stood(
    before: bytes, encode: object
) -> None:
    assert callable(encode)
    hides = disguise(KEY)
    fake = hides.clean(KEY.encode())
    told = b'{"auth":"' + encode(before + KEY.encode() + b"\xff\xfe!") + b'"}'
    assert b'{"auth":"' + encode(before + fake + b"\xff\xfe!") + b'"}' == hides.clean(told)


def test_quoted_and_escaped_forms_are_replaced_alike() -> None:
    hides = disguise(KEY)
    fake = hides.clean(KEY.encode()).decode()
    for write in (quote, lambda text: quote(text, safe=""), lambda text: text.encode().hex()):
        assert write(fake).encode() == hides.clean(write(KEY).encode())


def test_equal_secrets_stay_equal_and_others_differ() -> None:
    one, other = disguise("secret-1", "secret-2", "secret-1").clean(b"secret-1 secret-2").split()
    assert one != other
    again = disguise("secret-1", "secret-2").clean(b"secret-1 secret-2")
    assert [one, other] == again.split()


def test_what_contains_another_secret_keeps_its_placeholder() -> None:
    hides = disguise("left-KEY123-right", "KEY123")
    inner = hides.clean(b"KEY123")
    whole = hides.clean(b"left-KEY123-right")
    assert whole[5:11] == inner
    assert (b"left-", b"-right") != (whole[:5], whole[11:])


def test_of_a_json_text_each_text_is_a_secret() -> None:
    hides = disguise('{"id": "account-1", "n": 5, "inner": ["key-of-it"]}')
    clean = json.loads(hides.clean(b'{"id": "account-1", "n": 5, "inner": ["key-of-it"]}'))
    assert ({"id", "n", "inner"}, 5) == (set(clean), clean["n"])
    assert [] == hides.left(json.dumps(clean).encode())
    assert b"account-1" not in hides.clean(b"account-1")


def test_a_tree_is_cleaned_with_its_numbers() -> None:
    clean = disguise("7654321").tree({"id": 7654321, "text": "7654321", "other": [1, None]})
    assert isinstance(clean, dict)
    assert ({"id", "text", "other"}, [1, None]) == (set(clean), clean["other"])
    assert (str(clean["id"]), True) == (clean["text"], clean["id"] != 7654321)


def test_short_secrets_are_named_and_left() -> None:
    hides = disguise("abc", "", "long-enough")
    assert (["s1"], b"abc") == (hides.short, hides.clean(b"abc"))
    assert [] == disguise("abc", allow=frozenset({"s1"})).short


def test_what_is_left_is_found_in_any_form_and_told_by_name() -> None:
    hides = disguise(KEY)
    coded = base64.b64encode(b"x" + KEY.encode())
    assert [Found("s1", 2, True)] == hides.left(b"- " + KEY.encode())[:1]
    assert ["s1"] == [found.what for found in hides.left(coded)]
    assert [] == hides.left(hides.clean(coded + KEY.encode()))
    assert [] == disguise(KEY, allow=frozenset({"s1"})).left(KEY.encode())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sk-0123456789abcdef", "sk-"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0x.", "eyJ"),
        ("ASIAIOSFODNN7EXAMPLE", "ASIA"),
        ("github_pat_0123456789abcdefghij", "github_pat_"),
        ("xoxb-1234567890-abc", "xoxb-"),
        ("AIzaSyA-0123456789abcdefghijklmnopqrst", "AIza"),
        ("-----BEGIN EC PRIVATE KEY-----", "-----BEGIN"),
    ],
)
def test_what_looks_like_a_credential_is_found(text: str, kind: str) -> None:
    assert [Found(kind, 2, False)] == disguise().left(f"a {text}".encode())
    assert [] == disguise(allow=frozenset({kind})).left(f"a {text}".encode())


@pytest.mark.parametrize(
    "text", ["task-0123456789abcdefgh", "sk-short", "AKIA", "eyJhbGciOiJub25lIn0"]
)
def test_what_only_begins_like_one_is_none(text: str) -> None:
    assert [] == disguise().left(text.encode())


def test_a_token_of_our_own_making_is_no_find() -> None:
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hYmVsbGUifQ.c2lnbmF0dXJl"
    hides = disguise(token)
    assert [] == hides.left(hides.clean(token.encode()))


@pytest.mark.parametrize(
    "write",
    [
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: json.dumps(text).replace("+", "\\u002B").replace("&", "\\u0026"),
        lambda text: json.dumps(text).replace("&", "\\u0026"),
    ],
)
def test_escapes_of_other_writers_of_json_are_replaced(write: Callable[[str], str]) -> None:
    secret = "a+b/c&d-12345"
    hides = disguise(secret)
    clean = hides.clean(write(secret).encode())
    assert hides.clean(secret.encode()).decode() == json.loads(clean)
    assert [] == hides.left(clean)


@pytest.mark.parametrize(
    "hidden",
    [
        base64.b64encode(b"x" + json.dumps({"k": KEY}).replace("/", "\\/").encode()),
        base64.b64encode(base64.b64encode(b"user:" + KEY.encode())),
        "".join(f"\\u{ord(char):04x}" for char in KEY).encode(),
        KEY.replace("+", "&#43;").encode(),
        base64.b64encode(KEY.encode().hex().encode()),
    ],
)
def test_what_is_hidden_deeper_is_found_though_not_replaced(hidden: bytes) -> None:
    hides = disguise(KEY)
    assert Found("s1", -1, True) in hides.left(b'{"debug":"' + hides.clean(hidden) + b'"}')


# ---- what nobody told of ----

RANDOM = "xK9vQ2mZ7pLw4RtY8sBn3HdF"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f'{{"trace": "{RANDOM}"}}', "entropy:trace"),
        (f"X-Strange: {RANDOM}", "entropy:X-Strange"),
        (f"so it says {RANDOM}.", "entropy"),
        (f'{{"session_id": "{RANDOM}"}}', "entropy:session_id"),
        ('{"who": "ann.miller+x@corp-mail.de"}', "e-mail"),
        ('{"k": "xoxb-123456789012-abcdef"}', "xoxb-"),
    ],
)
def test_a_text_drawn_by_chance_and_an_address_are_found(text: str, what: str) -> None:
    (found,) = Disguise([]).left(text.encode())
    assert (what, False) == (found.what, found.known)
    assert found.at >= 0
    for allow in (what, "*", what[:4] + "*"):
        assert [] == Disguise([], frozenset({allow})).left(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        f'{{"id": "chatcmpl-{RANDOM}"}}',
        f'{{"responseId": "{RANDOM}", "message_id": "{RANDOM}"}}',
        f'{{"signature": "{RANDOM * 3}"}}',
        "moonshotai/Kimi-K2-Instruct-0905-Turbo",
        "0b9c7f3a-5b7e-4b1a-9a51-1a5b9c7f3a5b",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "ThisIsAClassNameOfTheYear2000AndLonger",
        "data:image/png;base64," + RANDOM * 40,
        f'<img src="data:image/gif;base64,{RANDOM}">',
        f'{{"obfuscation": "{RANDOM}"}}',
        "ann@example.com, bob@mail.example.org, icon@2x.png",
        "1234567890123456789012345678901234567890",
    ],
)
def test_ids_words_pictures_and_made_up_addresses_are_none(text: str) -> None:
    assert [] == Disguise([]).left(text.encode())


def test_what_is_allowed_may_be_named_by_its_text() -> None:
    text = b'{"who": "ann@corp.de", "or": "bob@corp.de"}'
    assert [30] == [each.at for each in Disguise([], frozenset({"ann@*"})).left(text)]


def test_placeholders_are_no_finds_in_any_code() -> None:
    disguise = Disguise([Secret(RANDOM, "env:K"), Secret("ann@corp-mail.de", "env:WHO")])
    coded = base64.b64encode(f"user:{RANDOM}".encode()).decode()
    said = disguise.clean(f'{{"a": "{RANDOM}", "b": "{coded}", "c": "ann@corp-mail.de"}}'.encode())
    assert [] == disguise.left(said)
