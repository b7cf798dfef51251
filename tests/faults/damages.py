"""A warehouse to damage, and every kind of damage, each a function of the warehouse's folder."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded_commit import stage
from mlwarehouse.engines.embedded_log import checkpoints, log_entries, read_entry, replay
from mlwarehouse.ingest.spool_format import SLOT
from mlwarehouse.tables import METRICS, REGISTRY_EVENTS

RUNS = 4
STEPS = 25

FACTS = (
    "SELECT 'metric', run_id, key, step, value FROM metrics",
    "SELECT 'param', run_id, key, value FROM param_events",
    "SELECT 'tag', run_id, key, value FROM tag_events",
    "SELECT 'run', run_id, kind, name FROM run_events",
    "SELECT 'model', model_name, seq, kind FROM registry_events",
)


def facts(warehouse: Warehouse) -> Counter:
    """Everything that was logged, each fact with the number of times it is there."""
    return Counter(tuple(r.values()) for q in FACTS for r in warehouse.sql(q, output_format="arrow").to_pylist())


def opened(root: Path) -> Warehouse:
    return Warehouse(root, committer="off", capture_code=False)


@dataclass
class Kept:
    """A warehouse whose rows are in several commits: with its spool's segments, without them, and compacted."""

    spooled: Path
    drained: Path
    compacted: Path
    facts: Counter


def registry_rows(name: str, seq: int, kind: str = "model_created") -> pa.Table:
    row = {"model_name": name, "seq": seq, "kind": kind, "writer_id": f"w{kind}", "writer_seq": seq}
    moment = pa.scalar(1_800_000_000_000_000, pa.timestamp("us", tz="UTC")).as_py()
    return pa.Table.from_pylist(
        [{**row, "event_at": moment, "recorded_at": moment}], schema=REGISTRY_EVENTS.arrow_schema()
    )


def table(root: Path, name: str = "metrics") -> Path:
    return root / "tables" / name


def newest(folder: Path) -> Path:
    return max(log_entries(folder).items())[1]


def middle(folder: Path) -> Path:
    return log_entries(folder)[2]


def data_file(folder: Path) -> Path:
    """One of a table's data files, the largest."""
    return folder / max(replay(folder).files.values(), key=lambda f: (f.size, f.path)).path


def empty_newest(root: Path) -> None:
    newest(table(root)).write_bytes(b"")


def empty_middle(root: Path) -> None:
    middle(table(root)).write_bytes(b"")


def empty_middle_after_a_death(root: Path) -> None:
    """The committer that wrote the batch first had died: its file, with the same rows, is there too."""
    entry = middle(table(root))
    (add,) = [a["add"] for a in read_entry(entry) if "add" in a]
    shutil.copy2(table(root) / add["path"], table(root) / "part-of-one-who-died.parquet")
    entry.write_bytes(b"")


def torn_newest(root: Path) -> None:
    entry = newest(table(root))
    entry.write_bytes(entry.read_bytes()[:-40])


def torn_middle(root: Path) -> None:
    entry = middle(table(root))
    entry.write_bytes(entry.read_bytes()[:200])


def missing_entry(root: Path) -> None:
    middle(table(root)).unlink()


def torn_in_every_table(root: Path) -> None:
    for name in ("metrics", "param_events", "tag_events", "run_events"):
        newest(table(root, name)).write_bytes(newest(table(root, name)).read_bytes()[:150])


def bad_checkpoint(root: Path) -> None:
    path = max(checkpoints(table(root)).values())
    path.write_bytes(path.read_bytes()[:300])


def unreadable_last_checkpoint(root: Path) -> None:
    (table(root) / "_delta_log" / "_last_checkpoint").write_text('{"version":')


def last_checkpoint_of_nothing(root: Path) -> None:
    (table(root) / "_delta_log" / "_last_checkpoint").write_text('{"version":99,"size":3}')


