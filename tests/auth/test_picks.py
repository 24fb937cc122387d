"""Which of several accounts is taken."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from engine.auth.accounts import Account, account
from engine.auth.health import Bench
from engine.auth.picks import PICKS
from engine.auth.pool import Pool, Rules
from engine.options import Secret


def pool(pick: str, **weights: int) -> Pool:
    accounts = tuple(
        account(name, {"key": Secret(f"sk-{name}")}, weight=weight)
        for name, weight in weights.items()
    )
    return Pool(accounts, Rules(pick=pick), Bench())


def taken(of: Pool, times: int, session: str = "", *, release: bool = True) -> str:
    out = ""
    random = Random(1)
    for at in range(times):
        found = of.choose(float(at), random, session)
        assert isinstance(found, Account)
        out += found.id
        if release:
            of.release(found)
    return out


def test_in_turn_everybody_is_taken_equally_often() -> None:
    assert taken(pool("round_robin", a=1, b=1, c=1), 7) == "abcabca"


@pytest.mark.rows("K2-07")
def test_in_turn_those_that_are_out_are_skipped() -> None:
    of = pool("round_robin", a=1, b=1, c=1)
    of.park(of.seats[1].account.digest)
    assert taken(of, 4) == "acac"


def test_the_first_is_taken_as_long_as_it_can_be() -> None:
    of = pool("first", a=1, b=1)
    assert taken(of, 3) == "aaa"
    of.park(of.seats[0].account.digest)
    assert taken(of, 2) == "bb"


@pytest.mark.rows("KT-16")
def test_the_least_busy_is_taken_and_of_equals_the_one_that_rested_longest() -> None:
    of = pool("least_busy", a=1, b=1, c=1)
    assert taken(of, 7, release=False) == "abcabca"
    of.release(of.seats[1].account)
    of.release(of.seats[1].account)
    assert taken(of, 2, release=False) == "bb"


def test_by_chance_everybody_is_taken() -> None:
    counts = Counter(taken(pool("random", a=1, b=1, c=1, d=1), 400))
    assert set(counts) == set("abcd")
    assert min(counts.values()) > 60


@pytest.mark.rows("KT-16")
def test_weights_are_kept_and_mixed() -> None:
    assert taken(pool("weighted", a=3, b=1), 8) == "aabaaaba"
    of = pool("weighted", a=3, b=1)
    of.park(of.seats[0].account.digest)
    assert taken(of, 2) == "bb"


def test_a_session_keeps_its_account() -> None:
    of = pool("sticky", a=1, b=1, c=1, d=1)
    first = {name: taken(of, 1, name) for name in map(str, range(60))}
    assert {name: taken(of, 1, name) for name in first} == first
    assert set(first.values()) == set("abcd")
    gone = first["0"]
    of.park(next(seat for seat in of.seats if seat.account.id == gone).account.digest)
    moved = {name: taken(of, 1, name) for name in first}
    assert {name for name in first if moved[name] != first[name]} == {
        name for name, was in first.items() if was == gone
    }


def test_without_a_session_sticky_goes_in_turn() -> None:
    assert taken(pool("sticky", a=1, b=1), 4) == "abab"


@pytest.mark.parametrize("pick", PICKS)
def test_where_nobody_is_free_nobody_is_taken(pick: str) -> None:
    of = pool(pick, a=1, b=1)
    for seat in of.seats:
        of.park(seat.account.digest)
    assert not isinstance(of.choose(0.0, Random(1), "s"), Account)
