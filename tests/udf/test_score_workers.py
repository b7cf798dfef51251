"""Tables whose files Spark's workers read themselves: the same predictions as without Spark, once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_commit, embedded_scan
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded_files import open_file
from mlwarehouse.engines.embedded_scan import Piece, scan, spread
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.errors import InvalidInputError, ModelError, NotFoundError, SignatureError, StorageError
from mlwarehouse.tables import PREDICTIONS
from mlwarehouse.udf import Scoring, score_files
from mlwarehouse.udf.shipping import Calling
from mlwarehouse.udf.streaming import What
from tests.udf.local import NOON, scored

SCORING = Scoring("job-1", "houses", "prices", 3, input_table="houses", input_version=1)


def rows_of(scanned, batch_rows=1000):
    return [
        row
        for piece in scanned.pieces
        for batch in piece.batches(scanned.schema, batch_rows)
        for row in batch.to_pylist()
    ]


def test_a_table_is_read_from_its_files_with_partitions_and_columns_that_came_later(tmp_path):
    folder = tmp_path / "with space"
    first = pa.table({"id": [1, 2], "at": ["x y/z%", None], "day": [dt.date(2026, 1, 1)] * 2})
    write_deltalake(folder, first, partition_by=["at", "day"])
    later = pa.table({"id": [3], "at": ["ü"], "day": [dt.date(2026, 1, 2)], "b": [0.5]})
    write_deltalake(folder, later, mode="append", schema_mode="merge")
    write_deltalake(folder, later, mode="append")
    for version in (0, 1, 2):
        scanned = scan(folder, version=version)
        assert scanned is not None
        expected = DeltaTable(folder, version=version).to_pyarrow_table().select(scanned.schema.names).to_pylist()
        assert sorted(rows_of(scanned), key=repr) == sorted(expected, key=repr)


def test_a_file_is_cut_at_its_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_scan, "PIECE_BYTES", 300)
    pq.write_table(pa.table({"x": range(100)}), tmp_path / "t.parquet", row_group_size=7)
    scanned = scan(tmp_path / "t.parquet")
    assert scanned is not None
    assert len(scanned.pieces) > 3
    assert sorted(row["x"] for row in rows_of(scanned, batch_rows=3)) == list(range(100))


DELETED = {
    '"minReaderVersion":1,"minWriterVersion":2': '"minReaderVersion":3,"minWriterVersion":7,'
    '"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]'
}
MAPPED = {
    '"minReaderVersion":1,"minWriterVersion":2': '"minReaderVersion":2,"minWriterVersion":5',
    '"configuration":{}': '"configuration":{"delta.columnMapping.mode":"name"}',
    r"\"metadata\":{}": r"\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"a\"}",
}


@pytest.mark.parametrize("changes", [DELETED, MAPPED], ids=["deletion vectors", "column mapping"])
def test_what_its_files_do_not_say_is_left_to_spark(tmp_path, changes):
    write_deltalake(tmp_path / "t", pa.table({"a": [1.0]}))
    assert scan(tmp_path / "t", version=0) is not None
    log = tmp_path / "t" / "_delta_log" / ("0" * 20 + ".json")
    text = log.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    log.write_text(text)
    assert DeltaTable(tmp_path / "t").version() == 0
    assert scan(tmp_path / "t", version=0) is None
    with pytest.raises(InvalidInputError, match=r"maps its columns to other names|can't be read: .*deletionVectors"):
        open_file(tmp_path / "t")


def test_other_files_and_damaged_ones_are_left_to_spark(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "t.parquet").write_text("no parquet")
    assert scan(tmp_path / "t.csv") is None
    assert scan(tmp_path / "t.parquet") is None


@given(st.lists(st.integers(0, 1 << 28), min_size=1, max_size=60), st.integers(1, 50))
def test_tasks_hold_each_piece_once_and_are_of_about_one_size(sizes, n_tasks):
    pieces = [Piece(str(i), size=size) for i, size in enumerate(sizes)]
    tasks = spread(pieces, n_tasks)
    assert sorted(p.path for task in tasks for p in task) == sorted(p.path for p in pieces)
    assert 1 <= len(tasks) <= n_tasks
    loads = [sum(p.size for p in task) for task in tasks]
    # Largest first: the most loaded task had the least before its last and smallest piece.
    assert max(loads) - min(loads) <= max(sizes)


@pytest.fixture
def houses(tmp_path) -> Path:
    """Two partitions in three files, with a gap and keys that aren't text."""
    folder = tmp_path / "houses"
    for at in range(3):
        rows = pa.table(
            {
                "id": pa.array(range(at * 100, at * 100 + 100)),
                "a": [float(i) for i in range(100)],
                "b": pa.array([None if i == 7 else 0.5 * i for i in range(100)], pa.float32()),
                "town": ["x" if at else "y"] * 100,
            }
        )
        write_deltalake(folder, rows, mode="append", partition_by=["town"])
    return folder


