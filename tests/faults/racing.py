"""Writers, maintenance and readers of one table at once, each a process, wherever the table is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines.base import Reading, Txn
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_maintain import maintain, maintain_a_little
from mlwarehouse.engines.pins import pinned_files
from mlwarehouse.parts.maintainer import maintainer_lock
from mlwarehouse.storage import Storage, open_storage
from mlwarehouse.tables import METRICS
from tests.faults.conftest import SOAK

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

IsOver = Callable[[], bool]
"""Says whether a job may end."""

SECONDS = 60 * float(os.environ.get("MLWAREHOUSE_SOAK_MINUTES", "10")) if SOAK else 8.0

RETENTION_S = 120.0 if SOAK else 4.0
"""How long files that left the table stay: longer than any reader here holds a version without a snapshot."""

READERS = {"read_as_duckdb": 7, "read_as_stranger": 6, "read_old_snapshot": 6}
"""How many of each kind, where there is time for so many; else one."""

BATCH = 20
"""Rows of an append: a table's count is a multiple of it at every moment."""

PROGRAM = "import sys; from tests.faults import racing; racing.run(*sys.argv[1:])"

COUNTS = "SELECT count(*) AS n, count(DISTINCT (writer_id, writer_seq)) AS d FROM metrics"


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


def run(job: str, uri: str, meeting: str, *arguments: str) -> None:
    """Be a process of a job, from the moment at which all are ready until all may end."""
    (Path(meeting) / f"ready-{os.getpid()}").touch()
    while not (Path(meeting) / "go").exists():
        time.sleep(0.01)
    print(globals()[job](open_storage(uri), *arguments, (Path(meeting) / "over").exists), flush=True)
    # Without the interpreter's end, which threads of pyarrow that read by delta-rs from an object store don't survive.
    os._exit(0)


def write(root: Storage, writer: str, pause_s: str, is_over: IsOver) -> int:
    """A writing process."""
    engine = EmbeddedEngine(root.child("tables"))
    n = 0
    while not is_over():
        assert engine.append(METRICS, batch(writer, n), txns=[Txn(writer, n + 1)]).applied
        n += 1
        time.sleep(float(pause_s))
    return n


def keep(root: Storage, noted: str, is_over: IsOver) -> int:
    """A maintaining process: both ways, and garbage collection with the shortest retention that readers bear."""
    tables = EmbeddedEngine(root.child("tables")).tables
    n = n_removed = 0
    with maintainer_lock(root) as turn:
        while not is_over():
            n += maintain_a_little(tables, METRICS)
            done = maintain(
                tables,
                METRICS,
                retention_hours=RETENTION_S / 3600,
                pinned=pinned_files(root, METRICS.name),
                now=turn.now,
            )
            n += done.n_written
            n_removed += done.n_vacuumed
            # A busy machine takes its time.
            if n > 2 and n_removed:
                Path(noted).touch()
            time.sleep(0.1)
    return n


def read_as_duckdb(root: Storage, is_over: IsOver) -> int:
    """A reader that pins the newest version, and asks it again within the retention."""
    engine = EmbeddedEngine(root.child("tables"))
    n = 0
    while not is_over():
        end = time.time() + RETENTION_S * 0.5
        reading = Reading(versions={METRICS.name: engine.version(METRICS)})
        counts = set()
        while len(counts) < 1 or time.time() < end:
            (row,) = engine.query(COUNTS, reading=reading).to_pylist()
            assert row["n"] == row["d"], row
            counts.add(row["n"])
            time.sleep(0.1)
        (count,) = counts
        assert count % BATCH == 0
        n += 1
    return n


def read_as_stranger(root: Storage, is_over: IsOver) -> int:
    """A plain Delta reader, at the newest version and a little back in time."""
    n = 0
    while not is_over():
        table = plain(root)
        version = table.version()
        newest = table.to_pyarrow_table(columns=["writer_seq"]).num_rows
        before = plain(root, max(0, version - 2)).to_pyarrow_table(columns=["writer_seq"]).num_rows
        assert newest % BATCH == 0
        assert before % BATCH == 0
        assert before <= newest
        n += 1
    return n


