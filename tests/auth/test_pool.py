"""A pool: what outcomes mean for an account, and who is left."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest

from engine.auth.accounts import Account, account
from engine.auth.health import Bench
from engine.auth.meter import Limit
from engine.auth.pool import (
    FIRST_COOLING,
    LONGEST,
    LONGEST_COOLING,
    NOTHING,
    QUOTA,
    Pool,
    Rules,
    Wait,
)
from engine.errors import OUTCOMES
from engine.options import Secret

NOW = 1000.0
OWN = [name for name, known in OUTCOMES.items() if known.fault == "account"]


def of(names: str = "abc", bench: Bench | None = None, **rules: Any) -> Pool:
    accounts = tuple(account(name, {"key": Secret(f"sk-{name}")}) for name in names)
    return Pool(accounts, Rules(**rules), bench or Bench())


def named(pool: Pool, name: str) -> Account:
    return next(seat.account for seat in pool.seats if seat.account.id == name)


def until(pool: Pool, name: str) -> float:
    return pool.bench.healths[named(pool, name).digest].until


def choose(pool: Pool, now: float = NOW, **more: Any) -> Account | Wait:
    return pool.choose(now, Random(1), **more)


def free(pool: Pool, now: float = NOW) -> str:
    """The accounts that can be taken, in order."""
    found, tried = "", set[str]()
    while pool.others(tried, now):
        got = choose(pool, now, tried=tried)
        assert isinstance(got, Account)
        found += got.id
        tried.add(got.digest)
        pool.release(got)
    return "".join(sorted(found))


# ---- faults ----


@pytest.mark.parametrize("cls", [name for name in OUTCOMES if name not in OWN])
def test_what_is_not_the_accounts_fault_never_counts(cls: str) -> None:
    pool = of(after=1, refresh=1)
    for _ in range(5):
        assert pool.report(named(pool, "a"), cls, NOW) == NOTHING
    assert free(pool) == "abc"
    assert pool.bench.healths[named(pool, "a").digest].failures == 0


@pytest.mark.rows("K2-08", "KB-8", "FL-39", "FB-16")
@pytest.mark.parametrize("cls", OWN)
@pytest.mark.rows("K2-08", "KB-8")
def test_failures_in_a_row_park_an_account_for_a_time(cls: str) -> None:
    pool = of("a", after=3, rest=600.0)  # alone: nothing but the count parks it
    for _ in range(2):
        assert not pool.report(named(pool, "a"), cls, NOW).parked
    pool.report(named(pool, "a"), None, NOW)  # one success starts the count anew
    for _ in range(2):
        assert not pool.report(named(pool, "a"), cls, NOW).parked
    assert pool.report(named(pool, "a"), cls, NOW).parked == cls
    assert (free(pool), free(pool, NOW + 599), free(pool, NOW + 600)) == ("", "", "a")


def test_a_refused_credential_is_out_until_it_changes() -> None:
    pool = of()
    assert pool.report(named(pool, "a"), "auth_invalid", NOW).until == inf
    assert free(pool, NOW + 1e9) == "bc"
    changed = Pool((account("a", {"key": Secret("sk-new")}),), pool.rules, pool.bench)
    assert free(changed) == "a"


@pytest.mark.rows("KB-8")
def test_a_refused_credential_may_come_back_by_itself() -> None:
    pool = of(refused=60.0)
    pool.report(named(pool, "a"), "auth_invalid", NOW)
    assert (free(pool, NOW + 59), free(pool, NOW + 60)) == ("bc", "abc")


@pytest.mark.parametrize(
    ("cls", "asked", "rest"),
    [
        ("quota_exhausted", None, QUOTA),
        ("quota_exhausted", 20.0, 20.0),
        ("quota_exhausted", 1e9, LONGEST),
        ("rate_limited", None, FIRST_COOLING),
        ("rate_limited", 2.0, 2.0),
        ("rate_limited", 1e9, LONGEST),
        ("auth_expired", None, 0.0),
    ],
)
def test_a_class_says_how_long_an_account_is_out(
    cls: str, asked: float | None, rest: float
) -> None:
    pool = of()
    pool.report(named(pool, "a"), cls, NOW, retry_after=asked)
    assert until(pool, "a") == (NOW + rest if rest else 0.0)


@pytest.mark.rows("KT-16")
def test_a_limit_that_lasts_cools_an_account_longer_and_longer() -> None:
    pool, now, waits = of(), NOW, []
    for _ in range(8):
        pool.report(named(pool, "a"), "rate_limited", now)
        waits.append(until(pool, "a") - now)
        now = until(pool, "a")
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0]
    assert waits[-1] == LONGEST_COOLING


def test_a_longer_rest_is_not_cut_short_by_a_later_failure() -> None:
    pool = of()
    pool.report(named(pool, "a"), "quota_exhausted", NOW)
    assert not pool.report(named(pool, "a"), "rate_limited", NOW + 1).parked
    assert until(pool, "a") == NOW + QUOTA


@pytest.mark.parametrize("cls", ["auth_invalid", "quota_exhausted", "rate_limited"])
def test_who_is_alone_stays_in(cls: str) -> None:
    """There is nobody else to ask, and the upstream's own answer says more than ours."""
    pool = of("a")
    pool.report(named(pool, "a"), cls, NOW)
    assert free(pool) == "a"


