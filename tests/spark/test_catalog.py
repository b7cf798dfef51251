"""A warehouse in Spark's catalog: everything under one namespace, the same for every session, and for reading only."""

from __future__ import annotations

import pandas as pd
import pytest

from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
from mlwarehouse.tables import TABLES
from mlwarehouse.tables.views import all_views

from .conftest import made_of_runs

pytestmark = pytest.mark.spark

DOCS = {
    **{spec.name: (spec.grain, {c.name: c.doc for c in spec.all_columns}) for spec in TABLES},
    **{view.name: (view.purpose, view.columns) for view in all_views()},
}


def test_every_table_and_view_is_there_and_says_what_its_columns_are(spark, warehouse, shown):
    there = {row.tableName for row in spark.sql(f"SHOW TABLES IN {shown}").collect() if row.namespace == shown}
    assert there == DOCS.keys()
    for name, (comment, docs) in DOCS.items():
        rows = [tuple(row) for row in spark.sql(f"DESCRIBE EXTENDED {shown}.{name}").collect()]
        end = next(i for i, row in enumerate(rows) if not row[0])
        assert [(column, doc) for column, _, doc in rows[:end]] == list(docs.items())
        assert ("Comment", comment, "") in rows
    for name in ("metrics", "runs", "metric_summaries", "runs_latest"):
        assert spark.table(f"{shown}.{name}").columns == warehouse.sql(f"SELECT * FROM {name} LIMIT 0").columns.tolist()


def test_answers_are_ours(spark, warehouse, shown):
    question = "SELECT run_id, key, last, min, min_step FROM {}metric_summaries ORDER BY run_id, key"
    ours, theirs = warehouse.sql(question.format("")), spark.sql(question.format(f"{shown}.")).toPandas()
    assert len(ours) == 6
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_every_session_is_told_the_same_whatever_its_settings(spark, warehouse, shown, zone):
    # Between these two zones there is never a moment of one date.
    other = spark.newSession()
    other.conf.set("spark.sql.session.timeZone", zone)
    other.conf.set("spark.sql.ansi.enabled", "false")
    days = {day.timestamp() for day in warehouse.sql("SELECT day FROM runs_by_day")["day"]}
    assert {row.s for row in other.sql(f"SELECT unix_seconds(day) AS s FROM {shown}.runs_by_day").collect()} == days
    assert other.conf.get("spark.sql.session.timeZone") == zone


def test_nobody_writes_through_it(spark, warehouse, shown):
    from pyspark.errors import AnalysisException

    before = warehouse.versions()
    with pytest.raises(AnalysisException, match=r"(?i)view"):
        spark.sql(f"INSERT INTO {shown}.metrics SELECT * FROM {shown}.metrics")
    with pytest.raises(AnalysisException, match=r"(?i)view"):
        spark.sql(f"DELETE FROM {shown}.metrics")
    assert warehouse.versions() == before


def test_a_namespace_is_registered_once_replaced_on_demand_and_dropped(spark, warehouse, shown, tmp_path):
    def created(namespace: str) -> str:
        rows = spark.sql(f"DESCRIBE EXTENDED {namespace}.runs").collect()
        return next(row[1] for row in rows if row[0] == "Created Time"), len(spark.table(f"{namespace}.runs").take(9))

    zone = spark.conf.get("spark.sql.session.timeZone")
    first = created(shown)
    assert set(warehouse.register(spark, shown)) == DOCS.keys()
    assert created(shown) == first

    other = made_of_runs(tmp_path / "other", 1)
    other.register(spark, "beside")
    assert created("beside")[1] == 1
    assert created(shown) == first
    with pytest.raises(ConflictError, match=r"`beside` shows another warehouse \(.*other.*replace=True"):
        warehouse.register(spark, "beside")
    with other.start_run(experiment="e") as run:
        run.log_metric("loss", 1.0)
    other.flush()
    assert created("beside")[1] == 2  # what is committed later is seen
    warehouse.register(spark, "beside", replace=True)
    assert created("beside")[1] == 3

    spark.sql("CREATE VIEW beside.my_own AS SELECT 1 AS x")
    warehouse.unregister(spark, "beside")
    assert [r.tableName for r in spark.sql("SHOW TABLES IN beside").collect() if r.namespace] == ["my_own"]
    with pytest.raises(NotFoundError, match="`beside`"):
        warehouse.unregister(spark, "beside")
    with pytest.raises(ConflictError, match=r"other things, such as `my_own`"):
        warehouse.register(spark, "beside", replace=True)
    spark.sql("DROP DATABASE beside CASCADE")
    with pytest.raises(NotFoundError, match="`beside`"):
        warehouse.unregister(spark, "beside")
    assert spark.conf.get("spark.sql.session.timeZone") == zone
    other.close()


