"""Tokens in the form that several programs share."""

from __future__ import annotations

import pytest

from engine.auth.tokens import Tokens, camel, kept, moment, read_kept

AT = 1_700_000_000.0
WRITTEN = {
    "access_token": "at",
    "refresh_token": "rt",
    "expiry_date": 1700000000000,
    "token_type": "bearer",
    "scope": "read",
    "apiKey": "sk-1",
}


def test_the_file_of_the_replaced_program_is_read() -> None:
    tokens = read_kept(WRITTEN, ["api_key"])
    assert tokens == Tokens("at", "rt", AT, None, "bearer", "read", {"api_key": "sk-1"})


def test_what_is_written_can_be_read_again() -> None:
    tokens = Tokens(
        "at", "rt", AT + 60, AT, "Bearer", "a b", {"api_key": "sk"}, AT + 30, True, {"email": "x"}
    )
    assert read_kept(kept(tokens), ["api_key"]) == tokens


def test_fields_of_other_programs_are_kept() -> None:
    found = {**WRITTEN, "email": "a@example.com", "resource_url": "u", "nested": {"x": 1}}
    tokens = read_kept(found, ["api_key"])
    assert tokens is not None
    assert kept(tokens) == found


def test_a_part_may_be_written_in_either_case() -> None:
    tokens = read_kept({"access_token": "a", "api_key": "snake"}, ["api_key"])
    assert tokens is not None
    assert kept(tokens)["apiKey"] == "snake"
    assert "api_key" not in kept(tokens)


@pytest.mark.parametrize("found", [None, [], "text", {}, {"access_token": ""}, {"apiKey": "k"}])
def test_without_a_token_there_are_none(found: object) -> None:
    assert read_kept(found, ["api_key"]) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1700000000, AT),
        (1700000000000, AT),
        ("1700000000000", AT),
        ("2023-11-14T22:13:20Z", AT),
        ("2023-11-14T22:13:20+00:00", AT),
        ("2023-11-14 22:13", AT - 20),
        (None, None),
        (True, None),
        (0, None),
        (-5, None),
        ("soon", None),
        (float("nan"), None),
        ([], None),
    ],
)
def test_times_as_they_are_found(value: object, expected: float | None) -> None:
    assert moment(value) == expected


def test_names_in_camel_case() -> None:
    assert [camel(name) for name in ("api_key", "key", "a_b_c")] == ["apiKey", "key", "aBC"]


def test_a_token_is_due_before_its_end_but_not_in_its_first_half() -> None:
    assert Tokens("a", until=AT).due(60) == AT - 60
    assert Tokens("a", until=AT, obtained=AT - 3600).due(60) == AT - 60
    assert Tokens("a", until=AT, obtained=AT - 3600).due(45 * 3600) == AT - 1800
    assert Tokens("a").due(60) is None


def test_the_first_end_counts() -> None:
    assert Tokens("a", until=AT, parts_until=AT - 5).ends() == AT - 5
    assert Tokens("a").ends() is None


def test_validity() -> None:
    assert Tokens("a").valid(AT)
    assert not Tokens("", "r").valid(AT)
    assert not Tokens("a", until=AT).valid(AT)


def test_nothing_secret_is_printed() -> None:
    shown = repr(Tokens("token-at", "token-rt", parts={"k": "token-k"}, rest={"z": "token-z"}))
    assert "token-" not in shown
