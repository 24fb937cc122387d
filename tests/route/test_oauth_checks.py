"""Keys of OAuth clients. What is wrong with their URLs and keys: tests/fixtures/bad/."""

from __future__ import annotations

import sys

import pytest

from tests.auth.test_assertions import pair
from tests.kit import compiled

ROUTE = """\
version: 1
base_url: https://api.example.com/v1
dialect: openai_chat
models: [m]
auth:
  from:
    oauth2:
      flow: jwt_bearer
      token_url: https://id.example.com/token
      client_id: me
      assertion: { key: "${env:KEY}" }
  bearer: "{{ account.access_token }}"
"""


def test_a_key_that_signs_is_good() -> None:
    assert [] == compiled(ROUTE, env={"KEY": pair("RS256")[0]}).problems


def test_a_variable_that_is_not_set_is_one_problem() -> None:
    assert ["E201"] == [problem.code for problem in compiled(ROUTE).problems]


def test_a_missing_package_is_a_problem_of_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    found = compiled(ROUTE, env={"KEY": pair("RS256")[0]})
    assert [("E532", 11)] == [(problem.code, problem.line) for problem in found.problems]
    assert "penstock[jwt]" in found.problems[0].message
