"""Lightning's `CSVLogger`: a folder a version, with `metrics.csv` and `hparams.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import POINT_COLUMNS, Batch, Oddity, local_kind, rows
from mlwarehouse.imports.collected import Collected, run_id_of
from mlwarehouse.imports.folders import add_files, files_below
from mlwarehouse.imports.run_folders import RunFolders
from mlwarehouse.imports.settings_file import params_of
from mlwarehouse.imports.table_file import read_table

METRICS, SETTINGS = "metrics.csv", "hparams.yaml"

BATCH_POINTS = 1_000_000
"""A batch ends with the run that brings it to more points."""


class CsvLogger(RunFolders):
    """A folder of versions, or one version. See `Source`."""

    def __init__(self, place: str) -> None:
        """Look which runs there are."""
        found = {path.rpartition("/")[0] for path, entry in files_below(place, []) if entry.name in (METRICS, SETTINGS)}
        super().__init__(place, sorted(found), "csv-logger")

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        batch, points, n_done, n_points = Collected(), [rows(POINT_COLUMNS)], 0, 0
        for run in self.runs:
            found = self._read(run, batch)
            points += found
            n_points += sum(table.num_rows for table in found)
            n_done += 1
            if n_points > BATCH_POINTS:
                yield replace(batch.batch(n_done), points=pa.concat_tables(points))
                batch, points, n_done, n_points = Collected(), [rows(POINT_COLUMNS)], 0, 0
        yield replace(batch.batch(n_done), points=pa.concat_tables(points))

    def _read(self, run: str, batch: Collected) -> list[pa.Table]:
        folder = Path(self.place, run)
        run_id = run_id_of(self.source_id, run)
        metrics, settings = folder / METRICS, folder / SETTINGS
        times = [p.stat().st_mtime_ns // 1000 for p in (settings, metrics) if p.exists()]
        batch.run(
            run_id,
            self.experiment_of(run),
            name=folder.name,
            status="FINISHED",
            started_at=min(times),
            ended_at=max(times),
        )
        batch.params(run_id, params_of(str(settings), self.oddities))
        add_files(
            batch.files, str(folder), run_id, self.oddities, is_wanted=lambda path: path not in (METRICS, SETTINGS)
        )
        return self._points(metrics, run_id, max(times)) if metrics.exists() else []

    def _points(self, path: Path, run_id: str, at: int) -> list[pa.Table]:
        try:
            table = read_table(path, self.oddities)
        except InvalidInputError as error:
            self.oddities.append(Oddity("file unreadable", str(path), str(error)))
            return []
        n = table.num_rows
        step = pa.array(np.arange(n))
        if "step" in table.column_names and pa.types.is_integer(table.schema.field("step").type):
            given = table.column("step").combine_chunks()
            # Where a row has none, each has its place.
            step = step if given.null_count else given.cast(pa.int64())
        found = []
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            if name == "step" or pa.types.is_null(column.type):
                continue
            if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
                detail = f"column `{name}` isn't numbers and was left out"
                self.oddities.append(Oddity("column left out", str(path), detail))
                continue
            valid = pa.array(np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)))
            columns = [
                pa.repeat(run_id, len(valid)),
                pa.repeat(name, len(valid)),
                step.take(valid),
                column.take(valid).cast(pa.float64()),
                pa.repeat(at, len(valid)),
            ]
            found.append(pa.table(columns, list(POINT_COLUMNS)))
        return found


def _claims(place: str) -> bool:
    if not Path(place).is_dir():
        return False
    return any(entry.name in (METRICS, SETTINGS) for _, entry in files_below(place, []))


CSV_LOGGER = local_kind(
    "csv-logger",
    "a folder of Lightning's CSVLogger",
    needs=f"a folder with `{METRICS}` or `{SETTINGS}` below it.",
    claims=_claims,
    of=CsvLogger,
)
