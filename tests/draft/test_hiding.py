"""What is a credential, and what stands for it."""

from __future__ import annotations

import pytest

from engine.draft.hiding import Hiding, is_credential, looks_secret, private

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln"


@pytest.mark.parametrize(
    "text",
    [
        TOKEN, f"Bearer {TOKEN}", "sk-Ab12Cd34Ef56Gh78", "ghp_0123456789abcdefghij",
        "ann@example.org", "flo_" + "0a1b2c3d" * 8, "Zx81Qp47hWc2Lm90Tt", "qC7/x9+Lm2Zt4Wv8Rb1",
        "v2.x.Zx81Qp47hWc2Lm90Tt",
    ],
)  # fmt: skip
def test_credentials_are_known_by_their_looks(text: str) -> None:
    assert looks_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Hello there, what is your name?", "moonshotai/Kimi-K2-Instruct-0905", "gpt-4o-mini",
        "2c9c29b4-0000-4000-8000-1234567890ab", "session_1767225600123_k3j9x0q2z", "1767225600123",
        "https://chat.example.com/c/new", "application/json; charset=utf-8", "wp_send_message",
        "supercalifragilisticexpialidocious", "claude-3-5-sonnet-20241022", "1234567890123456789",
    ],
)  # fmt: skip
def test_words_names_and_ids_are_none(text: str) -> None:
    assert not looks_secret(text)


def test_some_are_known_by_their_place() -> None:
    for name in ("x-api-key", "password", "accessToken", "csrf_token", "sid", "X-Session"):
        assert is_credential(name, "plain-word"), name
    for name in ("text", "monkey", "tokens", "session_name"):
        assert not is_credential(name, "plain-word"), name
    assert not is_credential("key", "short")


def test_an_answer_on_the_way_may_hold_some() -> None:
    assert ["ann@example.org", "long-enough"] == list(
        private(b'{"user":{"mail":"ann@example.org","n":1},"refresh_token":"long-enough","t":"Hi"}')
    )
    page = f"<p>ann@example.org</p><script>var t = '{TOKEN}'</script>"
    assert {"ann@example.org", TOKEN} == set(private(page.encode()))


def test_a_variable_stands_for_a_secret_wherever_it_is() -> None:
    hiding = Hiding("my-chat")
    assert "${env:MY_CHAT_X_API_KEY}" == hiding.reference("x-api-key", "secret-1")
    assert "${env:MY_CHAT_X_API_KEY}" == hiding.reference("other", "secret-1")
    assert "${env:MY_CHAT_X_API_KEY_2}" == hiding.reference("xApiKey", "secret-2")
    assert "a ${env:MY_CHAT_X_API_KEY} b" == hiding.covered("a secret-1 b")
    assert {"MY_CHAT_X_API_KEY": "secret-1", "MY_CHAT_X_API_KEY_2": "secret-2"} == hiding.env
    assert ["secret-1", "secret-2"] == [secret.reveal() for secret in hiding.secrets()]


def test_a_variable_of_the_command_keeps_its_name() -> None:
    hiding = Hiding("x")
    assert "${env:OPENAI_API_KEY}" == hiding.reference("key", "$OPENAI_API_KEY")
    assert ([], {"OPENAI_API_KEY": ""}) == (hiding.secrets(), hiding.env)


def test_what_a_route_would_read_is_written_as_text() -> None:
    hiding = Hiding("x")
    assert "$${home}" == hiding.covered("${home}")
    assert r"{{ '{{USER}} isn\'t' }}" == hiding.covered("{{USER}} isn't")
