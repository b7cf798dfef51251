"""Each attack of the file is refused by whom the file says, and its harmless twin is answered: by real workers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import SqlError, SqlLimitError, WarehouseError
from mlwarehouse.parts.locked_sql import Answer, LockedSql
from tests.locked.attacks import LARGE, Attack, read_attacks

ATTACKS = read_attacks()

SAID = {
    "size": "nested|characters|character that no SQL has",
    "parse": "doesn't parse",
    "statement": "Only SELECT can be asked|One SQL statement is needed",
    "construct": "SQL construct `|function `[A-Z ]+` isn't|without schema|After FROM come|can't be read with|"
    "begin with|is called by its name alone|own types only|ASCII",
    "function": "The function `",
    "name": "There is no table or view `",
    "parameter": "[Pp]arameter",
    "engine": "The question failed: ",
    "limit": "took longer than|took more than|has more than|broke down|more memory",
}

ENOUGH = {"time_limit_s": 60.0, "memory_bytes": 256 << 20, "row_limit": 1000, "result_bytes": 8 << 20}

Outcome = Answer | WarehouseError


def _outcome(locked: LockedSql, sql: str) -> Outcome:
    try:
        return locked.answer(sql)
    except WarehouseError as error:
        return error


@pytest.fixture(scope="module")
def outcomes(warehouse: Warehouse):
    """What came of each attack and of each twin, by SQL."""
    with (
        warehouse.locked(experiment_names=["open"], **ENOUGH) as patient,
        warehouse.locked(experiment_names=["open"], **ENOUGH | {"time_limit_s": 1.0}) as hasty,
        ThreadPoolExecutor(2) as pool,
    ):
        asked = {c.attack: hasty if "time" in c.kind else patient for c in ATTACKS} | {c.twin: patient for c in ATTACKS}
        return dict(zip(asked, pool.map(lambda one: _outcome(one[1], one[0]), asked.items()), strict=True))


def test_there_are_enough_attacks_and_none_twice():
    assert len(ATTACKS) >= 200
    assert len({c.attack for c in ATTACKS}) == len(ATTACKS)
    assert {c.by for c in ATTACKS} == {*SAID, "rows"}
    assert {c.attack for c in ATTACKS} >= set(LARGE.values())


@pytest.mark.parametrize("case", ATTACKS, ids=lambda c: f"{c.line}-{c.by}")
def test_an_attack_comes_to_nothing_and_its_twin_is_answered(case: Attack, outcomes):
    outcome, twin = outcomes[case.attack], outcomes[case.twin]
    assert isinstance(twin, Answer), f"{case.twin}: {twin}"
    if case.by == "rows":
        assert isinstance(outcome, Answer), outcome
        assert "hidden" not in str(outcome.rows.to_pylist())
        return
    assert isinstance(outcome, SqlError), outcome
    assert isinstance(outcome, SqlLimitError) == (case.by == "limit"), outcome
    assert re.search(SAID[case.by], str(outcome)), outcome
    assert "hidden-" not in str(outcome)


@pytest.mark.parametrize("case", [c for c in ATTACKS if c.by == "rows"], ids=lambda c: str(c.line))
def test_without_a_grant_s_filter_the_rows_would_be_there(case: Attack, warehouse: Warehouse):
    # Or else an attack on rows would be harmless by accident.
    try:
        rows = warehouse.sql(case.attack, output_format="arrow")
    except SqlError as error:
        assert "hidden" in str(error)  # noqa: PT017
    else:
        assert "hidden" in str(rows.to_pylist())