def missing_file(root: Path) -> None:
    data_file(table(root)).unlink()


def short_file(root: Path) -> None:
    path = data_file(table(root))
    path.write_bytes(path.read_bytes()[:-100])


def changed_byte(root: Path) -> None:
    path = data_file(table(root))
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 40] ^= 1
    path.write_bytes(data)


def other_rows(root: Path) -> None:
    """A whole Parquet file of the same size in another's place: only reading it tells."""
    path = data_file(table(root))
    size = path.stat().st_size
    other = root / stage(root, pq.ParquetFile(path).read().slice(80)).path
    data = other.read_bytes()
    other.unlink()
    # Padded in front of the footer, whose length stands at the end.
    length = int.from_bytes(data[-8:-4], "little") + 8
    path.write_bytes(data[:-length] + bytes(size - len(data)) + data[-length:])


def old_orphan(root: Path) -> None:
    folder = table(root)
    orphan = folder / "part-00000000-0000-0000-0000-000000000000.parquet"
    shutil.copyfile(data_file(folder), orphan)
    then = time.time() - 3 * 24 * 3600
    os.utime(orphan, (then, then))


def doubled_rows(root: Path) -> None:
    engine = opened(root).engine()
    engine.append(METRICS, engine.query("SELECT * FROM metrics WHERE step % 3 = 0"))


def torn_segment(root: Path) -> None:
    """One bit of a record in the middle of what is spooled and not committed."""
    warehouse = opened(root)
    with warehouse.start_run(run_id=None, experiment="e", run_name="late") as run:
        for step in range(100):
            run.log_metric("late", float(step), step)
    warehouse.close()
    (path,) = [p for p in warehouse.spool().segments() if b"late" in p.read_bytes()]
    data = bytearray(path.read_bytes())
    heads = [i for i in range(len(data) // SLOT) if data[i * SLOT + 8 : i * SLOT + 16] == (50).to_bytes(8, "little")]
    # The value of the point at step 50, of one series in the file.
    data[heads[-1] * SLOT + 17] ^= 4
    path.write_bytes(data)


def no_plan(root: Path) -> None:
    opened(root).spool().plan_path.unlink()


def torn_plan(root: Path) -> None:
    path = opened(root).spool().plan_path
    path.write_bytes(path.read_bytes()[:30])


def no_spool_id(root: Path) -> None:
    (opened(root).spool().path / "spool.json").unlink()


def no_lock(root: Path) -> None:
    opened(root).spool().lock_path.unlink()


MENDABLE = (
    ("drained", empty_newest, "empty entry"),
    ("spooled", empty_newest, "empty entry"),
    ("drained", empty_middle, "empty entry"),
    ("drained", empty_middle_after_a_death, "empty entry"),
    ("drained", torn_newest, "torn entry"),
    ("spooled", torn_newest, "torn entry"),
    ("compacted", torn_newest, "torn entry"),
    ("drained", torn_middle, "torn entry"),
    ("drained", torn_in_every_table, "torn entry"),
    ("drained", missing_entry, "missing entry"),
    ("spooled", missing_entry, "missing entry"),
    ("compacted", bad_checkpoint, "bad checkpoint"),
    ("compacted", unreadable_last_checkpoint, "bad last checkpoint"),
    ("compacted", last_checkpoint_of_nothing, "bad last checkpoint"),
    ("spooled", missing_file, "missing file"),
    ("compacted", missing_file, "missing file"),
    ("spooled", short_file, "changed file"),
    ("compacted", short_file, "changed file"),
    ("compacted", changed_byte, "changed file"),
    ("compacted", other_rows, "changed file"),
    ("drained", old_orphan, "orphans"),
    ("drained", doubled_rows, "doubled rows"),
    ("spooled", no_plan, "lost plan"),
    ("spooled", torn_plan, "lost plan"),
    ("spooled", no_spool_id, "lost plan"),
    ("spooled", no_lock, "lost plan"),
)
