"""A warehouse in one folder of Parquet files: written, and opened again to be merged.

::

    export.json       what makes the folder an export: its format, and how many rows each table has
    <table>.parquet   the rows of an event table, as they are
    views/            what they come to: runs, params, model versions and so on, for whoever reads Parquet
    artifacts/        the bytes of artifacts, by digest
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from mlwarehouse._version import __version__
from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.engines.base import Reading, WatchedEngine
from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.imports.base import Oddity
from mlwarehouse.merging.files import Files
from mlwarehouse.merging.other import Other
from mlwarehouse.merging.rows import CARRIED, in_schema
from mlwarehouse.tables import TABLES, TableSpec

if TYPE_CHECKING:
    from mlwarehouse.engines.embedded import EmbeddedEngine

FORMAT = 1
"""The layout above; a later release that changes it raises this, and earlier ones refuse the folder."""

MARKER = "export.json"

VIEWS = (
    "experiments",
    "experiment_tags",
    "runs",
    "params",
    "tags",
    "metric_summaries",
    "inputs",
    "artifacts",
    "registered_models",
    "model_versions",
    "model_aliases",
    "model_tags",
)
"""What is written besides the tables."""

ROWS_AT_ONCE = 500_000
"""Rows of an export that are committed together when it is opened."""


@dataclass(frozen=True)
class ParquetExport:
    """What an export wrote.

    Attributes:
        folder: The folder.
        rows: Rows by table.
        files: Artifacts' files.
        oddities: Artifacts that couldn't be read, and were left out.
    """

    folder: str
    rows: dict[str, int]
    files: int
    oddities: list[Oddity]

    def __str__(self) -> str:
        lines = [f"{self.folder}: {sum(self.rows.values()):,} rows, {self.files:,} files"]
        lines += [f"  {name}: {n:,} rows" for name, n in self.rows.items() if n]
        lines += [f"  {o.kind}, {o.place}: {o.detail}" for o in self.oddities]
        return "\n".join(lines)


def is_parquet_export(folder: str | Path) -> bool:
    """Whether a place is a folder that `export_parquet` wrote."""
    return Path(folder, MARKER).is_file()


def export_parquet(
    folder: Path,
    *,
    engine: WatchedEngine,
    store: ArtifactStore,
    warehouse_id: str,
    reading: Reading,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ParquetExport:
    """Write a warehouse into a folder.

    The folder appears by one rename when all is written.

    Args:
        folder: Where to; nothing may be there.
        engine: The warehouse's engine.
        store: Its artifacts.
        warehouse_id: Its id.
        reading: The state that is written, of versions only.
        on_progress: Told each table that is done, and the how-manieth of how many it is.

    Raises:
        InvalidInputError: Something is there.
        StorageError: It couldn't be written; nothing is there.
    """
    folder = folder.absolute()
    if folder.exists():
        raise InvalidInputError(f"`{folder}` is there already; name a folder that isn't, for the export to make.")
    making = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(making, ignore_errors=True)
    try:
        (making / "views").mkdir(parents=True)
        rows = {}
        for n, spec in enumerate(CARRIED, start=1):
            rows[spec.name] = _write(
                engine, f"SELECT * FROM {spec.name}", reading, making / f"{spec.name}.parquet", spec
            )
            if on_progress is not None:
                on_progress(spec.name, n, len(CARRIED))
        folded = engine.with_kept(reading)
        for name in VIEWS:
            _write(engine, f"SELECT * FROM {name}", folded, making / "views" / f"{name}.parquet")
        files = Files(store, ArtifactStore(making / "artifacts"))
        for batch in engine.batches("SELECT DISTINCT run_id, path, digest FROM artifact_events", reading=reading):
            files.stored(pa.table(batch))
        written = {
            "format": FORMAT,
            "version": __version__,
            "warehouse_id": warehouse_id,
            "written_at": dt.datetime.now(dt.UTC).isoformat(),
            "rows": rows,
        }
        (making / MARKER).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        making.rename(folder)
    except OSError as error:
        raise StorageError(f"The export couldn't be written to `{folder}`: {error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return ParquetExport(str(folder), rows, files.n_copied, files.oddities)


def _write(engine: WatchedEngine, sql: str, reading: Reading, path: Path, spec: TableSpec | None = None) -> int:
    n = 0
    with engine.batches(sql, reading=reading) as batches:
        schema = batches.schema if spec is None else spec.arrow_schema()
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in batches:
                n += batch.num_rows
                rows = pa.Table.from_batches([batch])
                writer.write_table(rows if spec is None else in_schema(spec, rows))
    return n


def open_parquet_export(folder: Path, scratch: EmbeddedEngine) -> Other:
    """Open an export as a warehouse to be merged.

    Args:
        folder: The export.
        scratch: An engine over an empty folder, which gets the export's rows.

    Raises:
        InvalidInputError: It isn't an export, is of a later release, or lacks rows.
        StorageError: The rows can't be put there.
    """
    try:
        written = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if written["format"] > FORMAT:
            raise InvalidInputError(
                f"The export `{folder}` was written by mlwarehouse {written['version']}, which this release can't read."
            )
        scratch.create_tables(TABLES)
        for spec in CARRIED:
            path = folder / f"{spec.name}.parquet"
            n = 0
            for rows in _parts(path) if spec.name in written["rows"] else ():
                known = [name for name in spec.arrow_schema().names if name in rows.column_names]
                n += scratch.append(spec, _completed(spec, rows.select(known))).n_rows
            if n != written["rows"].get(spec.name, 0):
                raise InvalidInputError(f"`{path}` has {n:,} rows, and {written['rows'][spec.name]:,} were written.")
        versions = {spec.name: scratch.version(spec) for spec in TABLES}
        store = ArtifactStore(folder / "artifacts")
        return Other(str(folder), str(written["warehouse_id"]), scratch, store, Reading(versions=versions))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise InvalidInputError(f"`{folder}` can't be read as an export of a warehouse: {error}") from error


def _parts(path: Path) -> Iterator[pa.Table]:
    for batch in parquet.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
        yield pa.Table.from_batches([batch])


def _completed(spec: TableSpec, rows: pa.Table) -> pa.Table:
    """Rows with all columns: an earlier release wrote none of those that came later."""
    for field in spec.arrow_schema():
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return in_schema(spec, rows)
