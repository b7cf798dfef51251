"""Commits that depend on several numbers, and those that are decided when their rows are written."""

from __future__ import annotations

import pytest

from mlwarehouse.engines.base import Late, Txn
from tests.contracts.conftest import PROBE, count


def test_one_number_that_is_reached_is_enough(subject, rows):
    subject.append(rows(1), Txn("a", 3))
    assert not subject.append(rows(1), Txn("b", 1), Txn("a", 3)).applied
    assert subject.engine.transaction_version(PROBE, "b") is None
    assert subject.append(rows(1), Txn("b", 1), Txn("a", 4)).applied
    assert [subject.engine.transaction_version(PROBE, name) for name in "ab"] == [4, 1]
    assert count(subject.engine) == len(subject.files()) == 2


def test_what_was_held_must_not_have_moved(subject, rows):
    engine = subject.engine
    assert engine.append(PROBE, rows(1), txns=[Txn("a", 1)], holding=[Txn("b", 0)]).applied
    subject.another().append(PROBE, rows(1), txns=[Txn("b", 1)])
    assert not engine.append(PROBE, rows(1), txns=[Txn("a", 2)], holding=[Txn("b", 0)]).applied
    assert engine.transaction_version(PROBE, "a") == 1
    assert engine.append(PROBE, rows(1), txns=[Txn("a", 2)], holding=[Txn("b", 1)]).applied
    assert engine.transaction_version(PROBE, "b") == 1, "what is held isn't counted up"
    assert count(engine) == len(subject.files()) == 3


def test_late_decisions_are_made_anew_until_they_hold(subject, rows):
    engine, other = subject.engine, subject.another()
    decided = []

    def decide():
        number = (engine.transaction_version(PROBE, "a") or 0) + 1
        decided.append(number)
        if len(decided) < 3:
            other.append(PROBE, rows(1), txns=[Txn("a", number)])
        return Late([Txn("a", number)])

    done = engine.append_late(PROBE, rows(5), decide)
    assert (done.applied, done.n_rows, decided) == (True, 5, [1, 2, 3])
    assert count(engine) == 7
    assert len(subject.files()) == 3, "the rows were written once"


def test_a_late_decision_may_be_not_to(subject, rows):
    engine = subject.engine
    assert not engine.append_late(PROBE, rows(1), lambda: None).applied

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        engine.append_late(PROBE, rows(1), fail)
    assert count(engine) == len(subject.files()) == 0
