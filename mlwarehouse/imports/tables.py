"""Any table of runs, or of steps of runs: CSV, Parquet, JSON and JSON lines.

What a column is, its name tells, or the user. A table with a step has a row for each step, any other for each run.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.imports.base import (
    FILE_COLUMNS,
    INPUT_COLUMNS,
    PARAM_COLUMNS,
    POINT_COLUMNS,
    RUN_COLUMNS,
    Batch,
    Oddity,
    SourceExperiment,
    local_kind,
    rows,
)
from mlwarehouse.imports.collected import LAST_SECOND, run_id_of
from mlwarehouse.imports.table_file import form_of, read_table
from mlwarehouse.registry.importing import SourceModel

ROLES: Mapping[str, tuple[str, ...]] = {
    "run_id": ("run_id", "run_uuid", "id"),
    "run_name": ("run_name", "name", "run", "tags.mlflow.runname"),
    "experiment": ("experiment", "experiment_name", "project", "experiment_id"),
    "user": ("user", "user_id"),
    "status": ("status", "state"),
    "started_at": ("started_at", "start_time", "created", "created_at"),
    "ended_at": ("ended_at", "end_time", "finished_at"),
    "parent_run_id": ("parent_run_id", "tags.mlflow.parentrunid"),
    "step": ("step", "_step", "global_step", "trainer/global_step"),
    "timestamp": ("timestamp", "_timestamp"),
    "param": (),
    "metric": (),
    "tag": ("artifact_uri",),
    "ignore": ("", "unnamed: 0", "index"),
}
"""What a column may be, with the names that tell it, the surest first. Other columns are tags where they begin with
``tags.``, params with ``params.``, ``config.`` or ``hparams.``, metrics with ``metrics.``; else numbers are metrics and
text is a param; those that begin with ``_`` are ignored."""

_PREFIXES: Mapping[str, str] = {
    "params.": "param",
    "config.": "param",
    "hparams.": "param",
    "metrics.": "metric",
    "tags.": "tag",
}
_MANY = ("param", "metric", "tag", "ignore")

_STATUSES: Mapping[str, str] = {
    **dict.fromkeys(("finished", "complete", "completed", "success", "succeeded", "done"), "FINISHED"),
    **dict.fromkeys(("failed", "fail", "error", "crashed"), "FAILED"),
    **dict.fromkeys(("killed", "stopped", "canceled", "cancelled", "pruned", "aborted"), "KILLED"),
    **dict.fromkeys(("running", "active"), "RUNNING"),
    **dict.fromkeys(("scheduled", "queued", "pending", "waiting"), "SCHEDULED"),
}


@dataclass
class Table:
    """A table in a file. See `Source`.

    Attributes:
        columns: What columns are, by their names or patterns such as ``cfg_*``; the values are entries of `ROLES`.
    """

    place: str
    kind: str = "table"
    source_id: str = ""
    unit: str = "rows"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read it."""
        self._table = read_table(Path(self.place), self.oddities)
        self.total = self._table.num_rows
        self._one: dict[str, str] = {}
        self._many: dict[str, tuple[str, str]] = {}

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        self._find_roles()
        names = set(self._texts("experiment").to_pylist()) if "experiment" in self._one else {None}
        own = Path(self.place.removesuffix(".gz")).stem
        return [SourceExperiment(name or "", None, name or own) for name in sorted(names, key=str)]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        self._find_roles()
        n = self._table.num_rows
        run_ids = self._run_ids()
        coded = run_ids.dictionary_encode()
        _, first = np.unique(coded.indices.to_numpy(), return_index=True)
        firsts = pa.array(np.sort(first))
        changed = Path(self.place).stat().st_mtime_ns // 1000
        at = self._times("timestamp", n)
        started = self._times("started_at", n)
        at = pc.fill_null(pc.coalesce(at, started), changed)
        start = pc.fill_null(pc.coalesce(started, at), changed)
        runs = {
            "run_id": run_ids,
            "experiment": pc.fill_null(self._texts("experiment"), ""),
            "name": self._texts("run_name"),
            "user": self._texts("user"),
            "status": self._status(),
            "started_at": start,
            "ended_at": self._times("ended_at", n),
            "deleted_at": pa.nulls(n, pa.int64()),
            "parent_run_id": self._texts("parent_run_id"),
        }
        yield Batch(
            runs=pa.table([runs[name] for name in RUN_COLUMNS], list(RUN_COLUMNS)).take(firsts),
            params=self._pairs("param", run_ids),
            points=self._points(run_ids, at, n),
            tags=self._pairs("tag", run_ids),
            inputs=rows(INPUT_COLUMNS),
            files=rows(FILE_COLUMNS),
            n_done=n,
        )

    def _find_roles(self) -> None:
        names = self._table.column_names
        if len(set(names)) < len(names):
            raise InvalidInputError(f"`{self.place}` has a column twice; it has {', '.join(names)}.")
        told: dict[str, str] = {}
        for pattern, role in self.columns.items():
            if role not in ROLES:
                raise InvalidInputError(
                    f"A column can't be a `{role}`; it is one of {', '.join(ROLES)}.{did_you_mean(role, ROLES)}"
                )
            found = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
            if not found:
                there = f"it has {', '.join(names)}.{did_you_mean(pattern, names)}"
                raise InvalidInputError(f"`{self.place}` has no column `{pattern}`; {there}")
            told |= dict.fromkeys(found, role)
        self._one = {}
        for name, role in told.items():
            if role not in _MANY and self._one.setdefault(role, name) != name:
                raise InvalidInputError(f"Columns `{self._one[role]}` and `{name}` can't both be the `{role}`.")
        plain = {re.sub(r"[\s]+", "_", name.strip().lower()): name for name in reversed(names) if name not in told}
        for role, known in ROLES.items():
            found = [plain[k] for k in known if k in plain]
            if role not in _MANY and role not in self._one and found:
                self._one[role] = found[0]
        self._many = {
            name: kind
            for name in names
            # A tag stays one also where it tells the name.
            if name not in self._one.values() or (name.startswith("tags.") and name not in told)
            if (kind := self._kind(name, told.get(name))) is not None
        }

    def _kind(self, name: str, told: str | None) -> tuple[str, str] | None:
        """What a column of many is, and under which name it comes; None for one that doesn't."""
        prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
        short = name[len(prefix) :]
        if told is not None:
            return None if told == "ignore" else (told, short)
        if name.strip().lower() in ROLES["ignore"] or name.startswith("_"):
            return None
        if name in ROLES["tag"]:
            return "tag", name
        if prefix:
            return _PREFIXES[prefix], short
        kind = self._table.schema.field(name).type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        return ("metric" if is_number else "param"), name

    def _texts(self, role: str) -> pa.Array:
        """A column of one role as text."""
        if role not in self._one:
            return pa.nulls(self._table.num_rows, pa.string())
        return self._table.column(self._one[role]).combine_chunks().cast(pa.string())

    def _run_ids(self) -> pa.Array:
        given = self._texts("run_id")
        if "run_id" in self._one and not given.null_count:
            return given
        names = pc.coalesce(given, self._texts("run_name")).to_pylist()
        has_steps = "step" in self._one
        seen: dict[str, int] = {}
        keys = []
        for row, name in enumerate(names):
            if name is None:
                keys.append("" if has_steps else f"row {row}")
                continue
            n_before = seen.get(name, 0)
            seen[name] = n_before + 1
            # Without steps each row is a run, also where two have one name.
            keys.append(name if has_steps or not n_before else f"{name}\0{n_before}")
        return pa.array([run_id_of(self.source_id, key) for key in keys], pa.string())

    def _status(self) -> pa.Array:
        coded = pc.fill_null(self._texts("status"), "finished").dictionary_encode()
        known = []
        for word in coded.dictionary.to_pylist():
            if word.strip().lower() not in _STATUSES:
                self.oddities.append(Oddity("status unknown", self.place, f"`{word}`; it is FINISHED here"))
            known.append(_STATUSES.get(word.strip().lower(), "FINISHED"))
        return pa.array(known, pa.string()).take(coded.indices)

    def _times(self, role: str, n: int) -> pa.Array:
        """A column of times as microseconds; numbers are seconds, milli- or microseconds, whichever is of our days."""
        if role not in self._one:
            return pa.nulls(n, pa.int64())
        name = self._one[role]
        column = self._table.column(name).combine_chunks()
        if pa.types.is_timestamp(column.type):
            return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            number = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            scale = np.where(number < 1e11, 1e6, np.where(number < 1e14, 1e3, 1.0))
            at = number * scale
            is_time = (at >= 0) & (at <= LAST_SECOND * 1e6)
            return pa.array(np.where(is_time, at, 0).astype(np.int64), mask=~is_time)
        import pandas as pd

        found = pd.to_datetime(pd.Series(column.to_pylist()), format="ISO8601", errors="coerce", utc=True)
        if found.isna().sum() > column.null_count:
            self.oddities.append(Oddity("times unreadable", f"{self.place}, column {name}", "they aren't in ISO form"))
        return pa.array(found.dt.as_unit("us")).cast(pa.int64())

    def _pairs(self, role: str, run_ids: pa.Array) -> pa.Table:
        """Params or tags: of each run the first value that there is."""
        found = []
        for name, (kind, short) in self._many.items():
            if kind != role:
                continue
            column = self._table.column(name).combine_chunks()
            valid = pa.array(np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)))
            ids, values = run_ids.take(valid), column.take(valid).cast(pa.string())
            _, first = np.unique(ids.dictionary_encode().indices.to_numpy(), return_index=True)
            firsts = pa.array(np.sort(first))
            keys = pa.repeat(short, len(firsts))
            found.append(pa.table([ids.take(firsts), keys, values.take(firsts)], list(PARAM_COLUMNS)))
        return pa.concat_tables([rows(PARAM_COLUMNS), *found])

    def _points(self, run_ids: pa.Array, at: pa.Array, n: int) -> pa.Table:
        step = pa.array(np.zeros(n, np.int64))
        has_step = np.ones(n, bool)
        if "step" in self._one:
            given = self._table.column(self._one["step"]).combine_chunks()
            step = _numbers(given)
            has_step = step.is_valid().to_numpy(zero_copy_only=False)
            step = pc.fill_null(step, 0).cast(pa.int64(), safe=False)
            if not has_step.all():
                detail = f"{int((~has_step).sum()):,} rows have no step, and their metrics were left out"
                self.oddities.append(Oddity("row without a step", self.place, detail))
        found = []
        for name, (kind, short) in self._many.items():
            if kind != "metric":
                continue
            column = self._table.column(name).combine_chunks()
            value = _numbers(column)
            n_lost = value.null_count - column.null_count
            if n_lost:
                detail = f"{n_lost:,} values that aren't numbers were left out"
                self.oddities.append(Oddity("metric unreadable", f"{self.place}, column {name}", detail))
            valid = pa.array(np.flatnonzero(value.is_valid().to_numpy(zero_copy_only=False) & has_step))
            keys = pa.repeat(short, len(valid))
            columns = [run_ids.take(valid), keys, step.take(valid), value.take(valid), at.take(valid)]
            found.append(pa.table(columns, list(POINT_COLUMNS)))
        return pa.concat_tables([rows(POINT_COLUMNS), *found])


def _numbers(column: pa.Array) -> pa.Array:
    """A column as numbers; null where a text is none."""
    if not pa.types.is_string(column.type):
        return column.cast(pa.float64(), safe=False)
    coded = column.dictionary_encode()
    numbers: list[float | None] = []
    for text in coded.dictionary.to_pylist():
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(None)
    return pa.array(numbers, pa.float64()).take(coded.indices)


def _claims(place: str) -> bool:
    return Path(place).is_file() and form_of(Path(place)) is not None


TABLE = local_kind(
    "table",
    "a CSV, TSV, Parquet, JSON or JSON lines file of runs or steps",
    needs="a file whose name ends as that of a table: .csv, .parquet, .json, .jsonl.",
    claims=_claims,
    of=Table,
)
