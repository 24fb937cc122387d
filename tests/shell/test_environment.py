"""The process's environment, read in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.shell.environment import environment, read_env_file


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADE_UP", "x")
    found = environment()
    assert found["MADE_UP"] == "x"
    found["MADE_UP"] = "y"
    assert os.environ["MADE_UP"] == "x"


def test_a_file_of_variables_is_read_as_its_programs_read_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "\ufeff# the old proxy\n\nPORT=8787\nexport KEYS = a,b # two\nEMPTY=\nNOTE=# none\n"
        "WORDS=Think step by step.\nQUOTED=\"a # b\" # c\nSINGLE='$HOME ${X}'\nHASH=a#b\n"
    )
    assert read_env_file(file) == {
        "PORT": "8787", "KEYS": "a,b", "EMPTY": "", "NOTE": "", "WORDS": "Think step by step.",
        "QUOTED": "a # b", "SINGLE": "$HOME ${X}", "HASH": "a#b",
    }  # fmt: skip


def test_what_is_no_variable_is_told_by_its_line_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\nsk-secret-word\n")
    with pytest.raises(ConfigError, match=r"\.env:2:1: error E207: not `NAME=value`") as caught:
        read_env_file(file)
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read it"):
        read_env_file(tmp_path / "none")
