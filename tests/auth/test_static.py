"""`basic` credentials on the wire."""

from __future__ import annotations

import base64

import pytest

from engine.auth.static import basic


@pytest.mark.parametrize(
    ("username", "password"), [("a", "b"), ("", ""), ("me@example.com", "p:w:é")]
)
def test_basic_is_user_and_password_in_base64(username: str, password: str) -> None:
    scheme, _, coded = basic(username, password).partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(coded).decode() == f"{username}:{password}"
