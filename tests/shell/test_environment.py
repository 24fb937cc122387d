"""The process's environment, read in one place."""

from __future__ import annotations

import os

import pytest

from engine.shell.environment import environment


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADE_UP", "x")
    found = environment()
    assert found["MADE_UP"] == "x"
    found["MADE_UP"] = "y"
    assert os.environ["MADE_UP"] == "x"
