"""Rows of runs as pages show them: attributes, latest metrics, params and tags of a run side by side.

``derived/pages`` has one Arrow file for each part of the kept folds, made from the files that the folds have for that
part and named after them: a page file is good for exactly the folds that its name says, so nothing has to be recorded
about it, and one that is missing does no harm. What came in since the folds isn't in here.

The files aren't compressed and are mapped into memory: a run's row is found by its place, so a thousand runs from
anywhere among a million cost a thousand rows. From Parquet, nearly every row group would be decoded for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlwarehouse.disk import sync_path
from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.embedded_sql import file_list
from mlwarehouse.tables.states import STATES

if TYPE_CHECKING:
    import duckdb

PAGES = "pages"

PART_RUNS = 1 << 17
"""Runs whose rows share a file, in folds and in pages."""

LAYOUT = "1"
"""Part of each name, so that a release with other columns makes its own files."""

RETENTION_S = 24 * 3600.0
"""Page files that no refresh has wanted for so long are removed; readers of older folds have ended by then."""

RUN_COLUMNS: tuple[str, ...] = (
    "experiment_id", "run_name", "user_id", "status", "lifecycle_stage", "started_at", "ended_at", "attempt",
    "parent_run_id",
)  # fmt: skip
"""What a page has of the view `runs`, beside the number and the id."""

LISTS: tuple[tuple[str, str, str, str, pa.DataType], ...] = (
    ("metric_summaries", "metrics", "series", "last", pa.float64()),
    ("params", "params", "key", "value", pa.string()),
    ("tags", "tags", "key", "value", pa.string()),
)
"""What a page has of the other folds: the view, the page's column, the view's columns of keys and values, and the
values' type."""


def part_of(path: str) -> int:
    """The part that a file of a kept fold belongs to."""
    return int(Path(path).name.partition("-")[0])


def page_names(folds: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """What the page files that go with some folds are called, by part; parts without a run need none.

    Args:
        folds: Files of each kept fold, by view.
    """
    parts = _by_part(folds)
    result = {}
    for part in parts["runs"]:
        sources = "\n".join([LAYOUT, *(Path(parts[spec.view].get(part, "")).name for spec in STATES)])
        result[part] = f"{part:06d}-{hashlib.sha256(sources.encode()).hexdigest()[:32]}.arrow"
    return result


def write_pages(db: duckdb.DuckDBPyConnection, root: Path, folds: Mapping[str, Sequence[str]]) -> int:
    """Write the page files that some folds lack, and remove those that haven't been wanted for long.

    Args:
        db: A connection to compute with.
        root: The folder of everything derived.
        folds: Files of each kept fold, by view, absolute.

    Returns:
        The number of files written.

    Raises:
        duckdb.Error: A fold can't be read.
        OSError: The folder can't be written.
    """
    folder = root / PAGES
    folder.mkdir(parents=True, exist_ok=True)
    parts = _by_part(folds)
    wanted = page_names(folds)
    n_written = 0
    for part, name in wanted.items():
        if (folder / name).exists():
            os.utime(folder / name)
            continue
        rows = _rows(db, {view: files.get(part) for view, files in parts.items()})
        partial = folder / f"{name}.partial-{uuid.uuid4().hex}"
        try:
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
            sync_path(partial)
            partial.rename(folder / name)
        finally:
            partial.unlink(missing_ok=True)
        n_written += 1
    sync_path(folder)
    _remove_old(folder, set(wanted.values()))
    return n_written


def _by_part(folds: Mapping[str, Sequence[str]]) -> dict[str, dict[int, str]]:
    return {spec.view: {part_of(path): path for path in folds.get(spec.view, ())} for spec in STATES}


def _rows(db: duckdb.DuckDBPyConnection, files: Mapping[str, str | None]) -> pa.Table:
    """The rows of one part's page file, sorted by number, in one chunk."""
    columns = ", ".join(("run_id AS number", "id AS run_id", *RUN_COLUMNS))
    runs = db.execute(
        f"SELECT {columns} FROM read_parquet({file_list([str(files['runs'])])}) WHERE started_at IS NOT NULL "
        "ORDER BY number"
    ).to_arrow_table()
    numbers = runs.column("number").to_numpy()
    # A run is looked up by its id through the order of the ids.
    by_id = np.argsort(np.array(runs.column("run_id").to_pylist(), dtype=object), kind="stable").astype(np.int32)
    runs = runs.append_column("by_id", pa.array(by_id))
    for view, column, key, value, kind in LISTS:
        path = files[view]
        if path is None:
            none = pa.table(
                {"run_id": pa.array([], pa.int64()), "key": pa.array([], pa.string()), "value": pa.array([], kind)}
            )
            runs = runs.append_column(column, _lists(none, numbers))
            continue
        rows = db.execute(
            f"SELECT run_id, {key} AS key, {value} AS value FROM read_parquet({file_list([path])}) ORDER BY run_id"
        ).to_arrow_table()
        runs = runs.append_column(column, _lists(rows, numbers))
    return runs.combine_chunks()


def _lists(rows: pa.Table, numbers: np.ndarray[Any, Any]) -> pa.Array:
    """Keys and values as one list for each of some runs; those of others, say not started yet, are left out."""
    rows = rows.combine_chunks()
    runs = rows.column("run_id").to_numpy()
    known = np.isin(runs, numbers)
    if not known.all():
        rows = rows.filter(pa.array(known))
        runs = runs[known]
    offsets = pa.array(np.append(np.searchsorted(runs, numbers), len(runs)).astype(np.int32))
    keys, values = (one_array(rows.column(name)) for name in ("key", "value"))
    return pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays([keys.dictionary_encode(), values], ["key", "value"])
    )


def _remove_old(folder: Path, wanted: set[str]) -> None:
    unwanted_since = time.time() - RETENTION_S
    for path in folder.iterdir():
        # A file can be gone: everything derived may be dropped at any time.
        with contextlib.suppress(FileNotFoundError):
            if path.name not in wanted and path.stat().st_mtime < unwanted_since:
                path.unlink()
