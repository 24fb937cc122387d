from __future__ import annotations

import asyncio

import pytest

from engine.errors import ExchangeError
from engine.kept import wishes
from engine.kept.wishes import FIRST_WAIT, LONGEST_ASKED, LONGEST_WAIT, Slot, Slots, again, key_of
from tests.kit import route_of

ROUTE = """
version: 1
base_url: https://a.example
models: [m]
request: { path: /x, json: { v: "{{ values.v }}" } }
response: { events: [ { text: $.a, finish: stop } ] }
values: { v: { scope: account, request: { path: /v }, extract: [ { json: $.v } ] } }
"""


def test_each_scope_and_part_has_a_name_of_its_own() -> None:
    route = route_of(ROUTE)
    plan = route.values["v"]
    keys = {key_of(route, plan, *more) for more in (("",), ("a",), ("b",), ("a", "p"), ("", "p"))}
    assert 5 == len(keys)
    assert all(key.startswith(f"sample/v/{plan.fingerprint}/") for key in keys)


def test_the_least_recently_used_goes_first_unless_it_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wishes, "MAX_SLOTS", 2)
    slots = Slots()
    first, second = slots.of("a"), slots.of("b")
    assert slots.of("a") is first
    slots.of("c")
    assert ["a", "c"] == list(slots)
    loop = asyncio.new_event_loop()
    first.flight = loop.create_future()
    slots.of("b")
    assert (["a", "c", "b"], False) == (list(slots), slots["b"] is second)
    loop.close()


def test_waits_grow_up_to_a_bound() -> None:
    slot, waits = Slot(), list[float]()
    for _ in range(12):
        slot.failed(ExchangeError("connect", "no"), 100.0)
        waits.append(slot.wait_until - 100.0)
    assert (FIRST_WAIT, 2 * FIRST_WAIT, LONGEST_WAIT) == (waits[0], waits[1], waits[-1])
    slot.failed(ExchangeError("connect", "no", retry_after=1e9), 0.0)
    assert LONGEST_ASKED == slot.wait_until


def test_an_error_is_told_again_in_full() -> None:
    error = ExchangeError("rate_limited", "slow", status=429, code="busy", retry_after=3.0)
    told = again(error)
    assert told is not error
    assert (error.cls, error.message, 429, "busy", 3.0) == (
        told.cls, told.message, told.status, told.code, told.retry_after,
    )  # fmt: skip
