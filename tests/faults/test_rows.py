"""The fault suite: every fault of docs/faults on every kind of route; see rows.py."""

from __future__ import annotations

import pytest

from .conftest import TABLES, Verdicts
from .rows import Row, by_fault

pytestmark = pytest.mark.timeout(180)  # all rows run in the fixture, at once


def _param(name: str, rows: list[Row]) -> object:
    known = rows[0].known
    marks = [pytest.mark.xfail(strict=True, reason=known)] if known else []
    return pytest.param(rows, id=name, marks=marks)


@pytest.mark.parametrize("rows", [_param(*named) for named in by_fault(TABLES).items()])
def test_the_rows_of_a_fault(rows: list[Row], verdicts: Verdicts) -> None:
    wrong = {str(row): found for row in rows if (found := verdicts.rows[str(row)])}
    assert {} == wrong, "\n".join(f"{row}: {'; '.join(found)}" for row, found in wrong.items())


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