@pytest.mark.spark
def test_workers_predict_what_this_machine_predicts_and_it_is_committed_once(spark, houses, linear, tmp_path):
    engine = SparkEngine(spark, tmp_path / "tables")
    engine.create_tables([PREDICTIONS])
    scanned = scan(houses, version=2)
    assert scanned is not None
    made = score_files(spark, linear, scanned, SCORING, What("id"), Calling(), now=NOON)
    for applied in (True, False):
        outcome, counts = engine.append_made([PREDICTIONS], made, txns=[Txn(SCORING.source_id, 1)])
        assert (outcome.applied, outcome.n_rows) == (applied, 300 if applied else 0)
        assert counts == ({"n_scored": 300, "n_lacking": 3, "n_failed": 0} if applied else {})
    found = engine.query("SELECT * FROM predictions")
    assert len(set(found.column("writer_seq").to_pylist())) == 300
    local = scored(DeltaTable(houses, version=2).to_pyarrow_table(), linear, scoring=SCORING)
    same = [n for n in PREDICTIONS.arrow_schema().names if n not in ("writer_seq", "latency_us")]
    order = [("row_key", "ascending")]
    assert found.select(same).sort_by(order).to_pylist() == local.select(same).sort_by(order).to_pylist()
    files = (tmp_path / "tables" / "predictions").glob("*.parquet")
    assert sum(pq.read_metadata(p).num_rows for p in files) == 300


@pytest.mark.spark
def test_what_can_not_be_scored_says_why_and_leaves_no_file(spark, houses, linear, picky, tmp_path):
    engine = SparkEngine(spark, tmp_path / "tables")
    engine.create_tables([PREDICTIONS])
    scanned = scan(houses, version=2)
    assert scanned is not None
    with pytest.raises(SignatureError, match="needs a column `x`"):
        score_files(spark, picky, scanned, SCORING, What("id"), Calling(), now=NOON)
    with pytest.raises(InvalidInputError, match="no column `ids`"):
        score_files(spark, linear, scanned, SCORING, What("ids"), Calling(), now=NOON)
    pq.write_table(pa.table({"id": [1, 2], "x": [1, -1]}), tmp_path / "bad.parquet")
    bad = scan(tmp_path / "bad.parquet")
    assert bad is not None
    made = score_files(spark, picky, bad, SCORING, What("id"), Calling(), now=NOON)
    with pytest.raises(ModelError, match=r"^Row 2 of 2 .*`x` = -1"):
        engine.append_made([PREDICTIONS], made)
    pq.write_table(pa.table({"id": [1, None], "x": [1, 1]}), tmp_path / "bad.parquet")
    with pytest.raises(InvalidInputError, match="`id` is to name the rows, and 1 rows have none"):
        engine.append_made([PREDICTIONS], made)
    (tmp_path / "bad.parquet").unlink()
    with pytest.raises(InvalidInputError, match=r"worker can't read `.*bad\.parquet`: .*Driver and workers must share"):
        engine.append_made([PREDICTIONS], made)
    assert not list((tmp_path / "tables" / "predictions").glob("*.parquet"))


