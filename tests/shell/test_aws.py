"""Credentials as AWS's own tools find them, by botocore itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ExchangeError
from engine.options import Secret
from engine.shell.aws import BotocoreAws


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


async def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    known: list[Secret] = []
    found = await BotocoreAws(lambda *secrets: known.extend(secrets)).keys()
    shown = {name: secret.reveal() for name, secret in found.items()}
    assert shown == {
        "access_key": "AKIDEXAMPLE", "secret_key": "a-secret-key", "session_token": "a-token",
    }  # fmt: skip
    assert repr(found["secret_key"]) == "«aws.secret_key»"
    assert known == list(found.values())


async def test_keys_of_a_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = of-work\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    found = await BotocoreAws().keys()
    assert {name: secret.reveal() for name, secret in found.items()} == {
        "access_key": "AKIDWORK",
        "secret_key": "of-work",
    }


async def test_no_keys_at_all_is_an_error_that_says_so() -> None:
    with pytest.raises(ExchangeError, match="no AWS credentials were found") as caught:
        await BotocoreAws().keys()
    assert caught.value.cls == "unavailable"


async def test_what_botocore_raises_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ExchangeError, match="no AWS credentials: ProfileNotFound"):
        await BotocoreAws().keys()
