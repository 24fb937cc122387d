"""Waiting times: where an answer says when to ask again, and in what words."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.route.waits import bad_wait, compile_waits, header_wait, seconds

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (5, 5.0),
        (0.25, 0.25),
        (-3, 0.0),
        ("5", 5.0),
        (" 1.5 ", 1.5),
        ("800ms", 0.8),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1d", 86400.0),
        ("2 m", 120.0),
        ("1 hour 5 minutes", 3900.0),
        ("90 Seconds", 90.0),
        ("1h 5min", 3900.0),
        ("2 days", 172800.0),
        ("10 milliseconds", 0.01),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Tue, 14 Nov 2023 22:13:30 -0000", 10.0),
        ("2023-11-14T22:14:00Z", 40.0),
        ("2023-11-14T23:14:00+01:00", 40.0),
        (NOW + 30, 30.0),
        (str(int(NOW + 30)), 30.0),
        (int((NOW + 30) * 1000), 30.0),
        (NOW - 30, 0.0),
        (True, None),
        (None, None),
        ("", None),
        ("soon", None),
        ("-", None),
        ("5 apples", None),
        ("5 mss", None),
        ("in 5 s", None),
        ({"a": 1}, None),
        ([], None),
        (float("inf"), None),
        (float("nan"), None),
        (10**400, None),
        ("9" * 500, None),
        ("Mon, 99 Foo 99999 99:99:99 GMT", None),
    ],
)
def test_waiting_times_come_in_many_forms(value: object, wait: float | None) -> None:
    found = seconds(value, NOW)
    assert found == (None if wait is None else pytest.approx(wait))


@given(st.text() | st.integers() | st.floats() | st.none())
def test_a_waiting_time_is_never_negative_and_never_raises(value: object) -> None:
    found = seconds(value, NOW)
    assert found is None or 0 <= found < 1e9


def test_the_first_source_that_says_a_time_counts() -> None:
    headers = {"x-reset": "20"}
    find = compile_waits(["header.x-none", "$.wait", "header.x-reset", "45s"])
    assert find({"wait": "3 s"}, headers.get, NOW) == 3.0
    assert find({"wait": "soon"}, headers.get, NOW) == 20.0
    assert find({}, {"x-other": "1"}.get, NOW) == 45.0
    assert compile_waits([])({"wait": 3}, headers.get, NOW) is None


def test_milliseconds_of_the_usual_headers_win() -> None:
    both = {"retry-after-ms": "1500", "retry-after": "7"}
    assert header_wait(both.get, NOW) == 1.5
    assert header_wait({"retry-after": "7"}.get, NOW) == 7.0


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ("header.retry-after", True),
        ("$.a", True),
        ("5s", True),
        ("5", True),
        ("$.a[", False),
        ("retry-after", False),
    ],
)
def test_a_source_of_waiting_times_is_checked(source: str, good: bool) -> None:
    assert (bad_wait(source) is None) == good


def test_a_record_has_no_headers_to_look_at() -> None:
    wrong = bad_wait("header.retry-after", headers=False)
    assert wrong == "neither a path nor a duration"
