"""Reading somebody's table from a path, in parts: a Parquet or CSV file, or a Delta table's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mlwarehouse.engines.embedded_commit import reason
from mlwarehouse.engines.embedded_schema import maps_columns
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean

_CSV_BLOCK = 8 << 20


@dataclass(frozen=True)
class FileRows:
    """The rows of a table, read as they are used.

    Attributes:
        schema: Its columns.
        version: The Delta table's version, or None for a file.
        n_rows: How many rows there are; None where only reading tells.
    """

    schema: pa.Schema
    version: int | None
    n_rows: int | None
    _path: Path
    _dataset: pyarrow.dataset.Dataset | None

    def batches(
        self, columns: Sequence[str] | None, batch_rows: int, types: Mapping[str, pa.DataType] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read.

        Args:
            columns: Only these; all when None.
            batch_rows: At most so many rows come at once.
            types: What columns of a text file are read as; the others as their first rows look.

        Raises:
            NotFoundError: There is no such column.
            InvalidInputError: It can't be read to its end.
        """
        for name in columns or ():
            if name not in self.schema.names:
                raise NotFoundError(f"`{self._path}` has no column `{name}`.{did_you_mean(name, self.schema.names)}")
        try:
            if self._dataset is None:
                options = pyarrow.csv.ConvertOptions(
                    include_columns=list(columns or ()), column_types=dict(types or {})
                )
                yield from pyarrow.csv.open_csv(
                    self._path, convert_options=options, read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK)
                )
            else:
                # File by file: a dataset's own scanner holds several times as much in memory.
                for fragment in self._dataset.get_fragments():
                    yield from _of_file(fragment, self._dataset.schema, columns, batch_rows)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"The table `{self._path}` can't be read: {reason(error)}") from error


def _of_file(
    fragment: Any, schema: pa.Schema, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of one of a dataset's files; a column that isn't in it has the file's partition's value, or null."""
    wanted = [schema.field(name) for name in (schema.names if columns is None else columns)]
    fixed = pyarrow.dataset.get_partition_keys(fragment.partition_expression)
    with pq.ParquetFile(fragment.path, filesystem=fragment.filesystem) as file:
        there = [f.name for f in wanted if f.name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_rows, columns=there):
            if batch.schema.names == [f.name for f in wanted] and batch.schema.types == [f.type for f in wanted]:
                yield batch
                continue
            arrays = [
                batch.column(f.name).cast(f.type)
                if f.name in there
                else pa.repeat(pa.scalar(fixed.get(f.name), f.type), batch.num_rows)
                for f in wanted
            ]
            yield pa.record_batch(arrays, schema=pa.schema(wanted))


def open_file(path: Path, *, at: int | None = None) -> FileRows:
    """Look at a table; its rows aren't read yet.

    Args:
        path: A ``.parquet`` or ``.csv`` file, or the folder of a Delta table.
        at: The Delta table's version; None means the newest.

    Raises:
        NotFoundError: Nothing is there.
        InvalidInputError: Something else is there, it can't be read, or a file is asked for by version.
    """
    if path.is_dir():
        return _open_delta(path, at)
    if not path.exists():
        raise NotFoundError(f"The table `{path}` can't be read: there is no such file or folder.")
    if at is not None:
        raise InvalidInputError(f"`{path}` is a file and has no version {at}; leave out `at`.")
    try:
        if path.suffix == ".parquet":
            dataset = pyarrow.dataset.dataset(path, format="parquet")
            return FileRows(dataset.schema, None, dataset.count_rows(), path, dataset)
        if path.suffix == ".csv":
            return FileRows(pyarrow.csv.open_csv(path).schema, None, None, path, None)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"The table `{path}` can't be read: {reason(error)}") from error
    raise InvalidInputError(
        f"The table `{path}` can't be read: it is a .parquet or .csv file, or the folder of a Delta table."
    )


def _open_delta(path: Path, at: int | None) -> FileRows:
    newest = delta_version(path)
    if at is not None and (isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= newest):
        raise InvalidInputError(f"`at` is {at!r}; the Delta table `{path}` has versions 0 to {newest}.")
    version = newest if at is None else at
    try:
        table = DeltaTable(path, version=version)
        if maps_columns(table):
            # delta-rs reads it, and gives columns the names that they have in the files, or none.
            raise InvalidInputError(
                f"The Delta table `{path}` maps its columns to other names in its files, which only Spark reads: pass "
                '`engine="spark"`.'
            )
        dataset = table.to_pyarrow_dataset()
        return FileRows(dataset.schema, version, dataset.count_rows(), path, dataset)
    except (DeltaError, pa.ArrowException, OSError) as error:
        raise InvalidInputError(
            f"Version {version} of the Delta table `{path}` can't be read: {reason(error)}"
        ) from error


def delta_version(path: Path) -> int:
    """The newest version of somebody's Delta table.

    Raises:
        NotFoundError: There is no such folder.
        InvalidInputError: It isn't a Delta table.
    """
    if not path.is_dir():
        raise NotFoundError(f"The Delta table `{path}` can't be read: there is no such folder.")
    try:
        return DeltaTable(path).version()
    except DeltaError as error:
        raise InvalidInputError(f"The folder `{path}` can't be read as a Delta table: {reason(error)}") from error
