from __future__ import annotations

import base64
import json
import os
import random
import threading
from urllib.parse import quote, quote_plus

import orjson
import pytest

from engine.options import Secret
from engine.shell.redact import Redactor

SECRETS = [
    "sk-proj-0123456789abcdef",
    'with "quotes" and \\ and\ttab',
    "päßwort-ключ-密钥",
    "user:p@ss/w+rd=?&#",
    "short1",
    "twelve-chars",
    "x" * 15,
    base64.b64encode(bytes(range(40))).decode(),
]


def told(*texts: str) -> Redactor:
    redactor = Redactor()
    redactor.add(*(Secret(text, "env:K") for text in texts))
    return redactor


def forms(text: str) -> list[str]:
    """The ways a secret turns up in lines, made by other means than the redactor's."""
    raw = text.encode()
    padded = [
        base64.b64encode(os.urandom(n) + raw + os.urandom(m)) for n in range(3) for m in (0, 1)
    ]
    safe = [base64.urlsafe_b64encode(os.urandom(n) + raw + b"tail") for n in range(3)]
    return [
        text,
        json.dumps(text, ensure_ascii=False)[1:-1],
        orjson.dumps({"a": text}).decode(),
        quote(text),
        quote(text, safe=""),
        quote_plus(text),
        quote(text, safe="").lower() if text.islower() else quote(text),
        *(form.decode() for form in [*padded, *safe]),
    ]


