"""The runs of an MLflow database, a range of run ids at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.imports.base import (
    FILE_COLUMNS,
    INPUT_COLUMNS,
    PARAM_COLUMNS,
    POINT_COLUMNS,
    RUN_COLUMNS,
    Batch,
    Oddity,
    rows,
)
from mlwarehouse.imports.folders import add_files
from mlwarehouse.imports.mlflow_places import MAX_TIME_MS, LoggedModel, at, folder_of
from mlwarehouse.imports.sqlite_file import Columns

BATCH_POINTS = 1_000_000
"""A batch has no more points, so that memory doesn't grow with the database; a run may be several."""

BATCH_RUNS = 10_000

FETCHED = 50_000
"""Rows that become columns at once."""

MAX_DOUBLE = np.finfo(np.float64).max
"""MLflow writes the infinities as the largest numbers there are."""


@dataclass(frozen=True)
class Range:
    """Runs that are read together.

    Attributes:
        first: The first run's id.
        last: The last one's.
        n_runs: How many runs end with it.
        part: Of a run that is too much for one: which part; else 0.
        is_whole: Whether this is all, or the last part.
    """

    first: str
    last: str
    n_runs: int
    part: int = 0
    is_whole: bool = True


class Ranges:
    """All runs, in ranges."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Count the points of each run."""
        found = database.execute("SELECT run_uuid, COUNT(*) FROM metrics GROUP BY run_uuid")
        counts = {row[0]: row[1] for row in found}
        runs = database.execute("SELECT run_uuid FROM runs ORDER BY run_uuid")
        self._runs = [(row[0], counts.get(row[0], 0)) for row in runs]

    def __iter__(self) -> Iterator[Range]:
        """In the order of run ids."""
        waiting: list[str] = []
        n_points = 0
        for run_id, n in self._runs:
            if waiting and (n_points + n > BATCH_POINTS or len(waiting) == BATCH_RUNS):
                yield Range(waiting[0], waiting[-1], len(waiting))
                waiting, n_points = [], 0
            if n > BATCH_POINTS:
                n_parts = -(-n // BATCH_POINTS)
                for part in range(n_parts):
                    is_last = part == n_parts - 1
                    yield Range(run_id, run_id, int(is_last), part, is_last)
                continue
            waiting.append(run_id)
            n_points += n
        if waiting:
            yield Range(waiting[0], waiting[-1], len(waiting))


def _replaced(content: bytes) -> str:
    return content.decode("utf-8", "replace")


class RunReader:
    """Reads ranges of runs."""

    def __init__(
        self,
        columns: Columns,
        place: str,
        logged: Mapping[str | None, Sequence[LoggedModel]],
        oddities: list[Oddity],
    ) -> None:
        """Begin.

        Args:
            columns: What the schema has.
            place: The database's file.
            logged: Logged models by run.
            oddities: Gets what isn't as it should be.
        """
        self._columns, self._near, self._logged, self._oddities = columns, Path(place).parent, logged, oddities
        self._last_row = 0

    def batch(self, database: sqlite3.Connection, asked: Range) -> Batch:
        """Read a range."""
        points = self._points(database, asked)
        if not asked.is_whole:
            empty = [rows(c) for c in (RUN_COLUMNS, PARAM_COLUMNS, PARAM_COLUMNS, INPUT_COLUMNS, FILE_COLUMNS)]
            runs, params, tags, inputs, files = empty
            return Batch(runs, params, points, tags, inputs, files, 0, frozenset([asked.first]))
        params, tags = (self._texts(database, name, asked) for name in ("params", "tags"))
        runs, files = self._runs(database, asked, tags)
        return Batch(runs, params, points, tags, self._inputs(database, asked), files, asked.n_runs)

    def _fetched(
        self, database: sqlite3.Connection, sql: str, values: Sequence[Any], what: str
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in chunks; where the file is damaged, those before."""
        cursor = database.cursor()
        cursor.row_factory = None
        n = 0
        try:
            try:
                cursor.execute(sql, values)
                while chunk := cursor.fetchmany(FETCHED):
                    n += len(chunk)
                    yield chunk
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
                # Once more from there, with a slower way to make text of bytes.
                self._oddities.append(Oddity("not UTF-8", what, f"{error}; what isn't was replaced"))
                database.text_factory = _replaced
                cursor.execute(f"SELECT * FROM ({sql}) LIMIT -1 OFFSET {n}", values)
                while chunk := cursor.fetchmany(FETCHED):
                    yield chunk
        except sqlite3.Error as error:
            detail = f"{error}; what comes behind was left out"
            self._oddities.append(Oddity("table unreadable", f"{what} of runs {values[0]} to {values[1]}", detail))

    def _points(self, database: sqlite3.Connection, asked: Range) -> pa.Table:
        is_nan = "is_nan" if self._columns.has("metrics", "is_nan") else "0"
        step = "step" if self._columns.has("metrics", "step") else "0"
        # By row within a run: the order in which they were logged.
        sql = f"""
            SELECT run_uuid, key, {step}, CASE WHEN {is_nan} THEN NULL ELSE value END, timestamp, rowid
            FROM metrics
            WHERE run_uuid BETWEEN ? AND ? AND rowid > ?
            ORDER BY run_uuid, rowid
            LIMIT ?"""
        is_part = not asked.is_whole or asked.part > 0
        after = self._last_row if asked.part else 0
        values = [asked.first, asked.last, after if is_part else -(2**63), BATCH_POINTS if is_part else -1]
        found = [self._table(chunk) for chunk in self._fetched(database, sql, values, "metrics")]
        if not found:
            return rows(POINT_COLUMNS)
        return pa.concat_tables(found).unify_dictionaries().combine_chunks()

    def _table(self, chunk: list[tuple[Any, ...]]) -> pa.Table:
        run_ids, keys, steps, values, times, row_ids = zip(*chunk, strict=True)
        self._last_row = row_ids[-1]
        try:
            value = pa.array(values, pa.float64()).to_numpy(zero_copy_only=False)
            time = pa.array(times, pa.int64())
            step = pa.array(steps, pa.int64())
            if time.null_count or step.null_count or pc.max(time).as_py() > MAX_TIME_MS or pc.min(time).as_py() < 0:
                raise pa.ArrowInvalid("a time or step that is none")
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return self._checked(chunk)
        return self._arrays(run_ids, keys, step.to_numpy(), value, time.to_numpy())

    def _arrays(self, run_ids: Any, keys: Any, step: Any, value: Any, time: Any) -> pa.Table:
        value = np.where(value >= MAX_DOUBLE, np.inf, np.where(value <= -MAX_DOUBLE, -np.inf, value))
        return pa.table(
            {
                "run_id": pa.array(run_ids, pa.string()).dictionary_encode(),
                "key": pa.array(keys, pa.string()).dictionary_encode(),
                "step": step,
                "value": value,
                "event_at": time * 1000,
            }
        )

    def _checked(self, chunk: list[tuple[Any, ...]]) -> pa.Table:
        """Row by row, where SQLite holds what isn't of the column's type."""
        kept = []
        for run_id, key, step, value, time, row_id in chunk:
            whole = (step, time)
            is_number = value is None or isinstance(value, int | float)
            if not is_number or not all(isinstance(v, int) for v in whole) or not 0 <= time <= MAX_TIME_MS:
                detail = f"row {row_id} has step {step!r}, value {value!r} and time {time!r}, and was left out"
                self._oddities.append(Oddity("metric row unreadable", f"run {run_id}, {key}", detail))
                continue
            kept.append((str(run_id), str(key), step, np.nan if value is None else float(value), time))
        run_ids, keys, steps, values, times = zip(*kept, strict=True) if kept else ((), (), (), (), ())
        return self._arrays(
            run_ids, keys, np.array(steps, np.int64), np.array(values, np.float64), np.array(times, np.int64)
        )

    def _texts(self, database: sqlite3.Connection, table: str, asked: Range) -> pa.Table:
        """Params or tags."""
        sql = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid BETWEEN ? AND ?"
        found: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        for chunk in self._fetched(database, sql, [asked.first, asked.last], table):
            for run_id, key, value in chunk:
                found["run_id"].append(run_id)
                found["key"].append(str(key))
                found["value"].append("" if value is None else str(value))
        return rows(PARAM_COLUMNS, found)

    def _inputs(self, database: sqlite3.Connection, asked: Range) -> pa.Table:
        if not self._columns.has("inputs") or not self._columns.has("datasets"):
            return rows(INPUT_COLUMNS)
        sql = """
            SELECT
                inputs.destination_id, datasets.name, datasets.digest,
                (
                    SELECT MIN(value) FROM input_tags
                    WHERE input_tags.input_uuid = inputs.input_uuid AND input_tags.name = 'mlflow.data.context'
                ),
                datasets.dataset_source_type, datasets.dataset_source, datasets.dataset_schema, datasets.dataset_profile
            FROM inputs INNER JOIN datasets ON inputs.source_id = datasets.dataset_uuid
            WHERE
                inputs.destination_id BETWEEN ? AND ?
                AND inputs.destination_type = 'RUN' AND inputs.source_type = 'DATASET'"""
        found = [r for c in self._fetched(database, sql, [asked.first, asked.last], "inputs") for r in c]
        return rows(INPUT_COLUMNS, {name: [row[n] for row in found] for n, name in enumerate(INPUT_COLUMNS)})

    def _runs(self, database: sqlite3.Connection, asked: Range, tags: pa.Table) -> tuple[pa.Table, pa.Table]:
        special = tags.filter(pc.is_in(tags.column("key"), pa.array(["mlflow.runName", "mlflow.parentRunId"])))
        tag = {(r["run_id"], r["key"]): r["value"] for r in special.to_pylist()}
        deleted = "deleted_time" if self._columns.has("runs", "deleted_time") else "NULL"
        sql = f"""
            SELECT
                run_uuid, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage, {deleted},
                artifact_uri
            FROM runs
            WHERE run_uuid BETWEEN ? AND ?"""
        found: dict[str, list[Any]] = {name: [] for name in RUN_COLUMNS}
        files: dict[str, list[Any]] = {name: [] for name in FILE_COLUMNS}
        for chunk in self._fetched(database, sql, [asked.first, asked.last], "runs"):
            for run_id, experiment, name, user, status, start, end, stage, deleted_at, address in chunk:
                began = at(start) or at(end)
                if at(start) is None:
                    self._oddities.append(Oddity("run without a start", run_id, "it begins with its end, or in 1970"))
                if not status:
                    self._oddities.append(Oddity("run without a status", run_id, "it is RUNNING here"))
                row = {
                    "run_id": run_id,
                    "experiment": str(experiment),
                    "name": name or tag.get((run_id, "mlflow.runName")) or None,
                    "user": user or None,
                    "status": status or "RUNNING",
                    "started_at": began or 0,
                    "ended_at": at(end),
                    "deleted_at": (at(deleted_at) or at(end) or began or 0) if stage == "deleted" else None,
                    "parent_run_id": tag.get((run_id, "mlflow.parentRunId")) or None,
                }
                for column, values in found.items():
                    values.append(row[column])
                self._files(files, run_id, address)
        return rows(RUN_COLUMNS, found), rows(FILE_COLUMNS, files)

    def _files(self, files: Mapping[str, list[Any]], run_id: str, address: str | None) -> None:
        places = [(address or "", run_id, "")]
        places += [(model.folder, model.model_id, f"{model.path}/") for model in self._logged.get(run_id, ())]
        for uri, owner, prefix in places:
            folder = folder_of(uri, owner, self._near)
            if folder is not None:
                add_files(files, folder, run_id, self._oddities, prefix)
            elif prefix or uri.startswith(("s3:", "gs:", "wasbs:", "abfss:", "hdfs:", "dbfs:")):
                detail = "they aren't in a local folder, and were left where they are"
                self._oddities.append(Oddity("artifacts not at hand", uri, detail))