# ---- choosing ----


def test_accounts_that_were_tried_come_last() -> None:
    pool = of("ab", pick="first")
    tried = {named(pool, "a").digest}
    assert choose(pool, tried=tried) == named(pool, "b")
    tried.add(named(pool, "b").digest)
    assert choose(pool, tried=tried) == named(pool, "a")
    assert not pool.others(tried, NOW)


@pytest.mark.parametrize(
    ("reports", "wait"),
    [
        ({"a": ("rate_limited", 30.0), "b": ("rate_limited", 20.0)}, Wait(20.0, "rate_limited")),
        ({"a": ("quota_exhausted", 30.0), "b": ("quota_exhausted", 40.0)},
         Wait(30.0, "quota_exhausted")),
        ({"a": ("quota_exhausted", 30.0), "b": ("rate_limited", 40.0)}, Wait(30.0, "rate_limited")),
    ],
)  # fmt: skip
def test_who_finds_nobody_free_is_told_how_long_and_why(
    reports: dict[str, tuple[str, float]], wait: Wait
) -> None:
    pool = of("ab")
    for name, (cls, after) in reports.items():
        pool.report(named(pool, name), cls, NOW, retry_after=after)
    assert choose(pool) == wait


def test_accounts_that_are_out_for_their_token_could_log_in() -> None:
    pool = of("ab")
    pool.report(named(pool, "a"), "auth_invalid", NOW)
    pool.report(named(pool, "b"), "auth_invalid", NOW, login=True)  # a login was refused: no use
    assert choose(pool) == Wait(inf, "unavailable", (named(pool, "a"),))


def test_limits_make_a_request_take_another_account_or_wait() -> None:
    pool = of("ab", limit=Limit(rpm=1))
    ids = [got.id for got in (choose(pool), choose(pool)) if isinstance(got, Account)]
    assert ids == ["a", "b"]
    assert choose(pool, NOW + 1) == Wait(59.0, "rate_limited")
    busy = of("a", limit=Limit(concurrency=1))
    got = choose(busy)
    assert isinstance(got, Account)
    assert choose(busy) == Wait(inf, "rate_limited")
    busy.release(got)
    assert choose(busy) == got


# ---- logging in anew ----


@pytest.mark.rows("K2-09")
def test_accounts_that_fail_one_after_the_other_are_logged_in_anew() -> None:
    pool = of("abc", refresh=2, min_pool=3)
    assert pool.report(named(pool, "a"), "auth_expired", NOW).refresh == ()
    assert pool.report(named(pool, "a"), "auth_expired", NOW).refresh == ()  # still only one
    failed = pool.report(named(pool, "b"), "auth_expired", NOW).refresh
    assert [each.id for each in failed] == ["a", "b"]
    assert pool.report(named(pool, "c"), "auth_expired", NOW).refresh == ()  # counted anew


def test_a_success_between_failures_breaks_the_row() -> None:
    pool = of("abc", refresh=2)
    pool.report(named(pool, "a"), "auth_expired", NOW)
    pool.report(named(pool, "c"), None, NOW)
    assert pool.report(named(pool, "b"), "auth_expired", NOW).refresh == ()


@pytest.mark.rows("K2-09")
def test_a_small_pool_is_left_alone() -> None:
    pool = of("ab", refresh=2, min_pool=3)
    pool.report(named(pool, "a"), "auth_expired", NOW)
    assert pool.report(named(pool, "b"), "auth_expired", NOW).refresh == ()


# ---- versions of a route, and hands ----


def test_versions_of_a_route_share_what_is_known_of_an_account() -> None:
    old = of("ab")
    old.report(named(old, "a"), "auth_invalid", NOW)
    new = of("abc", bench=old.bench)
    assert free(new) == "bc"
    got = choose(old)
    assert isinstance(got, Account)
    new.bench.keep({named(new, "a").digest})  # b is gone, but still in use
    assert got.id == "b"
    old.release(got)
    new.bench.keep({named(new, "a").digest})
    assert set(new.bench.healths) == {named(new, "a").digest}


def test_an_operator_parks_and_revives() -> None:
    pool = of("ab", refresh=2)
    pool.report(named(pool, "a"), "auth_invalid", NOW)
    pool.revive(named(pool, "a").digest)
    assert (free(pool), pool.bench.streak) == ("ab", {})
    pool.park(named(pool, "b").digest)
    assert free(pool) == "a"
    assert [seat.account.id for seat in pool.parked(NOW)] == ["b"]
