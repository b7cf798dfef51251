"""What Neptune's exporter writes: Parquet files of attributes, in parts, a folder a project, and the files beside them.

The columns are those that https://github.com/neptune-ai/neptune-exporter documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from mlwarehouse.imports.base import POINT_COLUMNS, Batch, Oddity, SourceExperiment, local_kind, rows
from mlwarehouse.imports.collected import Collected, run_id_of
from mlwarehouse.imports.folders import add_files, files_below
from mlwarehouse.registry.importing import SourceModel

NEEDED = ("project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp", "float_value")

BATCH_POINTS = 1_000_000
"""A batch ends with the run that brings it to more points."""

STEP_PARTS = 1_000_000
"""Neptune's steps have six decimals; where a series uses them, its steps are counted in millionths."""

_PART = re.compile(r"(?:^|_)part_(\d+)\.parquet$")
_SCALARS: Mapping[str, str] = {
    "int": "int_value",
    "float": "float_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_OWN = {"sys/name", "sys/creation_time", "sys/modification_time", "sys/owner", "sys/failed", "sys/trashed", "sys/state"}


@dataclass
class Neptune:
    """The data folder of an export. See `Source`."""

    place: str
    kind: str = "neptune"
    source_id: str = ""
    unit: str = "files"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look which runs there are: a run's parts have its name and a number."""
        parts: dict[str, list[tuple[int, str]]] = {}
        for path, entry in files_below(self.place, []):
            match = _PART.search(path)
            if match is not None:
                parts.setdefault(path[: match.start()], []).append((int(match[1]), entry.path))
                self.total += 1
        self._runs = {name: [path for _, path in sorted(found)] for name, found in sorted(parts.items())}
        self._seen: dict[str, str] = {}

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        names = set()
        for paths in self._runs.values():
            try:
                first = next(parquet.ParquetFile(paths[0]).iter_batches(1, columns=["project_id"]), None)
                names.add("" if first is None else str(first.column(0)[0]))
            except (OSError, pa.ArrowException, IndexError):
                # It is told where the run is read.
                continue
        return [SourceExperiment(name, None, name or "Neptune") for name in sorted(names)]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        batch, points, n_done = Collected(), [rows(POINT_COLUMNS)], 0
        for paths in self._runs.values():
            n_done += len(paths)
            tables = []
            for path in paths:
                try:
                    table = parquet.read_table(path)
                    missing = [name for name in NEEDED if name not in table.column_names]
                    if missing:
                        raise ValueError(f"it lacks the column `{missing[0]}`")
                    tables.append(table)
                except (OSError, pa.ArrowException, ValueError) as error:
                    self.oddities.append(Oddity("file unreadable", path, str(error)))
            if tables and any(table.num_rows for table in tables):
                points.append(self._read(pa.concat_tables(tables, promote_options="default"), paths[0], batch))
            if sum(table.num_rows for table in points) > BATCH_POINTS:
                yield replace(batch.batch(n_done), points=pa.concat_tables(points))
                batch, points, n_done = Collected(), [rows(POINT_COLUMNS)], 0
        yield replace(batch.batch(n_done), points=pa.concat_tables(points))

    def _read(self, table: pa.Table, path: str, batch: Collected) -> pa.Table:
        """Read a run's attributes; its points are returned."""
        project, name = str(table.column("project_id")[0]), str(table.column("run_id")[0])
        run_id = name
        if self._seen.setdefault(name, project) != project:
            run_id = run_id_of(self.source_id, f"{project}\0{name}")
            detail = f"project {self._seen[name]} has a run of this id too; it is {run_id} here"
            self.oddities.append(Oddity("run id mapped", f"{project}, {name}", detail))
        kinds = table.column("attribute_type")
        found = self._scalars(table)
        series = table.filter(pc.equal(kinds, "float_series"))
        times = series.column("timestamp").drop_null().cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        began = _time(found.get("sys/creation_time")) or (pc.min(times).as_py() if len(times) else None)
        ended = _time(found.get("sys/modification_time")) or (pc.max(times).as_py() if len(times) else None)
        began = began if began is not None else Path(path).stat().st_mtime_ns // 1000
        is_active = str(found.get("sys/state", "")).lower() in ("active", "running")
        batch.run(
            run_id,
            project,
            name=str(found.get("sys/name") or name),
            user=None if found.get("sys/owner") is None else str(found["sys/owner"]),
            status="RUNNING" if is_active else "FAILED" if found.get("sys/failed") else "FINISHED",
            started_at=began,
            ended_at=None if is_active else ended,
            deleted_at=(ended or began) if found.get("sys/trashed") else None,
        )
        batch.params(run_id, {key: _text(v) for key, v in found.items() if not key.startswith("sys/")})
        tags = {f"neptune.{k}": _text(v) for k, v in found.items() if k.startswith("sys/") and k not in _OWN}
        if found.get("sys/description"):
            tags["mlflow.note.content"] = str(found["sys/description"])
        batch.tags(run_id, tags)
        self._files(table, path, run_id, batch)
        for kind in ("string_series", "histogram_series", "file_series"):
            n = pc.sum(pc.equal(kinds, kind)).as_py()
            if n:
                self.oddities.append(Oddity(f"{kind.replace('_', ' ')} left out", path, f"{n:,} values"))
        return self._points(series, run_id, began, path)

    def _scalars(self, table: pa.Table) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind, column in _SCALARS.items():
            if column in table.column_names:
                some = table.filter(pc.equal(table.column("attribute_type"), kind))
                found |= zip(some.column("attribute_path").to_pylist(), some.column(column).to_pylist(), strict=True)
        return found

    def _points(self, series: pa.Table, run_id: str, began: int, path: str) -> pa.Table:
        step = pc.fill_null(series.column("step").cast(pa.float64()), 0.0)
        is_whole = pc.equal(step, pc.floor(step))
        fine = pc.unique(series.column("attribute_path").filter(pc.invert(is_whole))) if series.num_rows else []
        if len(fine):
            detail = f"the steps of {len(fine):,} series have decimals; they are in millionths here"
            self.oddities.append(Oddity("steps with decimals", path, detail))
            is_fine = pc.is_in(series.column("attribute_path"), fine)
            step = pc.if_else(is_fine, pc.round(pc.multiply(step, float(STEP_PARTS))), step)
        at = series.column("timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        values = series.column("float_value")
        kept = pc.is_valid(values)
        table = pa.table(
            {
                "run_id": pa.repeat(run_id, series.num_rows),
                "key": series.column("attribute_path").cast(pa.string()),
                "step": step.cast(pa.int64(), safe=False),
                "value": values.cast(pa.float64()),
                "event_at": pc.fill_null(at, began),
            }
        )
        return table.filter(kept)

    def _files(self, table: pa.Table, path: str, run_id: str, batch: Collected) -> None:
        """Files that were exported: they are in the folder `files` beside that of the data, by default."""
        if "file_value" not in table.column_names:
            return
        some = table.filter(pc.equal(table.column("attribute_type"), "file"))
        root = Path(self.place).parent / "files"
        project = Path(path).parent.relative_to(self.place)
        pairs = zip(some.column("attribute_path").to_pylist(), some.column("file_value").to_pylist(), strict=True)
        for key, value in pairs:
            relative = str((value or {}).get("path") or "")
            places = [root / project / relative, root / relative]
            # Whoever wrote the table doesn't name files outside of the export.
            found = next((p for p in places if relative and p.exists() and p.resolve().is_relative_to(root)), None)
            if found is None:
                detail = f"`{relative}` isn't in `{root}`; it was left out"
                self.oddities.append(Oddity("artifact not at hand", f"{run_id}, {key}", detail))
            elif found.is_dir():
                add_files(batch.files, str(found), run_id, self.oddities, f"{key}/")
            else:
                add_files(
                    batch.files,
                    str(found.parent),
                    run_id,
                    self.oddities,
                    is_wanted=lambda name, found=found: name == found.name,  # type: ignore[misc]
                )
                batch.files["path"][-1] = key


def _time(value: Any) -> int | None:
    return round(value.timestamp() * 1e6) if hasattr(value, "timestamp") else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return json.dumps(value, default=str)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _claims(place: str) -> bool:
    if not Path(place).is_dir():
        return False
    for path, entry in files_below(place, []):
        if _PART.search(path):
            try:
                return set(NEEDED) <= set(parquet.read_schema(entry.path).names)
            except (OSError, pa.ArrowException):
                continue
    return False


NEPTUNE = local_kind(
    "neptune",
    "the data folder of Neptune's exporter",
    needs="the data folder of an export of Neptune's: it has no `…part_0.parquet`.",
    claims=_claims,
    of=Neptune,
)