def seen(text: str, line: str) -> bool:
    """Whether a line gives the secret away: as it is, quoted, or in base64."""
    raw = text.encode()
    cores = []
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw + bytes(3)).decode()
        cores.append(coded[4 if shift else 0 : 4 * ((shift + len(raw)) // 3)])
    needles = [text, quote(text, safe=""), *(core for core in cores if len(core) >= 6)]
    return any(needle in line for needle in needles)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_taken_out_in_every_form(text: str) -> None:
    redactor = told(text)
    for form in forms(text):
        for before in ("", "x", "1234567", "one two three "):
            line = f"{before}{form} after"
            assert not seen(text, redactor.text(line)), line


def test_the_mask_names_where_the_secret_came_from() -> None:
    assert told("0123456789abcdef").text("key 0123456789abcdef.") == "key «env:K»."


def test_a_masked_json_line_is_still_json() -> None:
    redactor = Redactor()
    redactor.add(Secret('a"b\\c-0123456789', 'file:/run/"x"'))
    line = orjson.dumps({"error": 'got a"b\\c-0123456789!'})
    assert orjson.loads(redactor.clean(line)) == {"error": 'got «file:/run/"x"»!'}


def test_the_longest_of_nested_secrets_goes_first() -> None:
    redactor = Redactor()
    redactor.add(Secret("0123456789abcdef", "short"), Secret("0123456789abcdef-more", "long"))
    assert redactor.text("is 0123456789abcdef-more") == "is «long»"
    assert redactor.text("is 0123456789abcdef only") == "is «short» only"


def test_short_texts_are_not_secrets() -> None:
    assert told("1", "", "abcde").text("abcde 1") == "abcde 1"


def test_text_without_secrets_stays_as_it_is() -> None:
    line = '{"event":"request","id":"req_65f0","model":"gpt-4o","total_ms":12.5}'
    assert told(*SECRETS).text(line) == line


def test_white_space_around_a_secret_is_no_part_of_it() -> None:
    assert told("  0123456789abcdef\n").text("0123456789abcdef") == "«env:K»"


def test_among_thousands_each_is_found() -> None:
    draw = random.Random(1)
    texts = [f"{draw.getrandbits(96):x}" for _ in range(2000)]
    redactor = told(*texts)
    for at, text in enumerate(texts[::50]):
        assert redactor.text("-" * (at % 9) + text) == "-" * (at % 9) + "«env:K»"


def test_keys_that_begin_alike_are_told_apart_by_how_they_end() -> None:
    texts = [f"sk-proj-of-the-same-service-{at * 7919:08x}" for at in range(300)]
    redactor = told(*texts)
    assert max(map(len, redactor._words.values())) < 20
    assert redactor.text(texts[7] + " sk-proj-of-the-same-service-none") == (
        "«env:K» sk-proj-of-the-same-service-none"
    )


def test_only_so_many_are_kept_and_the_oldest_goes() -> None:
    redactor = Redactor(most=3)
    for text in ("first-secret-000", "second-secret-00", "third-secret-000"):
        redactor.add(Secret(text, "s"))
    redactor.add(Secret("first-secret-000", "s"))
    redactor.add(Secret("fourth-secret-00", "s"))
    assert redactor.text("second-secret-00") == "second-secret-00"
    for text in ("first-secret-000", "third-secret-000", "fourth-secret-00"):
        assert redactor.text(text) == "«s»"


def test_what_was_forgotten_leaves_nothing_behind() -> None:
    redactor = Redactor(most=1)
    for at in range(50):
        redactor.add(Secret(f"one-long-secret-{at:04}", "s"), Secret(f"brief{at:04}", "s"))
    kept = sum(len(forms) for forms in redactor._known.values())
    assert len(redactor._short) <= kept
    assert len(redactor._words) <= kept * 8


def test_what_is_held_stays_whatever_passes() -> None:
    redactor = Redactor(most=3)
    held = [Secret(f"held-secret-{at:06}", "h") for at in range(20)]
    redactor.hold(held)
    redactor.add(*(Secret(f"passing-secret-{at:06}", "p") for at in range(10)), *held[:2])
    assert {redactor.text(secret.reveal()) for secret in held} == {"«h»"}
    assert [redactor.text(f"passing-secret-{at:06}") for at in (6, 7, 9)] == [
        "passing-secret-000006", "«p»", "«p»"
    ]  # fmt: skip


def test_what_is_held_no_more_passes_as_the_newest() -> None:
    redactor = Redactor(most=1)
    redactor.add(Secret("an-older-passing-one", "p"))
    redactor.hold([Secret("the-first-held-secret", "h")])
    redactor.hold([Secret("the-next-held-secret", "h")])
    assert redactor.text("the-first-held-secret the-next-held-secret") == "«h» «h»"
    assert redactor.text("an-older-passing-one") == "an-older-passing-one"
    redactor.add(Secret("a-newer-passing-one", "p"))
    assert redactor.text("the-first-held-secret") == "the-first-held-secret"


@pytest.mark.parametrize("length", range(6, 24))
def test_a_secret_is_found_wherever_it_stands(length: int) -> None:
    text = "k3yS_0f-aLl.Len9ths~X7qQ"[:length]
    redactor = told(text)
    for before in range(18):
        for after in range(10):
            assert redactor.text("-" * before + text + "-" * after).count("«env:K»") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer «secret»"),
        ('{"authorization":"Bearer abc.def-123"}', '{"authorization":"Bearer «secret»"}'),
        ("{'X-Api-Key': 'abcdef123'}", "{'X-Api-Key': '«secret»'}"),
        ("sent bearer abcdef1234567", "sent bearer «secret»"),
        ('"Cookie: session=abcdef; b=2", 1', '"Cookie: «secret»", 1'),
        ("GET /v1?key=abc123&x=1", "GET /v1?key=«secret»&x=1"),
        ("https://h/p?access_token=abc#f", "https://h/p?access_token=«secret»#f"),
        ("a=1&api_key=zzz", "a=1&api_key=«secret»"),
        ("the bearer authentication failed", "the bearer authentication failed"),
        ("monkey=banana", "monkey=banana"),
        ("authorization is missing", "authorization is missing"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected


def test_a_known_secret_keeps_its_name_where_credentials_stand() -> None:
    redactor = told("0123456789abcdef")
    assert (
        redactor.text("Authorization: Bearer 0123456789abcdef") == "Authorization: Bearer «env:K»"
    )
    assert redactor.text("?key=0123456789abcdef") == "?key=«env:K»"


def test_text_without_a_utf8_form_passes() -> None:
    assert told("0123456789abcdef").text("\ud800 0123456789abcdef") == "\ud800 «env:K»"


def test_a_name_is_searched_again_once_another_secret_is_known() -> None:
    redactor = Redactor()
    assert "0123456789abcdef" == redactor.name("0123456789abcdef")
    redactor.add(Secret("0123456789abcdef", "env:K"))
    assert ["«env:K»", "«env:K»"] == [redactor.name("0123456789abcdef") for _ in range(2)]


def test_secrets_may_come_while_lines_are_cleaned() -> None:
    redactor, failed = Redactor(most=50), []

    def add() -> None:
        for at in range(300):
            redactor.add(Secret(f"secret-number-{at:06}", "s"))

    def clean() -> None:
        try:
            for at in range(300):
                redactor.text(f"secret-number-{at:06} " * 5)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for work in (add, clean, add, clean)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_the_secrets_inside_of_bytes_are_told_by_name() -> None:
    redactor = Redactor()
    redactor.add(Secret("first-secret-0817", "env:ONE"), Secret("second-secret-22", "env:TWO"))
    coded = base64.b64encode(b"x second-secret-22")
    assert [] == redactor.inside(b"nothing of it")
    found = redactor.inside(b"this is " + coded)
    assert [("env:TWO", "second-secret-22")] == [(each.name, each.reveal()) for each in found]
