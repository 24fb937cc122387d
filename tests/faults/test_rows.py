"""The fault suite: every fault of docs/faults on every kind of route; see rows.py."""

from __future__ import annotations

import pytest

from .conftest import TABLES, Verdicts
from .rows import Row

pytestmark = pytest.mark.timeout(180)  # all rows run in the fixture, at once


def _param(row: Row) -> object:
    marks = [pytest.mark.xfail(strict=True, reason=row.known)] if row.known else []
    return pytest.param(row, id=str(row), marks=marks)


@pytest.mark.parametrize("row", [_param(row) for table in TABLES for row in table.rows()])
def test_a_row_of_the_fault_suite(row: Row, verdicts: Verdicts) -> None:
    wrong = verdicts.rows[str(row)]
    assert [] == wrong, "\n".join(wrong)


def test_redirects_and_faults_send_nothing_anywhere_else(verdicts: Verdicts) -> None:
    assert verdicts.astray == []


@pytest.mark.rows("KB-9")
def test_no_descriptor_is_left_open(verdicts: Verdicts) -> None:
    # Besides connections for reuse: the database, once something was kept, and its journal.
    assert verdicts.descriptors <= verdicts.connections + 3


def test_the_gateway_ends_well(verdicts: Verdicts) -> None:
    assert verdicts.exit_code == 0


def test_the_log_tells_of_no_crash_and_shows_no_key(verdicts: Verdicts) -> None:
    assert [text for text in verdicts.log.splitlines() if '"event":"crash"' in text] == []
    assert "canary" not in verdicts.log
    assert "client-key" not in verdicts.log
