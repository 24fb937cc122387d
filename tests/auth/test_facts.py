"""What a signature may say of a request."""

from __future__ import annotations

from random import Random

import pytest

from engine.auth.facts import NAMES, encoded, facts, with_query
from engine.wire import HttpRequest


def test_every_fact_is_of_the_final_bytes() -> None:
    request = HttpRequest("POST", "https://a.example/v1/c%20d?b=%2F&a=1", body="é".encode())
    found = facts(request, 1700000000.25, Random(1), NAMES)
    nonce = found.pop("nonce")
    assert found == {
        "method": "POST",
        "path": "/v1/c%20d",
        "path_query": "/v1/c%20d?b=%2F&a=1",
        "query": "b=%2F&a=1",
        "timestamp": 1700000000,
        "timestamp_ms": 1700000000250,
        "body": "é",
        "body_sha256": "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c",
    }
    assert isinstance(nonce, str)
    assert len(nonce) == 32


def test_a_nonce_is_new_each_time() -> None:
    random, request = Random(1), HttpRequest("GET", "https://a.example")
    assert facts(request, 0.0, random, ["nonce"]) != facts(request, 0.0, random, ["nonce"])


def test_a_url_without_a_path_has_the_root() -> None:
    found = facts(HttpRequest("GET", "https://a.example"), 0.0, Random(1), NAMES)
    assert (found["path"], found["path_query"], found["query"]) == ("/", "/", "")


def test_bytes_that_are_no_text_survive_as_text() -> None:
    body = b"\xff\x00a"
    found = facts(HttpRequest("PUT", "https://a.example", body=body), 0.0, Random(1), ["body"])
    assert str(found["body"]).encode("utf-8", "surrogateescape") == body


def test_only_what_is_wanted_is_made() -> None:
    request = HttpRequest("GET", "https://a.example")
    assert facts(request, 0.0, Random(1), ["method"]) == {"method": "GET"}


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        ("https://a.example/x", (), "https://a.example/x"),
        ("https://a.example/x", (("a", "1 2"), ("b", "é/~")), "/x?a=1%202&b=%C3%A9%2F~"),
        ("https://a.example/x?z=0", (("a", "&"),), "/x?z=0&a=%26"),
    ],
)
def test_a_query_is_put_into_the_url(
    url: str, query: tuple[tuple[str, str], ...], expected: str
) -> None:
    assert with_query(url, query).removeprefix("https://a.example") == expected.removeprefix(
        "https://a.example"
    )


def test_pairs_are_encoded_strictly() -> None:
    assert encoded((("a+b", "c d"), ("a+b", ""))) == "a%2Bb=c%20d&a%2Bb="
