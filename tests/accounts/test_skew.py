"""The difference between two clocks, learned from answers."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from engine.accounts.skew import LEAST, MOST, Skews
from engine.wire import HttpResponse

NOW = 1_700_000_000.0


def answer(at: float, *more: tuple[str, str]) -> HttpResponse:
    date = format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)
    return HttpResponse(403, (("Date", date), *more))


@pytest.mark.parametrize("ahead", [-7200.0, -60.0, 60.0, 7200.0])
def test_another_clock_is_learned_once(ahead: float) -> None:
    skews = Skews()
    assert skews.learn("r", answer(NOW + ahead), NOW)
    assert skews.of("r") == ahead
    assert not skews.learn("r", answer(NOW + ahead + 2), NOW + 1)
    assert skews.of("r") == ahead


def test_a_clock_that_was_set_right_is_forgotten() -> None:
    skews = Skews()
    skews.learn("r", answer(NOW + 600), NOW)
    assert skews.learn("r", answer(NOW), NOW)
    assert skews.of("r") == 0.0


@pytest.mark.parametrize("ahead", [0.0, LEAST - 1, -MOST - 10, MOST + 10])
def test_a_little_and_far_too_much_count_as_nothing(ahead: float) -> None:
    skews = Skews()
    assert not skews.learn("r", answer(NOW + ahead), NOW)
    assert skews.of("r") == 0.0


@pytest.mark.parametrize(
    "head",
    [
        HttpResponse(403),
        HttpResponse(403, (("Date", "yesterday"),)),
        HttpResponse(403, (("Date", "Fri, 99 Foo 2026 00:00:00 GMT"),)),
        answer(NOW + 600, ("Age", "600")),
    ],
    ids=["no date", "no time", "no day", "out of a cache"],
)
def test_an_answer_that_tells_no_time_changes_nothing(head: HttpResponse) -> None:
    skews = Skews()
    assert not skews.learn("r", head, NOW)
    assert skews.of("r") == 0.0


def test_each_route_has_its_own() -> None:
    skews = Skews()
    skews.learn("one", answer(NOW + 600), NOW)
    assert skews.of("two") == 0.0