@pytest.mark.spark
def test_a_table_is_scored_alike_by_its_files_by_sparks_rows_and_without_spark(
    spark, houses, linear, tmp_path, monkeypatch
):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    model = str(linear.folder)
    how = {"key": "half", "at": 1, "keep": ["town", "a"], "time": "seen"}
    rows = DeltaTable(houses, version=1).to_pyarrow_table()
    seen = pa.array([dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=i) for i in range(200)])
    half = pc.divide(rows["id"].cast("double"), 2.0)
    write_deltalake(houses, rows.append_column("half", half).append_column("seen", seen), mode="overwrite",
                    schema_mode="overwrite")  # fmt: skip
    how["at"] = 3
    first = warehouse.score(houses, model, dataset="by files", engine=spark, **how)
    assert (first.n_rows, first.n_scored, first.n_lacking, first.n_failed) == (200, 200, 2, 0)
    again = warehouse.score(houses, model, dataset="by files", engine=spark, **how)
    assert (again.n_rows, again.n_scored) == (0, 0)
    warehouse.score(houses, model, dataset="embedded", **how)
    monkeypatch.setattr(embedded_scan, "scan", lambda *_, **__: None)
    assert warehouse.score(houses, model, dataset="by rows", engine=spark, **how).n_scored == 200
    predictions = "SELECT row_key, value, input_version, event_at FROM predictions WHERE dataset = ? ORDER BY row_key"
    inputs = (
        "SELECT row_key, feature, value, text, event_at FROM prediction_inputs WHERE dataset = ? "
        "ORDER BY row_key, feature"
    )
    for question, n in ((predictions, 200), (inputs, 400)):
        found = [
            warehouse.sql(question, parameters=[by], output_format="arrow").to_pylist()
            for by in ("by files", "by rows", "embedded")
        ]
        assert len(found[0]) == n
        assert found[0] == found[1] == found[2]
    with pytest.raises(InvalidInputError, match=r"no column `sen` to take the rows' times from.*Did you mean `seen`"):
        warehouse.score(houses, model, dataset="d", engine=spark, **how | {"time": "sen"})
    with pytest.raises(NotFoundError, match="no such file or folder"):
        warehouse.score(tmp_path / "nowhere.parquet", model, key="id", dataset="d", engine=spark)
    with pytest.raises(InvalidInputError, match="has versions 0 to 3"):
        warehouse.score(houses, model, key="id", dataset="d", engine=spark, at=9)
    warehouse.close()


@pytest.mark.spark
def test_rows_that_a_model_fails_on_are_counted_and_no_other_is_lost(spark, picky, tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    frame = spark.createDataFrame(
        [(i, None if i == 3 else -1 if i % 10 == 0 else i) for i in range(40)], "id int, x long"
    )
    done = warehouse.score(frame, str(picky.folder), key="id", dataset="d", on_error="null", keep=True)
    assert (done.n_rows, done.n_scored, done.n_lacking, done.n_failed) == (40, 40, 1, 4)
    question = "SELECT row_key FROM predictions WHERE value IS NULL ORDER BY CAST(row_key AS INT)"
    assert warehouse.sql(question)["row_key"].tolist() == ["0", "3", "10", "20", "30"]
    assert warehouse.sql("SELECT count(*) AS n, count(value) AS v FROM prediction_inputs").values.tolist() == [[40, 39]]
    with pytest.raises(ModelError, match=r"Row \d+ of \d+ .*`x` = -1"):
        warehouse.score(frame, str(picky.folder), key="id", dataset="e")
    assert warehouse.sql("SELECT count(*) AS n FROM predictions")["n"][0] == 40
    odd = frame.selectExpr("id", "x", "INTERVAL '1' MONTH AS odd")
    with pytest.raises(InvalidInputError, match=r"Column `odd` is interval month.* Cast it or leave it out"):
        warehouse.score(odd, str(picky.folder), key="id", dataset="e")
    warehouse.close()


@pytest.mark.spark
def test_what_died_between_its_two_tables_is_done_once(spark, linear, houses, tmp_path, monkeypatch):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    real = embedded_commit.commit

    def dies(place, spec, *args, **options):
        if spec is PREDICTIONS:
            raise StorageError("the disk is gone")
        return real(place, spec, *args, **options)

    how = {"key": "id", "dataset": "d", "engine": spark, "keep": ["town"]}
    with monkeypatch.context() as patched:
        patched.setattr(embedded_commit, "commit", dies)
        with pytest.raises(StorageError):
            warehouse.score(houses, str(linear.folder), **how)
    assert warehouse.score(houses, str(linear.folder), **how).n_rows == 300
    for table in ("predictions", "prediction_inputs"):
        assert warehouse.sql(f"SELECT count(*) AS n, count(DISTINCT row_key) AS k FROM {table}").values.tolist() == [
            [300, 300]
        ]
    warehouse.close()
