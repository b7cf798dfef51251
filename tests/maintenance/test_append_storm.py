"""Many processes append to one table at once: every append gets in, once.

``MLWAREHOUSE_SOAK=1`` has each append fifty times.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlwarehouse.engines import embedded_follow
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import PARAM_EVENTS

PROCESSES = 8
APPENDS = 50 if os.environ.get("MLWAREHOUSE_SOAK") else 10

PROGRAM = """
import sys
from pathlib import Path
import pyarrow as pa
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.tables import PARAM_EVENTS as T
engine = EmbeddedEngine(Path(sys.argv[1]))
row = {"run_id": "r", "key": "k", "value": "v", "attempt": 0, "event_at": 0, "recorded_at": 0, "writer_id": sys.argv[2]}
schema = T.arrow_schema()
for number in range(int(sys.argv[3])):
    values = {**row, "writer_seq": number}
    rows = pa.table({f.name: pa.array([values.get(f.name)]).cast(f.type) for f in schema}, schema=schema)
    assert engine.append(T, rows).applied
"""


def test_of_many_processes_every_append_gets_in_once(tmp_path):
    engine = EmbeddedEngine(tmp_path)
    engine.create_tables([PARAM_EVENTS])
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), f"w{n}", str(APPENDS)], stderr=subprocess.PIPE, text=True
        )
        for n in range(PROCESSES)
    ]
    said = [job.communicate(timeout=300)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * PROCESSES, said
    (row,) = engine.query(
        "SELECT count(*) AS n, count(DISTINCT (writer_id, writer_seq)) AS d FROM param_events"
    ).to_pylist()
    assert row == {"n": PROCESSES * APPENDS, "d": PROCESSES * APPENDS}
    # No file was left over by a try that failed.
    assert len(list(Path(tmp_path / "param_events").glob("*.parquet"))) == PROCESSES * APPENDS


def test_a_commit_that_always_conflicts_ends_with_an_error(tmp_path, monkeypatch):
    import pyarrow as pa

    engine = EmbeddedEngine(tmp_path)
    engine.create_tables([PARAM_EVENTS])
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise FileExistsError("somebody else was first")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(embedded_follow, "MAX_TRIES", 4)
    rows = pa.Table.from_pylist(
        [
            {"run_id": "r", "key": "k", "value": "v", "attempt": 0, "writer_id": "w", "writer_seq": 1}
            | {"event_at": pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()}
            | {"recorded_at": pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()}
        ],
        schema=PARAM_EVENTS.arrow_schema(),
    )
    with pytest.raises(StorageError, match="written by others 4 times"):
        engine.append(PARAM_EVENTS, rows)
    assert len(tries) == 4
