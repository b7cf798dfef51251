"""Hours of training: memory, open files, log and spool stay what they are, and what is read is what was logged.

Trainers log at a steady rate, some in one run and some in run after run, beside short programs; one committer commits
and maintains; a reader asks. ``MLWAREHOUSE_SOAK=1`` takes an hour, or ``MLWAREHOUSE_SOAK_MINUTES``, with all constants
but the retention as they are; else seconds stand for it, by a clock that runs faster.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_schema
from mlwarehouse.engines.embedded_follow import CLEANUPS
from mlwarehouse.ingest.maintaining import EVERY_S
from mlwarehouse.ingest.spool_place import LARGEST_SEGMENT
from tests.faults.conftest import SOAK
from tests.faults.soaking import Look, Pace, start, watch

MINUTES = float(os.environ.get("MLWAREHOUSE_SOAK_MINUTES", "60"))

HOUR = Pace(
    seconds=60 * MINUTES,
    points=250,
    run_s=20.0,
    program_s=20.0,
    interval_s=0.25,
    upkeep_s=EVERY_S,
    clean_s=120.0,
    log_s=300.0,
    files_s=300.0,
    cleanups=CLEANUPS,
    ask_s=2.0,
    look_s=5.0,
    rss_growth=0.05,
    fds_growth=1,
)
MOMENT = Pace(
    seconds=6.0,
    points=2000,
    run_s=0.5,
    program_s=3.0,
    interval_s=0.02,
    upkeep_s=0.5,
    clean_s=1.0,
    log_s=2.0,
    files_s=60.0,
    cleanups=1,
    ask_s=0.1,
    look_s=0.25,
    # A committer that maintains takes memory and files for it.
    rss_growth=1.0,
    fds_growth=12,
)


def test_nothing_grows_but_the_tables(tmp_path, monkeypatch):
    pace = HOUR if SOAK else MOMENT
    retention = f"interval {int(pace.log_s)} seconds"
    monkeypatch.setitem(embedded_schema.CONFIGURATION, "delta.logRetentionDuration", retention)
    # What a table knows of files that were replaced stays as long as those do: a week, were it not for the clock.
    replaced = f"interval {int(pace.files_s)} seconds"
    monkeypatch.setitem(embedded_schema.CONFIGURATION, "delta.deletedFileRetentionDuration", replaced)
    root = tmp_path / "wh"
    warehouse = Warehouse(root, committer="off")
    warehouse.create()
    spool = warehouse.spool()
    spool.create()
    # Two in one long run each, and two in run after run.
    trainers = {
        f"trainer-{n}": start("train", root, f"trainer-{n}", str(pace.points), str(run_s), "1000000")
        for n, run_s in enumerate([1e9, 1e9, pace.run_s, pace.run_s])
    }
    watched = dict(trainers)
    programs: dict[str, subprocess.Popen[str]] = {}
    begun = time.monotonic()

    def short_programs() -> None:
        if time.monotonic() > begun + pace.program_s * (len(programs) + 1):
            name = f"program-{len(programs)}"
            programs[name] = start("train", root, name, "100", "1", "1")

    try:
        deadline = time.monotonic() + 60
        while sum(path.stat().st_size > 0 for path in tmp_path.glob("at-*")) < len(trainers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        warehouse.snapshot(keep=True, name="kept")
        watched["committer"] = start("commit", root, spool.path, json.dumps(asdict(pace)))
        watched["reader"] = start("ask", root, "trainer-2", str(pace.ask_s))
        while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        looks = watch(watched, pace, root, spool.segments_path, short_programs, cleaned)
        (tmp_path / "over").touch()
        for name, process in {**trainers, **programs, "reader": watched["reader"]}.items():
            out, said = process.communicate(timeout=120)
            assert process.returncode == 0, f"{name}: {said}"
        assert int(out) > 0
        _, said = watched["committer"].communicate(timeout=120)
        assert watched["committer"].returncode == 0, said
    finally:
        for process in [*watched.values(), *programs.values()]:
            process.kill()
            process.communicate()
    warehouse.flush()
    expected = dict(line.split() for f in tmp_path.glob("steps-*") for line in f.read_text().splitlines())
    rows = warehouse.engine().query(
        "SELECT run_id, count(*) AS n, count(DISTINCT step) AS d, max(step) AS last FROM metrics WHERE key = 'loss' "
        "GROUP BY run_id"
    )
    found = {r["run_id"]: (r["n"], r["d"], r["last"] + 1) for r in rows.to_pylist()}
    # One that began at the end has no point.
    assert found == {run_id: (int(n),) * 3 for run_id, n in expected.items() if int(n)}
    assert warehouse.doctor().problems == ()
    n_points, version = 2 * sum(map(int, expected.values())), warehouse.versions()["metrics"]
    print(f"{len(expected)} runs, {n_points} points, {version} versions, asked {int(out)} times")
    check(looks, pace, n_writers=len(trainers) + 1)
    warehouse.close()


def cleaned(looks: list[Look]) -> bool:
    """Whether the log was cleaned since it was first seen."""
    return min(x.oldest_version for x in looks) < looks[-1].oldest_version


def check(looks: list[Look], pace: Pace, *, n_writers: int) -> None:
    """Compare the last quarter of the time with the one before it."""
    seconds = looks[-1].at
    before = [x for x in looks if seconds / 2 <= x.at < seconds * 3 / 4]
    after = [x for x in looks if seconds * 3 / 4 <= x.at]
    for name in after[0].rss:
        # The median: merging files takes some memory for a moment.
        memory = [statistics.median(x.rss[name] for x in some) for some in (before, after)]
        files = [statistics.median(x.fds[name] for x in some) for some in (before, after)]
        print(f"{name}: {memory[0] / 1e6:.1f} MB, then {memory[1] / 1e6:.1f}; {files[0]} files, then {files[1]}")
        assert memory[1] <= (1 + pace.rss_growth) * memory[0]
        assert files[1] <= files[0] + pace.fds_growth
    for name in ("n_entries", "n_checkpoints", "oldest_s", "n_files", "n_segments", "spool_bytes"):
        print(f"{name}: at most", *(max(getattr(x, name) for x in some) for some in (before, after)))
    # A turn of maintenance may be under way when the time for the next one has come. How long that takes is no part
    # of what seconds can show.
    assert not SOAK or max(x.oldest_s for x in after) <= pace.log_s + 2 * pace.clean_s
    # The segment being written, and the one before it until it is committed.
    assert max(x.spool_bytes for x in looks) <= n_writers * 2 * LARGEST_SEGMENT
    assert max(x.n_segments for x in looks) <= n_writers * 3
