"""Questions in the dialects that people come with: the same rows as in DuckDB's, or a refusal."""

from __future__ import annotations

import math

import pytest
import yaml

from mlwarehouse.engines.parse import DIALECTS, known_dialect
from mlwarehouse.errors import SqlError
from mlwarehouse.query import sql

from .conftest import CASES

FILE = yaml.safe_load((CASES / "dialects.yml").read_text(encoding="utf-8"))

PAIRS = [
    pytest.param(group["duckdb"], dialect, text, id=f"{number}-{dialect}")
    for number, group in enumerate(FILE["same"], start=1)
    for dialect, text in group.items()
    if dialect != "duckdb"
]

WANTED = set(
    "spark databricks postgres mysql sqlite bigquery snowflake tsql trino presto redshift clickhouse oracle "
    "hive".split()
)


def answer(engine, text, dialect="duckdb", parameters=None):
    rows = sql(engine, None, text, dialect=dialect, parameters=parameters, output_format="arrow").to_pylist()
    return [{k.lower(): "nan" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize(("ours", "dialect", "text"), PAIRS)
def test_a_question_means_the_same_in_every_dialect(engine, ours, dialect, text):
    expected = answer(engine, ours)
    assert expected
    assert answer(engine, text, dialect) == expected


def test_each_dialect_that_people_come_with_has_cases():
    asked = {dialect for group in FILE["same"] for dialect in group}
    assert asked >= WANTED
    for dialect in WANTED:
        assert sum(dialect in group for group in FILE["same"]) >= 3, dialect


@pytest.mark.parametrize("case", FILE["refused"], ids=lambda c: f"{c['dialect']}-{c['says'][:12]}")
def test_what_would_be_answered_wrongly_is_refused(engine, case):
    parameters = {"a": 5} if "$a" in case["ask"] else None
    with pytest.raises(SqlError) as raised:
        answer(engine, case["ask"], case["dialect"], parameters)
    assert case["says"] in str(raised.value)


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if d not in ("dax", "prql")])
def test_every_dialect_of_sqlglot_is_accepted(engine, dialect):
    assert answer(engine, "SELECT run_id FROM runs WHERE run_id = 'a'", dialect) == [{"run_id": "a"}]


def test_an_unknown_dialect_is_refused_with_a_suggestion(engine):
    assert known_dialect("PostgreSQL") == "postgres"
    assert known_dialect("MSSQL") == "tsql"
    with pytest.raises(SqlError, match=r"no SQL dialect `snowflakes`. Did you mean `snowflake`"):
        answer(engine, "SELECT 1", "snowflakes")


NAMED = {
    "duckdb": "$run",
    "postgres": "%(run)s",
    "mysql": "%(run)s",
    "sqlite": ":run",
    "bigquery": "@run",
    "tsql": "@run",
    "snowflake": ":run",
    "databricks": ":run",
    "spark": ":run",
    "oracle": ":run",
    "redshift": "%(run)s",
    "clickhouse": "{run:String}",
    "trino": "$run",
    "presto": "$run",
    "hive": "$run",
}

BY_POSITION = {
    "duckdb": "?",
    "postgres": "%s",
    "mysql": "?",
    "sqlite": "?1",
    "bigquery": "?",
    "tsql": "?",
    "snowflake": ":1",
    "databricks": "?",
    "spark": "?",
    "oracle": ":1",
    "redshift": "$1",
    "trino": "?",
    "presto": "?",
    "hive": "?",
}

EVIL = 'it\'s "a" `b`; -- $x :y ? %s @z {q}'


@pytest.mark.parametrize(("dialect", "mark"), NAMED.items())
def test_marks_by_name_are_values(engine, dialect, mark):
    question = f"SELECT {mark} AS v, '{{}} % $x :y ? @z' AS t FROM runs WHERE run_id = 'a' AND {mark} IS NOT NULL"
    assert answer(engine, question, dialect, {"run": EVIL}) == [{"v": EVIL, "t": "{} % $x :y ? @z"}]


@pytest.mark.parametrize(("dialect", "mark"), BY_POSITION.items())
def test_marks_by_position_are_values(engine, dialect, mark):
    assert answer(engine, f"SELECT {mark} AS v FROM runs WHERE run_id = 'a'", dialect, [EVIL]) == [{"v": EVIL}]


def test_positions_are_those_in_the_text(engine):
    assert answer(engine, "SELECT ? AS a, ? AS b FROM runs WHERE run_id = ? LIMIT ?", "mysql", [1, 2, "a", 3]) == [
        {"a": 1, "b": 2}
    ]
    assert answer(engine, "SELECT $2 AS a, $1 AS b, $2 AS c", "postgres", [1, 2]) == [{"a": 2, "b": 1, "c": 2}]


def test_signs_that_are_no_marks_stay_what_they_are(engine):
    assert answer(engine, "SELECT 7 % 4 AS m, 7 %(4) AS n", "mysql") == [{"m": 3, "n": 3}]
    assert answer(engine, "SELECT [1, 2, 3][1:2] AS l, {'a': 1}.a AS s", "duckdb", []) == [{"l": [1, 2], "s": 1}]


@pytest.mark.parametrize(
    ("text", "parameters", "says"),
    [
        ("SELECT ?", None, "as a list"),
        ("SELECT ?", {"a": 1}, "without a name"),
        ("SELECT ?, ?", [1], "has 2 marks without names, and 1 values"),
        ("SELECT $a", [1], "has 0 marks"),
        ("SELECT ?, $1", [1], "either all"),
        ("SELECT ?", "x", "got str"),
        ("SELECT $a", None, "no value was given"),
    ],
)
def test_marks_and_values_that_do_not_go_together_are_refused(engine, text, parameters, says):
    with pytest.raises(SqlError, match=says):
        answer(engine, text, "duckdb", parameters)


@pytest.mark.parametrize(
    ("dialect", "text", "place"),
    [
        ("duckdb", "SELECT run_id,\n  run_idd FROM runs", "line 2, column 3"),
        ("duckdb", "SELECT run_id\nFROM runz", "line 2, column 6"),
        ("duckdb", "SELECT run_id,\n   foo(1) FROM runs", "line 2, column 4"),
        ("postgres", "SELECT 1 AS one,\n\n  run_id, count(*) FROM runs", "line 3, column 3"),
        ("tsql", "SELECT [run_id]\nFROM [runz]", "line 2, column 6"),
        ("duckdb", "SELECT run_id\nFRM runs LIMIT", "line 2, column 5"),
        ("mysql", "SELECT 'abc", "line 1, column 8"),
        ("mysql", "SELECT 1,\n 'abc", "line 2, column 2"),
    ],
)
def test_an_error_points_at_the_place_in_the_question(engine, dialect, text, place):
    with pytest.raises(SqlError) as raised:
        answer(engine, text, dialect)
    assert place in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", [f"SELECT {'(' * 3000}1{')' * 3000}", f"{'SELECT * FROM (' * 900}SELECT 1{')' * 900}"])
@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_what_is_nested_too_deeply_is_refused_in_words(engine, text, dialect):
    with pytest.raises(SqlError, match="nested too deeply; write it with common table expressions"):
        sql(engine, None, text, dialect=dialect)
    assert answer(engine, "SELECT 1 AS a") == [{"a": 1}]
