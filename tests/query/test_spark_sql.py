"""`sql()` and `search_runs()` answered by Spark."""

from __future__ import annotations

import pytest

from mlwarehouse import Cancel, Warehouse
from mlwarehouse.engines.parse import parse_select
from mlwarehouse.engines.render_for_spark import for_spark
from mlwarehouse.errors import QueryCancelledError, SqlError

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    made = Warehouse(tmp_path_factory.mktemp("spark-sql") / "wh", committer="off", capture_code=False)
    for number in range(2):
        with made.start_run(experiment="e", run_name=f"run {{{number}}} ${{x}}") as run:
            run.log_param("lr", 0.1 * (number + 1))
            for step in range(4):
                run.log_metric("loss", (number + 1) / (step + 1), step)
        if number == 0:
            made.flush()
    yield made
    made.close()


def test_spark_answers_as_the_embedded_engine_does_and_sees_the_spool(spark, warehouse):
    question = (
        "SELECT run_name, min(value) AS best, log(100) AS two, date_diff('day', TIMESTAMP '2026-03-01 10:00:00', "
        "TIMESTAMP '2026-03-05 00:00:00') AS days, $t AS t FROM metrics JOIN runs USING (run_id) "
        "GROUP BY run_name ORDER BY run_name"
    )
    parameters = {"t": "it's {0} ${x}"}
    here = warehouse.sql(question, parameters=parameters, output_format="arrow").to_pylist()
    there = warehouse.sql(question, parameters=parameters, output_format="arrow", engine=spark).to_pylist()
    assert [r["run_name"] for r in here] == ["run {0} ${x}", "run {1} ${x}"]  # the second is in the spool
    assert there == here
    assert there[0]["days"] == 4


def test_a_frame_of_spark_is_computed_later_and_leaves_no_view(spark, warehouse):
    before = {t.name for t in spark.catalog.listTables()}
    frame = warehouse.sql("SELECT run_id, value / ? AS v FROM metrics", parameters=[2.0], output_format="spark")
    assert {t.name for t in spark.catalog.listTables()} == before
    assert frame.where("v > 0.4").count() == 3
    # Spark's own dialect goes to Spark as it is.
    words = warehouse.sql(
        "SELECT percentile(value, 0.5) AS mid, date_format(max(event_at), 'yyyy') AS y FROM metrics WHERE key = :k",
        parameters={"k": "loss"},
        dialect="spark",
        output_format="spark",
    ).first()
    assert (words.mid, len(words.y)) == (0.5833333333333333, 4)
    found = warehouse.search_runs(order_by=["params.lr DESC"], output_format="spark")
    assert found.select("`params.lr`").first()[0] == "0.2"
    assert found.columns == list(warehouse.search_runs().columns)


def test_a_question_to_spark_can_be_ended(spark, warehouse):
    # Eight rows, nine times. Not more: a task that joins in one loop of its own hears nothing and runs to its end.
    joined = " CROSS JOIN ".join(f"metrics AS m{i}" for i in range(9))
    long = f"SELECT count(*) AS n FROM {joined} WHERE m0.step + m8.step < m7.step"
    with pytest.raises(QueryCancelledError, match=r"longer than 0.2 s"):
        warehouse.sql(long, engine=spark, timeout_s=0.2)
    assert warehouse.sql("SELECT count(*) AS n FROM metrics", engine=spark, cancel=Cancel())["n"][0] == 8


def test_errors_of_spark_point_into_the_question(spark, warehouse):
    with pytest.raises(SqlError, match=r"`run_idd`.* It stands at line 2, column 2"):
        warehouse.sql("SELECT 1 AS one,\n run_idd FROM runs", engine=spark)


@pytest.mark.parametrize(
    "question",
    [
        "SELECT * FROM runs ASOF JOIN metrics ON started_at >= event_at",
        "SELECT * FROM runs POSITIONAL JOIN params",
        "SELECT list(run_id ORDER BY run_id) FROM runs",
        "SELECT dayofweek(started_at) FROM runs",
        "SELECT isodow(started_at) FROM runs",
        "SELECT extract(dow FROM started_at) FROM runs",
        "SELECT format('{}', run_id) FROM runs",
        "SELECT quantile(value, 0.5) FROM metrics",
        "SELECT epoch(started_at) FROM runs",
        "SELECT [1, 2, 3][1:2]",
        "SELECT [1, 2, 3][-1]",
        "SELECT run_id FROM metrics QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step) = 1 LIMIT 1",
        "SELECT run_id FROM runs LIMIT 10%",
    ],
)
def test_what_spark_would_take_for_something_else_is_refused(question):
    with pytest.raises(SqlError, match=r"Spark"):
        for_spark(parse_select(question))
