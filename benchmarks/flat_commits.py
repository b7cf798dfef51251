"""Whether commits stay as fast as they were: the last tenth of many commits against the first."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Bar, Benchmark, Measured, Side, answer_of, points

COMMIT_POINTS = 100
UPKEEP_COMMITS = 20


def growth(
    commit: Callable[[int, list[float]], None], n: int, upkeep: Callable[[], None] = lambda: None
) -> tuple[float, dict[str, float]]:
    """Commit points in small batches, timing each.

    Args:
        commit: Commits a batch that begins at a step.
        n: Points in all.
        upkeep: Done now and then, as often as the committer does at a commit a second.

    Returns:
        The median of the last tenth divided by that of the first; beside it milliseconds a commit.
    """
    values = points(n)
    costs = []
    for start in range(0, n, COMMIT_POINTS):
        before = time.perf_counter()
        commit(start, values[start : start + COMMIT_POINTS])
        costs.append(time.perf_counter() - before)
        if len(costs) % UPKEEP_COMMITS == 0:
            upkeep()
    tenth = max(1, len(costs) // 10)
    first, last = statistics.median(costs[:tenth]), statistics.median(costs[-tenth:])
    ordered = sorted(costs)
    extra = {
        "commits": float(len(costs)),
        "ms a commit": 1000 * statistics.median(costs),
        "p99 ms": 1000 * ordered[int(len(ordered) * 0.99)],
    }
    return last / first, extra


def ours(place: Path, n: int) -> Measured:
    """The committer's passes; its thread's upkeep of the table comes between them and isn't timed."""
    from deltalake import DeltaTable

    from mlwarehouse.engines.embedded import EmbeddedEngine
    from mlwarehouse.engines.embedded_maintain import maintain_a_little
    from mlwarehouse.ingest.drain import Drain
    from mlwarehouse.ingest.spool_folder import SpoolFolder
    from mlwarehouse.ingest.spool_writer import SpoolWriter
    from mlwarehouse.tables import METRICS

    folder = SpoolFolder(place / "spool")
    folder.create()
    engine = EmbeddedEngine(place / "tables")
    drain = Drain(folder, engine)
    writer = SpoolWriter(folder)
    series = writer.series_map()

    def commit(start: int, values: list[float]) -> None:
        for step, value in enumerate(values, start):
            writer.put_point(series, "loss", ("run", 0), step, value, 0)
        drain.step()

    def upkeep() -> None:
        while maintain_a_little(engine.tables, METRICS):
            pass

    value, extra = growth(commit, n, upkeep)
    writer.close()
    rows = DeltaTable(place / "tables" / "metrics").to_pyarrow_table(columns=["value", "step"])
    engine.close()
    return Measured(
        value, answer_of(rows.num_rows, sum(rows["value"].to_pylist()), max(rows["step"].to_pylist())), extra=extra
    )


def bare_delta(place: Path, n: int) -> Measured:
    """`write_deltalake` of the same batches, nothing synced."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    def commit(start: int, values: list[float]) -> None:
        write_deltalake(
            place / "t", pa.table({"step": range(start, start + len(values)), "value": values}), mode="append"
        )

    value, extra = growth(commit, n)
    rows = DeltaTable(place / "t").to_pyarrow_table()
    return Measured(
        value, answer_of(rows.num_rows, sum(rows["value"].to_pylist()), max(rows["step"].to_pylist())), extra=extra
    )


BENCHMARK = Benchmark(
    name="flat-commits",
    what="commits of 100 points, last tenth against first",
    unit="times as long",
    is_better_low=True,
    us=Side("mlwarehouse, the committer", ours, 300_000),
    others=(Side("bare `write_deltalake`, not synced", bare_delta, 100_000),),
    bar=Bar("≤ 1.5", lambda value, _: value <= 1.5),
)
