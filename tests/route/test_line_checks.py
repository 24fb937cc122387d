"""Text that must fit on one line of a request, checked at load."""

from __future__ import annotations

import pytest

from tests.kit import compiled, problems_of

HEAD = """
version: 1
dialect: openai_chat
base_url: https://a.example
models: [m]
"""
ENV = {"MULTI": "a\nb", "GOOD": "ab"}


@pytest.mark.parametrize(
    "text",
    [
        'upstream: { headers: { A: "x\\ty" } }',
        'request: { path: "/x\\n" }',
        'request: { path: "/x/${env:MULTI}" }',
        'request: { path: /x, headers: { A: "${env:MULTI}" } }',
        'request: { path: /x, query: { a: "${env:MULTI}" } }',
        'auth: { bearer: "${env:MULTI}" }',
        'auth: { header: { A: "${env:MULTI}" } }',
        'auth: { query: { a: "${env:MULTI}" } }',
        'auth: { cookie: { a: "${env:MULTI}" } }',
        'values: { v: { request: { path: "/\\0" }, extract: [ { body: true } ] } }',
        'upstream: { headers: { "A B": x } }',
        'auth: { header: { "": x } }',
        'request: { path: /x, headers: { "A:": x } }',
        'values: { v: { request: { headers: { "Ä": x } }, extract: [ { body: true } ] } }',
    ],
)
def test_what_cannot_stand_on_a_line_is_found(text: str) -> None:
    assert problems_of(HEAD + text, env=ENV) == ["6:E521"]


@pytest.mark.parametrize(
    "text",
    [
        'auth: { header: { X-Api-Key: "${env:GOOD}" } }',
        'request: { path: /x, headers: { A: "{{ req.prompt }}" } }',
        'request: { path: /x, headers: { A: "{{ req.user }} ${env:GOOD}", B: "{{ uuid4() }}" } }',
        'request: { path: "/é/{{ req.user | urlpath }}" }',
    ],
)
def test_what_only_a_request_can_tell_is_left_to_it(text: str) -> None:
    assert problems_of(HEAD + text, env=ENV) == []


def test_the_place_is_told_and_the_secret_is_not() -> None:
    (problem,) = compiled(HEAD + 'auth: { header: { X-K: "${env:MULTI}" } }', env=ENV).problems
    assert problem.message == "`auth.header.X-K` holds a line end or another control character"
    assert "a\nb" not in str(problem)
