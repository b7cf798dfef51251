"""What every engine answers; see `ENGINES` in this folder's `conftest.py`."""

from __future__ import annotations

import datetime as dt
import math

import pyarrow as pa
import pytest

from mlwarehouse.engines.base import Reading
from mlwarehouse.errors import SqlError, StorageError
from mlwarehouse.tables import TABLES, TABLES_BY_NAME
from tests.contracts.conftest import LATER, NOON, count, names

# Questions.


def test_answers_have_plain_types(subject, rows):
    subject.append(rows(3, long_value=[1, 2, 3], double_value=[0.5, 1.5, 2.5]))
    answer = subject.engine.query(
        "SELECT sum(long_value) AS s, count(*) AS n, avg(double_value) AS m, max(event_at) AS t, min(name) AS x "
        "FROM probe"
    )
    assert answer.schema.types == [pa.int64(), pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC"), pa.string()]
    assert answer.to_pylist() == [{"s": 6, "n": 3, "m": 1.5, "t": NOON, "x": "row 0"}]


def test_a_name_defined_in_the_question_hides_a_view_only_there(subject, rows):
    subject.engine.create_tables(TABLES)
    subject.append(rows(2))
    answer = subject.engine.query(
        "WITH runs AS (SELECT name FROM probe) "
        "SELECT (SELECT count(*) FROM runs) AS own, count(*) AS params FROM (WITH runs AS (SELECT * FROM params) "
        "SELECT * FROM runs)"
    )
    assert answer.to_pylist() == [{"own": 2, "params": 0}]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM prob", r"no table or view `prob`. Did you mean `probe`\?"),
        ("SELECT nam FROM probe", "nam"),
        ("SELECT CAST(name AS INTEGER) FROM probe", "row 0"),
        ("SELECT FROM WHERE", "doesn't parse"),
        ("DELETE FROM probe", "Only SELECT"),
        ("SELECT 1; SELECT 2", "One SQL statement"),
        ("SELECT $a", r"parameter `\$a`"),
        ("SELECT ?", "without a name"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why_in_one_line(subject, rows, sql, told):
    subject.append(rows(1))
    with pytest.raises(SqlError, match=told) as raised:
        subject.engine.query(sql)
    assert "\n" not in str(raised.value)


def test_a_value_without_a_mark_is_refused(subject):
    with pytest.raises(SqlError, match=r"`\$nane`.*Did you mean `name`"):
        subject.engine.query("SELECT * FROM probe WHERE name = $name", parameters={"name": "a", "nane": "b"})


NASTY = ("plain", "o'clock", 'quo"ted', "back\\slash\\'", "${env:HOME}", "$name :name ?", "a\nb\tc", "-- /* 🦆", "")


def test_parameters_are_values_whatever_they_hold(subject):
    marks = ", ".join(f"$p{i} AS c{i}" for i in range(len(NASTY)))
    answer = subject.engine.query(f"SELECT {marks}", parameters={f"p{i}": text for i, text in enumerate(NASTY)})
    assert tuple(answer.to_pylist()[0].values()) == NASTY


def test_text_in_the_question_stays_as_written(subject):
    assert subject.engine.query("SELECT '${env:HOME}' AS a, 'b\\n' AS b").to_pylist() == [
        {"a": "${env:HOME}", "b": "b\\n"}
    ]


def test_parameters_of_each_type_find_their_rows(subject, rows):
    subject.append(
        rows(
            3,
            long_value=[2**62, -5, 0],
            double_value=[0.1, math.inf, math.nan],
            is_good=[True, False, None],
            seen_at=[NOON, LATER, None],
        )
    )
    for condition, value, found in [
        ("long_value = $v", 2**62, ["row 0"]),
        ("long_value = $v", -5, ["row 1"]),
        ("double_value = $v", 0.1, ["row 0"]),
        ("double_value = $v", math.inf, ["row 1"]),
        ("is_good = $v", False, ["row 1"]),
        ("seen_at = $v", NOON, ["row 0"]),
        ("seen_at > $v", NOON.astimezone(dt.timezone(dt.timedelta(hours=-7))), ["row 1"]),
        ("name = $v", "row 2", ["row 2"]),
        ("note = $v", None, []),
        ("name IN (SELECT unnest($v))", ["row 2", "row 0", "?"], ["row 0", "row 2"]),
        ("long_value IN (SELECT unnest($v))", [0], ["row 2"]),
    ]:
        answer = subject.engine.query(
            f"SELECT name FROM probe WHERE {condition} ORDER BY name", parameters={"v": value}
        )
        assert names(answer) == found, condition


# Readings.


def test_a_pinned_version_stays_as_it_was(subject, rows):
    for number in range(3):
        subject.append(rows(number + 1))
    assert [count(subject.engine, versions={"probe": v}) for v in (0, 1, 2, 3)] == [0, 1, 3, 6]
    assert count(subject.engine) == 6
    with pytest.raises(StorageError, match="version 9: its newest is 3"):
        count(subject.engine, versions={"probe": 9})


def test_as_of_counts_what_was_recorded_until_then(subject, rows):
    subject.append(rows(1, recorded_at=NOON))
    subject.append(rows(2, recorded_at=LATER))
    assert count(subject.engine, as_of=NOON - dt.timedelta(microseconds=1)) == 0
    assert count(subject.engine, as_of=NOON) == 1
    assert count(subject.engine, as_of=NOON.astimezone(dt.timezone(dt.timedelta(hours=5)))) == 1
    assert count(subject.engine, as_of=LATER) == 3


def test_an_overlay_is_seen_beside_what_is_committed(subject, rows):
    whole = TABLES_BY_NAME["probe"].arrow_schema()
    waiting = pa.Table.from_pylist(rows(2, name=["waiting 1", "waiting 2"]).to_pylist(), schema=whole)
    assert count(subject.engine, overlay={"probe": waiting}) == 2
    subject.append(rows(1))
    overlay = {"probe": waiting}
    answer = subject.engine.query("SELECT name FROM probe ORDER BY name", reading=Reading(overlay=overlay))
    assert names(answer) == ["row 0", "waiting 1", "waiting 2"]
    assert count(subject.engine, overlay=overlay, versions={"probe": 0}) == 2
    assert count(subject.engine) == 1


def test_rows_stand_in_place_of_a_tables_own(subject, rows):
    whole = TABLES_BY_NAME["probe"].arrow_schema()
    subject.append(rows(3))
    others = pa.Table.from_pylist(rows(2, name=["other 1", "other 2"]).to_pylist(), schema=whole)
    answer = subject.engine.query("SELECT name FROM probe ORDER BY name", reading=Reading(instead={"probe": others}))
    assert names(answer) == ["other 1", "other 2"]
    assert count(subject.engine, instead={"probe": others.slice(0, 0)}) == 0
    assert count(subject.engine) == 3


def test_a_commit_is_seen_by_a_reader_that_has_looked_before(subject, rows):
    reader = subject.another()
    assert count(reader) == 0
    subject.append(rows(2))
    assert count(reader) == 2
