from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from engine.shell.tune import COLLECT_EVERY, HEAP, tune


@pytest.fixture(autouse=True)
def _as_before() -> object:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_loaded_is_out_of_the_collector_s_sight() -> None:
    tune()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == COLLECT_EVERY


class Library:
    """A C library that notes what it is asked for."""

    def __init__(self, taken: int) -> None:
        self.asked: dict[int, int] = {}
        self.taken = taken

    def mallopt(self, what: int, size: int) -> int:
        self.asked[what] = size
        return self.taken


@pytest.mark.parametrize(("taken", "expected"), [(1, True), (0, False)])
def test_all_settings_of_the_heap_are_tried(
    monkeypatch: pytest.MonkeyPatch, taken: int, expected: bool
) -> None:
    library = Library(taken)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert tune() is expected
    assert library.asked == HEAP


def test_a_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert tune() is False


FAULTS = """
import resource, sys
from engine.shell.tune import tune
if sys.argv[1] == "tuned" and not tune():
    print(-1); raise SystemExit
def churn():
    for _ in range(300):
        blocks = [bytearray(100_000) for _ in range(20)]
        del blocks
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_that_was_freed_is_not_faulted_in_again() -> None:
    def faults(how: str) -> int:
        run = subprocess.run(
            [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
        )
        return int(run.stdout)

    tuned = faults("tuned")
    if tuned < 0:
        pytest.skip("no mallopt here")
    assert tuned < 1000
