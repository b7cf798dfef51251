"""`score` on this machine: every kind of rows, once, in bounded memory, whatever dies."""

from __future__ import annotations

import signal
import subprocess
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from mlwarehouse.errors import InvalidInputError, NotFoundError, SqlError
from tests.scoring.conftest import N_ROWS

MODEL = "models:/line/1"


def values(warehouse, dataset):
    """The predictions by key."""
    found = warehouse.sql(f"SELECT row_key, value FROM predictions WHERE dataset = '{dataset}'")
    assert found.row_key.is_unique
    return dict(zip(found.row_key, found.value, strict=True))


def kinds(rows, folder):
    """The rows as whatever can be scored."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(table, folder / "rows.parquet", row_group_size=700)
    pyarrow.csv.write_csv(table, folder / "rows.csv")
    write_deltalake(folder / "delta", table)
    return {
        "pandas": rows,
        "polars": pl.from_pandas(rows),
        "arrow": table,
        "stream": table.to_reader(max_chunksize=11),
        "duckdb": duckdb.from_arrow(table),
        "parquet": folder / "rows.parquet",
        "csv": str(folder / "rows.csv"),
        "delta": folder / "delta",
    }


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "stream", "duckdb", "parquet", "csv", "delta"])
def test_rows_of_every_kind_are_scored_the_same(warehouse, rows, tmp_path, kind):
    data = kinds(rows, tmp_path)[kind]
    scored = warehouse.score(data, MODEL, key="id", dataset=f"kind-{kind}", batch_rows=512)
    assert (scored.n_rows, scored.n_scored, scored.n_lacking, scored.n_failed) == (N_ROWS, N_ROWS, 0, 0)
    assert values(warehouse, f"kind-{kind}") == {f"r{i}": 3.0 * i for i in range(N_ROWS)}


def test_what_the_warehouse_holds_is_scored_by_name_and_by_question(warehouse):
    with warehouse.start_run(experiment="points") as run:
        for step in range(50):
            run.log_metric("loss", step / 2, step=step)
    warehouse.flush()
    before = warehouse.snapshot()
    question = "SELECT step AS id, value AS a, CAST(step AS DOUBLE) AS b FROM metrics WHERE key = 'loss'"
    first = warehouse.score(question, MODEL, key="id", dataset="asked", at=before)
    assert first.n_rows == 50
    assert values(warehouse, "asked") == {str(i): 2.0 * i for i in range(50)}
    assert warehouse.score(question, MODEL, key="id", dataset="asked", at=str(before)).n_rows == 0
    unsigned = warehouse.sql("SELECT input_table, input_version FROM predictions WHERE dataset = 'asked' LIMIT 1")
    assert unsigned.input_table[0] == question
    with pytest.raises(SqlError, match="metricz"):
        warehouse.score("SELECT * FROM metricz", MODEL, key="id", dataset="no")


def test_labels_come_from_every_kind_of_rows_and_are_about_outputs_that_there_are(warehouse, rows, tmp_path):
    frame = rows.head(4).assign(flag=[True, False, None, True], kind=pd.Categorical(["x", "y", "x", None]))
    frame.to_parquet(tmp_path / "truth.parquet")
    assert warehouse.log_labels(tmp_path / "truth.parquet", dataset="told", key="id", label="kind") == 4
    assert (
        warehouse.log_labels(frame.head(2).astype({"flag": bool}), dataset="told", key="id", label="flag", output="o")
        == 2
    )
    known = warehouse.sql(
        "SELECT row_key, value, text FROM latest_labels WHERE dataset = 'told' ORDER BY output, row_key"
    )
    assert known.fillna("").values.tolist() == [
        ["r0", 1.0, ""], ["r1", 0.0, ""], ["r0", "", "x"], ["r1", "", "y"], ["r2", "", "x"],
    ]  # fmt: skip
    warehouse.score(rows.head(2), MODEL, key="id", dataset="told-scored")
    with pytest.raises(InvalidInputError, match=r"say `output` as one of prediction.*Did you mean `prediction`"):
        warehouse.log_labels(rows, dataset="told-scored", key="id", label="a", output="predictions")
    with pytest.raises(InvalidInputError, match=r"no column `aa`.*Did you mean `a`"):
        warehouse.log_labels(rows, dataset="told-scored", key="id", label="aa")
    when = rows.head(1).assign(when=pd.Timestamp("2026-01-01"))
    with pytest.raises(InvalidInputError, match="is timestamp"):
        warehouse.log_labels(when, dataset="told-scored", key="id", label="when")


def test_a_table_of_the_warehouse_is_scored_once_for_each_version(warehouse, rows, tmp_path):
    import torch

    with warehouse.start_run(experiment="scoring") as run:
        logged = warehouse.log_model(
            torch.nn.Linear(1, 1), init_args={"in_features": 1, "out_features": 1},
            input_example=pd.DataFrame({"value": [1.0]}), run=run,
        )  # fmt: skip
    for table in ("predictions", "labels"):
        warehouse.log_labels(rows.head(5), dataset="rescored", key="id", label="a", output=table)
    version = warehouse.versions()["labels"]
    n = int(warehouse.sql("SELECT count(*) AS n FROM labels").n[0])
    for at, expected in ((version - 1, n - 5), (version - 1, 0), (None, n), (version, 0)):
        scored = warehouse.score("labels", logged.model_uri, key="row_key", dataset="labels-again", at=at)
        assert scored.n_rows == expected
    told = warehouse.sql("SELECT DISTINCT input_table, input_version FROM predictions WHERE dataset = 'labels-again'")
    assert sorted(told.input_version) == [version - 1, version]
    assert set(told.input_table) == {"labels"}
    with pytest.raises(InvalidInputError, match=f"versions 0 to {version}"):
        warehouse.score("labels", logged.model_uri, key="row_key", dataset="no", at=version + 1)


def test_a_delta_table_is_scored_once_for_each_version_of_it_and_of_the_model(warehouse, rows, tmp_path):
    table = pa.Table.from_pandas(rows.head(10), preserve_index=False)
    for part in (table.slice(0, 4), table.slice(4)):
        write_deltalake(tmp_path / "delta", part, mode="append")

    def score(model=MODEL, **more):
        return warehouse.score(tmp_path / "delta", model, key="id", dataset="versions", **more).n_rows

    assert (score(at=0), score(at=0), score(), score(at=1)) == (4, 0, 10, 0)
    assert (score("models:/line/2"), score("models:/line/2")) == (10, 0)
    with pytest.raises(InvalidInputError, match="has versions 0 to 1"):
        score(at=2)


def test_a_delta_table_with_partitions_and_columns_that_came_later(warehouse, rows, tmp_path):
    first, second = rows.iloc[:4].drop(columns="b"), rows.iloc[4:10]
    for part in (first.assign(b=[1.0, 1.0, 2.0, None]), second):
        write_deltalake(
            tmp_path / "delta", pa.Table.from_pandas(part, preserve_index=False), partition_by="b", mode="append"
        )
    later = rows.iloc[10:12].assign(note="new")
    write_deltalake(
        tmp_path / "delta", pa.Table.from_pandas(later, preserve_index=False), mode="append", schema_mode="merge"
    )
    scored = warehouse.score(tmp_path / "delta", MODEL, key="id", dataset="parted", keep=["note"])
    assert (scored.n_scored, scored.n_lacking) == (12, 1)
    expected = {f"r{i}": 3.0 * i for i in range(4, 12)} | {"r0": 1.0, "r1": 3.0, "r2": 6.0}
    found = values(warehouse, "parted")
    assert {k: v for k, v in found.items() if k != "r3"} == expected
    notes = warehouse.sql("SELECT count(*) AS n, count(text) AS told FROM prediction_inputs WHERE dataset = 'parted'")
    assert (notes.n[0], notes.told[0]) == (12, 2)


def test_inputs_and_times_are_kept_with_the_predictions(warehouse, rows):
    frame = rows.head(3).assign(day=["2026-01-01", "2026-01-02", "2026-01-03"], city=["Oslo", "Rome", None])
    warehouse.score(frame, MODEL, key="id", dataset="kept", keep=["city", "a", "a"], time="day")
    found = warehouse.sql(
        "SELECT feature, p.row_key, i.value, i.text, CAST(p.event_at AS DATE) AS day FROM prediction_inputs AS i "
        "JOIN predictions AS p USING (dataset, row_key, writer_id, writer_seq) WHERE dataset = 'kept' ORDER BY 1, 2",
        output_format="arrow",
    ).to_pylist()
    assert [(r["feature"], r["row_key"], r["value"] or r["text"], str(r["day"])) for r in found] == [
        ("a", "r0", None, "2026-01-01"), ("a", "r1", 1.0, "2026-01-02"), ("a", "r2", 2.0, "2026-01-03"),
        ("city", "r0", "Oslo", "2026-01-01"), ("city", "r1", "Rome", "2026-01-02"), ("city", "r2", None, "2026-01-03"),
    ]  # fmt: skip
    warehouse.score(rows.head(3), MODEL, key="id", dataset="all-kept", keep=True)
    features = warehouse.sql("SELECT DISTINCT feature FROM prediction_inputs WHERE dataset = 'all-kept' ORDER BY 1")
    assert features.feature.tolist() == ["a", "b"]


def test_progress_goes_to_the_end_and_repeats_tell_that_nothing_was_done(warehouse, rows):
    shares = []
    for expected in (N_ROWS, 0):
        scored = warehouse.score(
            rows, MODEL, key="id", dataset="watched", source_id="w", batch_rows=1000, progress=shares.append
        )
        assert (scored.n_rows, scored.n_scored) == (expected, expected)
    assert shares == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]


def test_what_fails_adds_nothing_and_leaves_no_file(warehouse, rows):
    folder = warehouse.root / "tables" / "predictions"
    before = sorted(p.name for p in folder.glob("*.parquet"))
    twice = pd.concat([rows, rows.assign(id=None)])
    with pytest.raises(InvalidInputError, match="rows have none"):
        warehouse.score(twice, MODEL, key="id", dataset="failing", batch_rows=1000, keep=True)
    assert sorted(p.name for p in folder.glob("*.parquet")) == before
    assert values(warehouse, "failing") == {}


def test_what_can_not_be_meant_says_why(warehouse, rows, tmp_path):
    def score(data=rows, **more):
        return warehouse.score(data, MODEL, key="id", dataset="no", **more)

    (tmp_path / "rows.txt").write_text("?")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for match, error, call in [
        ("Did you mean `labels`", NotFoundError, lambda: score("labls")),
        ("column `a` twice", InvalidInputError, lambda: score("SELECT 'x' AS id, 1.0 AS a, 2.0 AS b, 3.0 AS a")),
        ("or a function", InvalidInputError, lambda: score(progress="yes")),
        ("no such file", NotFoundError, lambda: score(tmp_path / "nothing.parquet")),
        ("it is a .parquet or .csv file", InvalidInputError, lambda: score(tmp_path / "rows.txt")),
        ("can't be read as a Delta table", InvalidInputError, lambda: score(tmp_path)),
        ("has no version 3", InvalidInputError, lambda: score(tmp_path / "rows.csv", at=3)),
        ("a frame has none", InvalidInputError, lambda: score(at=1)),
        ("got list", InvalidInputError, lambda: score([1])),
        ("Did you mean `null`", InvalidInputError, lambda: score(on_error="nul")),
        ("1 or more", InvalidInputError, lambda: score(batch_rows=0)),
        ("1 or more", InvalidInputError, lambda: score(batch_rows="9")),
        (r"Write \['a'\]", InvalidInputError, lambda: score(keep="a")),
        ("no column `c` to keep", InvalidInputError, lambda: score(keep=["c"])),
    ]:
        with pytest.raises(error, match=match):
            call()


KILLED = """
import os, signal, sys
from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded_staging import Staging
from mlwarehouse.udf import streaming