def read_old_snapshot(root: Storage, is_over: IsOver) -> int:
    """A reader that keeps a pyarrow dataset of an old version as long as the retention allows."""
    n = 0
    while not is_over():
        end = time.time() + RETENTION_S * 0.5
        dataset = plain(root).to_pyarrow_dataset()
        counts = {dataset.count_rows()}
        while time.time() < end:
            counts.add(dataset.count_rows())
            time.sleep(0.2)
        assert len(counts) == 1
        n += 1
    return n


def plain(root: Storage, version: int | None = None) -> DeltaTable:
    """The table as anybody opens it."""
    place = root.child("tables").child(METRICS.name)
    options = place.delta_options
    return DeltaTable(place.uri, version=version, storage_options=None if options is None else dict(options))


def read_as_spark(root: Storage, spark: SparkSession, is_over: IsOver) -> int:
    """Spark, within the test's process."""
    place = root.child("tables").child(METRICS.name).uri
    n = 0
    while not is_over():
        table = spark.read.format("delta").load(place)
        (row,) = table.selectExpr("count(*) AS n", "count(DISTINCT writer_id, writer_seq) AS d").collect()
        assert row.n == row.d
        assert row.n % BATCH == 0
        n += 1
    return n


def race(
    warehouse: Warehouse,
    meeting: Path,
    readers: Sequence[str],
    *,
    pause_s: float = 0.2 if SOAK else 0.01,
    spark: SparkSession | None = None,
) -> None:
    """Run them all, and look at what is there afterwards.

    Args:
        warehouse: An empty one.
        meeting: A folder in which processes meet.
        readers: The readers' jobs.
        pause_s: Seconds between two appends of a writer.
        spark: A session that reads, too.
    """
    warehouse.create()
    engine = warehouse.engine()
    for number in range(3):
        engine.append(METRICS, batch("before", number))
    pin = warehouse.snapshot(keep=True, name="start")
    has_kept = meeting / "has-kept"
    jobs = [
        ("write", "a", str(pause_s)),
        ("write", "b", str(pause_s)),
        ("keep", str(has_kept)),
        *((reader,) for reader in readers),
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, job, warehouse.uri, str(meeting), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for job, *arguments in jobs
    ]
    deadline = time.monotonic() + 120
    while len(list(meeting.glob("ready-*"))) < len(jobs) and time.monotonic() < deadline:
        time.sleep(0.05)
    (meeting / "go").touch()
    ends = time.monotonic() + SECONDS

    def is_over() -> bool:
        time.sleep(0.05)
        has_ended = any(process.poll() is not None for process in processes)
        return has_ended or (time.monotonic() > ends and has_kept.exists()) or time.monotonic() > ends + 120

    n_spark = read_as_spark(warehouse.storage, spark, is_over) if spark is not None else 0
    while not is_over():
        pass
    (meeting / "over").touch()
    outcomes = [p.communicate(timeout=120) for p in processes]
    for (name, *_), process, (_, said) in zip(jobs, processes, outcomes, strict=True):
        assert process.returncode == 0, f"{name}: {said}"
    n_a, n_b, n_merges, *n_reads = (int(out) for out, _ in outcomes)
    print(f"{n_a + n_b} appends, {n_merges} merges, reads {n_reads}, {n_spark} by Spark")
    assert n_merges > 2
    assert all(n_reads)
    assert n_spark or spark is None
    after = EmbeddedEngine(warehouse.storage.child("tables"))
    (row,) = after.query(COUNTS).to_pylist()
    assert row["n"] == row["d"] == (3 + n_a + n_b) * BATCH
    (total,) = after.query("SELECT sum(value) AS s FROM metrics").to_pylist()
    assert total["s"] == BATCH * (3 + n_a * (n_a - 1) / 2 + n_b * (n_b - 1) / 2)
    # The kept snapshot is older than every retention, and its files are all there.
    assert warehouse.sql("SELECT count(*) AS n FROM metrics", at=pin)["n"].tolist() == [3 * BATCH]
    damages = warehouse.doctor(deep=True).damages
    assert damages == (), damages