@pytest.mark.parametrize("name", ["", "two words", "a.b", "x`; DROP DATABASE default", "1st"])
def test_a_name_that_is_none_is_refused(spark, warehouse, name):
    with pytest.raises(InvalidInputError, match="letters, digits and underscores"):
        warehouse.register(spark, name)


# What a question costs.

KEYED = {
    "runs": "run_events",
    "params": "param_events",
    "tags": "tag_events",
    "metric_curves": "metrics",
    "metric_summaries": "metrics",
    "run_metrics_history": "metrics",
    "artifacts": "artifact_events",
    "inputs": "input_events",
}
"""Views with a row of a run, and the tables whose rows these are made of."""


def scans(frame, table: str) -> list[str]:
    """The scans of a table in a frame's plan, as Spark prints them."""
    text = frame._jdf.queryExecution().executedPlan().toString()
    return [
        line for line in text.splitlines() if "FileScan" in line and line.split("ReadSchema")[0].find(f"/{table}]") > 0
    ]


@pytest.fixture
def whole_plans(spark):
    before = spark.conf.get("spark.sql.maxMetadataStringLength")
    spark.conf.set("spark.sql.maxMetadataStringLength", "100000")
    yield
    spark.conf.set("spark.sql.maxMetadataStringLength", before)


@pytest.mark.parametrize("view", KEYED)
def test_a_run_asked_for_is_all_that_is_read_of_a_table(spark, warehouse, shown, whole_plans, view):
    run_id = warehouse.sql("SELECT run_id FROM runs WHERE run_name = 'run-1'")["run_id"][0]
    frame = spark.sql(f"SELECT * FROM {shown}.{view} WHERE run_id = '{run_id}'")
    found = scans(frame, KEYED[view])
    assert found
    assert [line for line in found if f"EqualTo(run_id,{run_id})" not in line] == []
    # And by the statistics of the files, only that run's file is opened.
    of_table = [f for f in frame.inputFiles() if f"/{KEYED[view]}/" in f]
    assert len(of_table) == (1 if spark.table(f"{shown}.{KEYED[view]}").inputFiles() else 0)


def test_only_the_columns_that_are_asked_for_are_read(spark, shown, whole_plans):
    (scan,) = scans(spark.sql(f"SELECT max(value) FROM {shown}.metrics WHERE key = 'loss'"), "metrics")
    assert "ReadSchema: struct<key:string,value:double>" in scan
    assert "EqualTo(key,loss)" in scan
    for line in scans(spark.sql(f"SELECT run_id, last FROM {shown}.metric_summaries"), "metrics"):
        assert "writer_id" not in line
        assert "recorded_at" not in line


def test_values_outside_of_a_files_range_are_not_looked_for(spark, shown):
    everything = spark.table(f"{shown}.metrics").inputFiles()
    assert len(everything) == 3
    assert spark.sql(f"SELECT * FROM {shown}.metrics WHERE step > 9").inputFiles() == []
    assert spark.sql(f"SELECT * FROM {shown}.metrics WHERE value > 0.6 AND key = 'loss'").inputFiles() != []
    assert spark.sql(f"SELECT * FROM {shown}.metrics WHERE recorded_at < '2020-01-01'").inputFiles() == []