when, uri, table = sys.argv[1:]
streaming.file_sized.__defaults__ = (500,)
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
if when == "while predicting":
    done = []
    add = Staging.add
    def adding(self, rows):
        done.append(add(self, rows))
        if len(done) == 6:
            die()
    Staging.add = adding
else:
    commit = Staging.commit
    def committing(self, txns):
        if self._spec.name == "predictions":
            die()
        return commit(self, txns)
    Staging.commit = committing
Warehouse(uri, committer="off").score(
    table, "models:/line/1", key="id", dataset=when, keep=["a"], batch_rows=100
)
"""


@pytest.mark.parametrize("when", ["while predicting", "between the two tables"])
def test_scoring_that_was_killed_is_done_again_and_nothing_is_doubled(warehouse, rows, tmp_path, when):
    table = tmp_path / "delta"
    write_deltalake(table, pa.Table.from_pandas(rows, preserve_index=False))
    killed = subprocess.run([sys.executable, "-c", KILLED, when, warehouse.uri, table], timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(values(warehouse, when)) == 0
    for expected in (N_ROWS, 0):
        again = warehouse.score(table, MODEL, key="id", dataset=when, keep=["a"])
        assert again.n_rows == expected
    assert len(values(warehouse, when)) == N_ROWS
    kept = warehouse.sql(
        f"SELECT count(*) AS n, count(DISTINCT row_key) AS keys FROM prediction_inputs WHERE dataset = '{when}'"
    )
    assert (kept.n[0], kept["keys"][0]) == (N_ROWS, N_ROWS)


GROWTH = """
import resource, sys
import pyarrow as pa
from mlwarehouse import Warehouse

