"""The runs of an MLflow database, a range of run ids at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from mlwarehouse.imports.database import Connection, Database
from mlwarehouse.imports.folders import add_files
from mlwarehouse.imports.mlflow_places import MAX_TIME_MS, LoggedModel, at, folder_of

BATCH_POINTS = 1_000_000
"""A batch has no more points, so that memory doesn't grow with the database; a run may be several."""

BATCH_RUNS = 10_000

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

    def __init__(self, connection: Connection) -> None:
        """Count the points of each run."""
        counted = "SELECT run_uuid, COUNT(*) FROM metrics GROUP BY run_uuid"
        counts = {row[0]: row[1] for chunk in connection.chunks(counted, {}, "metrics") for row in chunk}
        runs = connection.chunks("SELECT run_uuid FROM runs ORDER BY run_uuid", {}, "runs")
        self._runs = [(row[0], counts.get(row[0], 0)) for chunk in runs for row in chunk]

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


class RunReader:
    """Reads ranges of runs."""

    def __init__(
        self,
        database: Database,
        logged: Mapping[str | None, Sequence[LoggedModel]],
        oddities: list[Oddity],
    ) -> None:
        """Begin.

        Args:
            database: The database.
            logged: Logged models by run.
            oddities: Gets what isn't as it should be.
        """
        self._columns, self._near, self._logged, self._oddities = database.columns, database.near, logged, oddities
        self._key = database.quoted("key")
        self._row_number = database.row_number
        self._after: dict[str, Any] = {}

    def batch(self, connection: Connection, asked: Range) -> Batch:
        """Read a range."""
        points = self._points(connection, asked)
        if not asked.is_whole:
            empty = [rows(c) for c in (RUN_COLUMNS, PARAM_COLUMNS, PARAM_COLUMNS, INPUT_COLUMNS, FILE_COLUMNS)]
            runs, params, tags, inputs, files = empty
            more, are_distinct = frozenset([asked.first]), self._row_number is None
            return Batch(runs, params, points, tags, inputs, files, 0, more, are_distinct)
        params, tags = (self._texts(connection, name, asked) for name in ("params", "tags"))
        runs, files = self._runs(connection, asked, tags)
        inputs = self._inputs(connection, asked)
        return Batch(runs, params, points, tags, inputs, files, asked.n_runs, are_distinct=self._row_number is None)

    def _fetched(
        self, connection: Connection, sql: str, asked: Range, what: str, values: Mapping[str, Any] | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Rows of a range in chunks."""
        bounds = {"first": asked.first, "last": asked.last}
        yield from connection.chunks(sql, bounds | dict(values or {}), f"{what} of runs {asked.first} to {asked.last}")

    def _points(self, connection: Connection, asked: Range) -> pa.Table:
        has_nan, has_step = (self._columns.has("metrics", name) for name in ("is_nan", "step"))
        step = "step" if has_step else "0"
        value = "CASE WHEN is_nan THEN NULL ELSE value END AS number" if has_nan else "value"
        # Within a run by row: the order in which they were logged. Where rows have no number, no two are alike.
        order = {"row_number": self._row_number} if self._row_number else self._columns_of_order(has_nan, has_step)
        condition, values = "run_uuid BETWEEN :first AND :last", {}
        if asked.part and self._after:
            names = ", ".join(order.values())
            condition += f" AND ({names}) > ({', '.join(f':{name}' for name in order)})"
            values = self._after
        limit = "" if asked.is_whole and not asked.part else f"LIMIT {BATCH_POINTS}"
        sql = f"""
            SELECT run_uuid, {self._key}, {step}, {value}, timestamp, {", ".join(order.values())}
            FROM metrics
            WHERE {condition}
            ORDER BY run_uuid, {", ".join(order.values())}
            {limit}"""
        found = []
        for chunk in self._fetched(connection, sql, asked, "metrics", values):
            self._after = dict(zip(order, chunk[-1][5:], strict=True))
            found.append(self._table(chunk))
        if not found:
            return rows(POINT_COLUMNS)
        return pa.concat_tables(found).unify_dictionaries().combine_chunks()

    def _columns_of_order(self, has_nan: bool, has_step: bool) -> dict[str, str]:
        """The columns by which no two rows of a run are alike, by the name of their value."""
        names = {"key": self._key, "time": "timestamp", "step": "step", "value": "value", "is_nan": "is_nan"}
        lacking = {name for name, is_there in (("step", has_step), ("is_nan", has_nan)) if not is_there}
        return {name: f"metrics.{column}" for name, column in names.items() if name not in lacking}

    def _table(self, chunk: list[tuple[Any, ...]]) -> pa.Table:
        run_ids, keys, steps, values, times, *_ = zip(*chunk, strict=True)
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
        for run_id, key, step, value, time, *row in chunk:
            whole = (step, time)
            is_number = value is None or isinstance(value, int | float)
            if not is_number or not all(isinstance(v, int) for v in whole) or not 0 <= time <= MAX_TIME_MS:
                detail = f"row {row[0]} has step {step!r}, value {value!r} and time {time!r}, and was left out"
                self._oddities.append(Oddity("metric row unreadable", f"run {run_id}, {key}", detail))
                continue
            kept.append((str(run_id), str(key), step, np.nan if value is None else float(value), time))
        run_ids, keys, steps, values, times = zip(*kept, strict=True) if kept else ((), (), (), (), ())
        return self._arrays(
            run_ids, keys, np.array(steps, np.int64), np.array(values, np.float64), np.array(times, np.int64)
        )

    def _texts(self, connection: Connection, table: str, asked: Range) -> pa.Table:
        """Params or tags."""
        sql = f"SELECT run_uuid, {self._key}, value FROM {table} WHERE run_uuid BETWEEN :first AND :last"
        found: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        for chunk in self._fetched(connection, sql, asked, table):
            for run_id, key, value in chunk:
                found["run_id"].append(run_id)
                found["key"].append(str(key))
                found["value"].append("" if value is None else str(value))
        return rows(PARAM_COLUMNS, found)

    def _inputs(self, connection: Connection, asked: Range) -> pa.Table:
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
                inputs.destination_id BETWEEN :first AND :last
                AND inputs.destination_type = 'RUN' AND inputs.source_type = 'DATASET'"""
        found = [r for c in self._fetched(connection, sql, asked, "inputs") for r in c]
        return rows(INPUT_COLUMNS, {name: [row[n] for row in found] for n, name in enumerate(INPUT_COLUMNS)})

    def _runs(self, connection: Connection, asked: Range, tags: pa.Table) -> tuple[pa.Table, pa.Table]:
        special = tags.filter(pc.is_in(tags.column("key"), pa.array(["mlflow.runName", "mlflow.parentRunId"])))
        tag = {(r["run_id"], r["key"]): r["value"] for r in special.to_pylist()}
        deleted = "deleted_time" if self._columns.has("runs", "deleted_time") else "NULL"
        sql = f"""
            SELECT
                run_uuid, experiment_id, name, user_id, status, start_time, end_time, lifecycle_stage, {deleted},
                artifact_uri
            FROM runs
            WHERE run_uuid BETWEEN :first AND :last"""
        found: dict[str, list[Any]] = {name: [] for name in RUN_COLUMNS}
        files: dict[str, list[Any]] = {name: [] for name in FILE_COLUMNS}
        for chunk in self._fetched(connection, sql, asked, "runs"):
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
