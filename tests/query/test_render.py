"""Questions as trees: which names are views, what goes in front, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.parse import free_tables, parse_select
from mlwarehouse.engines.render import compiled, needed, render, with_views
from mlwarehouse.errors import SqlError
from tests.views.rows import tables


@pytest.mark.parametrize("operator", ["LIKE", "ILIKE"])
def test_a_backslash_in_a_pattern_is_one_on_spark(operator: str) -> None:
    tree = parse_select(f"SELECT a {operator} b FROM runs")
    assert f"a {operator} REPLACE(b, CHR(92), CONCAT(CHR(92), CHR(92)))" in render(tree, dialect="spark")
    assert f"a {operator} b" in render(tree, dialect="duckdb")
    escaped = parse_select(f"SELECT a {operator} b ESCAPE '!' FROM runs")
    assert f"a {operator} b ESCAPE '!'" in render(escaped, dialect="spark")


@pytest.mark.parametrize(
    ("sql", "free"),
    [
        ("SELECT * FROM runs", {"runs"}),
        ("SELECT * FROM Runs r, PARAMS", {"runs", "params"}),
        ("FROM runs", {"runs"}),
        ("SELECT 1", set()),
        ("SELECT * FROM range(3)", set()),
        ("WITH a AS (SELECT * FROM runs) SELECT * FROM a", {"runs"}),
        ("WITH A AS (SELECT 1) SELECT * FROM a", set()),
        # A name defined by WITH hides the view in what follows, and not in its own text.
        ("WITH runs AS (SELECT 1) SELECT * FROM runs", set()),
        ("WITH runs AS (SELECT * FROM runs) SELECT * FROM runs", {"runs"}),
        ("WITH a AS (SELECT * FROM params), params AS (SELECT * FROM a) SELECT * FROM params", {"params"}),
        ("WITH params AS (SELECT 1), a AS (SELECT * FROM params) SELECT * FROM a", set()),
        ("WITH RECURSIVE runs AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM runs) SELECT * FROM runs", set()),
        # Only inside the query that has the WITH.
        ("SELECT * FROM (WITH runs AS (SELECT 1) SELECT * FROM runs), runs", {"runs"}),
        ("SELECT * FROM tags WHERE run_id IN (WITH tags AS (SELECT 1) SELECT * FROM tags)", {"tags"}),
        ("WITH runs AS (SELECT 1) SELECT * FROM (SELECT * FROM (SELECT * FROM runs))", set()),
        ("WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT * FROM runs UNION ALL SELECT * FROM a", {"runs"}),
        ("WITH a AS (WITH runs AS (SELECT 1) SELECT * FROM runs) SELECT * FROM a, runs", {"runs"}),
    ],
)
def test_free_tables(sql: str, free: set[str]) -> None:
    assert free_tables(parse_select(sql)) == free


def test_views_come_after_those_they_need() -> None:
    views, leaves = needed(parse_select("SELECT * FROM model_aliases, runs"))
    assert set(views) == {"experiments", "runs", "live_registry_events", "model_versions", "model_aliases"}
    for before, after in (("experiments", "runs"), ("live_registry_events", "model_versions")):
        assert views.index(before) < views.index(after) <= 4
    assert leaves == {"experiment_events", "run_events", "registry_events"}


def test_an_unknown_table_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SqlError, match=r"no table or view `metric_summary`. Did you mean `metric_summaries`"):
        needed(parse_select("SELECT * FROM metric_summary"))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEKT 1", "doesn't parse as duckdb"),
        ("SELECT (1", "doesn't parse as duckdb"),
        ("", "0 were given"),
        ("SELECT 1; SELECT 2", "2 were given"),
        ("DELETE FROM runs", "this is DELETE"),
        ("CREATE TABLE t (a INT)", "this is CREATE"),
        ("DROP TABLE runs", "this is DROP"),
        ("INSERT INTO runs VALUES (1)", "this is INSERT"),
        ("COPY runs TO 'x.csv'", "Only SELECT can be asked"),
        ("PRAGMA database_list", "Only SELECT can be asked"),
    ],
)
def test_what_is_no_question_is_refused(sql: str, message: str) -> None:
    with pytest.raises(SqlError, match=message):
        parse_select(sql)


def test_aliases_are_kept() -> None:
    tree = parse_select("SELECT params.key, r.status FROM params JOIN runs AS r ON r.run_id = params.run_id")
    leaves = {name: f"leaf_{name}" for name in needed(tree)[1]}
    text = render(with_views(tree, leaves=leaves, dialect="duckdb"), dialect="duckdb")
    assert "FROM mlw_view_params AS params JOIN mlw_view_runs AS r ON" in text
    assert "FROM leaf_run_events AS run_events" in text


def test_the_question_itself_is_left_alone() -> None:
    tree = parse_select("WITH a AS (SELECT 1) SELECT * FROM a, runs")
    before = tree.sql(dialect="duckdb")
    with_views(tree, leaves={"run_events": "x", "experiment_events": "y"}, dialect="duckdb")
    assert tree.sql(dialect="duckdb") == before


def test_what_an_engine_cannot_say_is_refused() -> None:
    with pytest.raises(SqlError, match="can't be put in spark's SQL"):
        render(parse_select("SELECT json_extract(profile, '$.*') FROM inputs"), dialect="spark")


def test_compiled_questions_know_their_tables_and_marks() -> None:
    question = compiled("SELECT * FROM tags WHERE key = $key", dialect="duckdb", prefix="t_")
    assert question.tables == {"tag_events"}
    assert question.marks == {"key"}
    assert "FROM t_tag_events AS tag_events" in question.text


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT run_id FROM RUNS", [{"run_id": "r1"}]),
        ("SELECT runs.run_id FROM runs", [{"run_id": "r1"}]),
        ("WITH runs AS (SELECT 'mine' AS run_id) SELECT run_id FROM runs", [{"run_id": "mine"}]),
        (
            "WITH runs AS (SELECT run_id || '!' AS run_id FROM runs) SELECT run_id FROM runs",
            [{"run_id": "r1!"}],
        ),
        # A view reads its own tables, whatever the question calls its parts.
        ("WITH run_events AS (SELECT 1 AS one), folded AS (SELECT 2) SELECT run_id FROM runs", [{"run_id": "r1"}]),
        ("SELECT a.run_id FROM runs AS a JOIN runs AS b USING (run_id)", [{"run_id": "r1"}]),
        ("WITH a AS (SELECT run_id FROM runs) SELECT * FROM a UNION ALL SELECT * FROM a", [{"run_id": "r1"}] * 2),
        (
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT max(i) AS i FROM n",
            [{"i": 3}],
        ),
        ("SELECT (SELECT count(*) FROM runs) AS n", [{"n": 1}]),
        ("SELECT $a + 1 AS n, $b AS t", [{"n": 3, "t": "it's"}]),
    ],
)
def test_questions_are_answered(empty_engine: EmbeddedEngine, sql: str, expected: list[dict[str, Any]]) -> None:
    rows = tables({"run_events": [{"kind": "started", "experiment_id": "e1", "status": "RUNNING"}]})
    parameters = {"a": 2, "b": "it's"} if "$a" in sql else None
    found = empty_engine.query(sql, reading=Reading(overlay=rows), parameters=parameters)
    assert found.to_pylist() == expected
