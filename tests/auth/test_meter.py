"""How much an account uses, held against its limits."""

from __future__ import annotations

from math import inf

import pytest

from engine.auth.meter import Limit, Meter


def test_calls_of_the_last_minute_count() -> None:
    meter, limit = Meter(), Limit(rpm=2)
    meter.take(limit, 100.0)
    assert meter.wait(limit, 101.0) == 0
    meter.take(limit, 110.0)
    assert meter.wait(limit, 111.0) == pytest.approx(49.0)
    assert meter.wait(limit, 159.9) == pytest.approx(0.1)
    assert meter.wait(limit, 160.0) == 0


def test_a_smaller_limit_holds_for_calls_that_were_made_under_a_larger_one() -> None:
    meter = Meter()
    for at in range(4):
        meter.take(Limit(rpm=10), float(at))
    assert meter.wait(Limit(rpm=2), 10.0) == pytest.approx(52.0)  # until two are left: 2 and 3


def test_calls_under_way_count_until_they_end() -> None:
    meter, limit = Meter(), Limit(concurrency=1)
    meter.take(limit, 0.0)
    assert meter.wait(limit, 1000.0) == inf
    meter.release()
    assert meter.wait(limit, 1000.0) == 0


def test_without_a_limit_nothing_is_kept() -> None:
    meter = Meter()
    for at in range(100):
        meter.take(Limit(), float(at))
    assert (meter.wait(Limit(), 100.0), len(meter.recent)) == (0, 0)
    assert not Limit()
    assert Limit(rpm=1)