uri, table = sys.argv[1:]
warehouse = Warehouse(uri, committer="off")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def score(path, dataset):
    return warehouse.score(path, "models:/wide/1", key="id", dataset=dataset).n_rows

score(table + "/small.parquet", "grown-small")
before = peak()
n = score(table + "/large.parquet", "grown-large")
print(n, peak() - before)
"""


def test_memory_does_not_grow_with_the_table(warehouse, tmp_path):
    """480 MB in Arrow, of which a small part is in memory at a time."""
    import numpy as np
    import torch

    names = [f"x{i}" for i in range(100)]
    with warehouse.start_run(experiment="scoring") as run:
        logged = warehouse.log_model(
            torch.nn.Linear(100, 1), init_args={"in_features": 100, "out_features": 1},
            input_example=pd.DataFrame(np.zeros((1, 100)), columns=names), run=run,
        )  # fmt: skip
    warehouse.register_model(logged.model_uri, "wide")
    n = 100_000
    part = pa.table({"id": pa.array(range(n))} | dict.fromkeys(names, pa.array(np.arange(n) % 1000 / 7)))
    with pq.ParquetWriter(tmp_path / "large.parquet", part.schema) as writer:
        for _ in range(6):
            writer.write_table(part, row_group_size=50_000)
    pq.write_table(part, tmp_path / "small.parquet", row_group_size=50_000)
    told = subprocess.run(
        [sys.executable, "-c", GROWTH, warehouse.uri, tmp_path], timeout=600, check=True, capture_output=True, text=True
    ).stdout.split()
    assert int(told[0]) == 6 * n
    assert int(told[1]) < 250, "MB more than for a sixth of the rows"
