"""The command itself: a verb's module is imported when it is used."""

from __future__ import annotations

import gc
import subprocess
import sys

import click
import pytest

from engine.cli import VERBS, main

COLLECTIONS = """
import gc
from engine.cli import main
before = sum(each["collections"] for each in gc.get_stats())
assert main.get_command(None, "serve") is not None
after = sum(each["collections"] for each in gc.get_stats())
print(after - before)
"""


def test_every_verb_is_found_and_no_other() -> None:
    with click.Context(main) as context:
        assert [name for name in VERBS if main.get_command(context, name) is None] == []
        assert main.get_command(context, "dance") is None


def test_no_garbage_is_looked_for_while_a_verb_is_imported() -> None:
    command = [sys.executable, "-c", COLLECTIONS]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 10  # it would be hundreds


def test_garbage_is_looked_for_again_though_a_verb_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "engine.cli.check", None)
    with click.Context(main) as context, pytest.raises(ImportError):
        main.get_command(context, "check")
    assert gc.isenabled()
