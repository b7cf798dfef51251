"""Writers, compaction, garbage collection and readers of every kind at once: no file is missed, no count is wrong.

``MLWAREHOUSE_SOAK=1`` makes it last minutes rather than seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines.base import Reading, Txn
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_maintain import maintain, maintain_a_little
from mlwarehouse.engines.pins import pinned_files
from mlwarehouse.tables import METRICS

SECONDS = 240.0 if os.environ.get("MLWAREHOUSE_SOAK") else 8.0

BATCH = 20
"""Rows of an append: a table's count is a multiple of it at every moment."""

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from tests.faults import test_maintenance_race as t; "


def batch(writer: str, number: int) -> pa.Table:
    moment = 1_800_000_000_000_000 + number
    rows = {
        "run_id": [f"run-{writer}"] * BATCH,
        "key": ["x"] * BATCH,
        "step": list(range(number * BATCH, (number + 1) * BATCH)),
        "value": [float(number)] * BATCH,
        "context": [None] * BATCH,
        "attempt": [0] * BATCH,
        "event_at": [moment] * BATCH,
        "recorded_at": [moment] * BATCH,
        "writer_id": [writer] * BATCH,
        "writer_seq": list(range(number * BATCH, (number + 1) * BATCH)),
    }
    schema = METRICS.arrow_schema()
    return pa.table({f.name: pa.array(rows[f.name]).cast(f.type) for f in schema}, schema=schema)


def run(job: str, root: str, *arguments: str) -> None:
    """Be a process of a job, from the moment at which all are ready."""
    place = Path(root).parent
    (place / f"ready-{os.getpid()}").touch()
    while not (place / "go").exists():
        time.sleep(0.01)
    print(globals()[job](root, *arguments, time.time() + SECONDS))


def write(root: str, writer: str, until: float) -> int:
    """A writing process."""
    engine = EmbeddedEngine(Path(root) / "tables")
    n = 0
    while time.time() < until:
        assert engine.append(METRICS, batch(writer, n), txns=[Txn(writer, n + 1)]).applied
        n += 1
        time.sleep(0.01)
    return n


def keep(root: str, until: float) -> int:
    """A maintaining process: both ways, and garbage collection with the shortest retention that readers bear."""
    tables = EmbeddedEngine(Path(root) / "tables").tables
    n = 0
    while time.time() < until:
        n += maintain_a_little(tables, METRICS)
        done = maintain(
            tables,
            METRICS,
            # As short as a second: readers here hold a version for less, and a pin holds one for ever.
            retention_hours=RETENTION_S / 3600,
            pinned=pinned_files(Path(root), METRICS.name),
        )
        n += done.n_written
        time.sleep(0.1)
    return n


RETENTION_S = 4.0


def read_as_duckdb(root: str, until: float) -> int:
    """A reader that pins the newest version, and asks it again within the retention."""
    engine = EmbeddedEngine(Path(root) / "tables")
    n = 0
    while time.time() < until:
        version = engine.version(METRICS)
        reading = Reading(versions={METRICS.name: version})
        counts = set()
        for _ in range(3):
            (row,) = engine.query(
                "SELECT count(*) AS n, count(DISTINCT (writer_id, writer_seq)) AS d FROM metrics", reading=reading
            ).to_pylist()
            assert row["n"] == row["d"], row
            counts.add(row["n"])
            time.sleep(0.1)
        (count,) = counts
        assert count % BATCH == 0
        n += 1
    return n


def read_as_stranger(root: str, until: float) -> int:
    """A plain Delta reader, at the newest version and a little back in time."""
    path = Path(root) / "tables" / METRICS.name
    n = 0
    while time.time() < until:
        table = DeltaTable(path)
        version = table.version()
        newest = table.to_pyarrow_table(columns=["writer_seq"]).num_rows
        before = DeltaTable(path, version=max(0, version - 2)).to_pyarrow_table(columns=["writer_seq"]).num_rows
        assert newest % BATCH == 0
        assert before % BATCH == 0
        assert before <= newest
        n += 1
    return n


def read_old_snapshot(root: str, until: float) -> int:
    """A reader that keeps a pyarrow dataset of an old version as long as the retention allows."""
    path = Path(root) / "tables" / METRICS.name
    n = 0
    while time.time() < until:
        table = DeltaTable(path)
        dataset = table.to_pyarrow_dataset()
        counts = set()
        end = time.time() + RETENTION_S * 0.5
        while time.time() < end:
            counts.add(dataset.count_rows())
            time.sleep(0.2)
        assert len(counts) == 1
        n += 1
    return n


def test_nothing_is_missed_and_every_count_is_right(tmp_path):
    root = tmp_path / "wh"
    warehouse = Warehouse(root, committer="off")
    warehouse.create()
    engine = warehouse.engine()
    for number in range(3):
        engine.append(METRICS, batch("before", number))
    pin = warehouse.snapshot(keep=True, name="start")
    jobs = [("write", "a"), ("write", "b"), ("keep",), ("read_as_duckdb",), ("read_as_stranger",)]
    jobs.append(("read_old_snapshot",))
    repository = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{PROGRAM}t.run(sys.argv[2], sys.argv[3], *sys.argv[4:])",
                repository,
                job,
                str(root),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for job, *arguments in jobs
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready-*"))) < len(jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "go").touch()
    outcomes = [p.communicate(timeout=SECONDS + 120) for p in processes]
    for (name, *_), process, (_, said) in zip(jobs, processes, outcomes, strict=True):
        assert process.returncode == 0, f"{name}: {said}"
    n_a, n_b, n_merges, *n_reads = (int(out) for out, _ in outcomes)
    assert n_a > 5
    assert n_b > 5
    assert n_merges > 2
    assert all(n_reads)
    after = EmbeddedEngine(root / "tables")
    (row,) = after.query(
        "SELECT count(*) AS n, count(DISTINCT (writer_id, writer_seq)) AS d, sum(value) AS s FROM metrics"
    ).to_pylist()
    assert row["n"] == row["d"] == (3 + n_a + n_b) * BATCH
    assert row["s"] == BATCH * (3 + n_a * (n_a - 1) / 2 + n_b * (n_b - 1) / 2)
    # The pinned version is older than every retention, and its files are all there.
    old = after.query("SELECT count(*) AS n FROM metrics", reading=Reading(versions=pin.versions))
    assert old.column("n").to_pylist() == [3 * BATCH]
    assert warehouse.doctor(deep=True).damages == ()


def test_only_one_maintains_at_a_time(tmp_path):
    from mlwarehouse.errors import ConflictError
    from mlwarehouse.parts.maintainer import maintainer_lock

    root = tmp_path / "wh"
    warehouse = Warehouse(root, committer="off")
    warehouse.create()
    with (
        maintainer_lock(root),
        pytest.raises(ConflictError, match="Another process maintains"),
        maintainer_lock(root, wait_s=0.2),
    ):
        pass
