"""Reading somebody's table from a path: a Parquet or CSV file, or a Delta table's folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mlwarehouse.engines.embedded_commit import reason
from mlwarehouse.errors import InvalidInputError, NotFoundError


def read_table(path: Path) -> tuple[pa.Table, int | None]:
    """Read a table.

    Args:
        path: A ``.parquet`` or ``.csv`` file, or the folder of a Delta table.

    Returns:
        The rows, and the Delta table's version, or None for a file.

    Raises:
        NotFoundError: Nothing is there.
        InvalidInputError: Something else is there, or it can't be read.
    """
    if path.is_dir():
        version = delta_version(path)
        return DeltaTable(path, version=version).to_pyarrow_table(), version
    if not path.exists():
        raise NotFoundError(f"The table `{path}` can't be read: there is no such file or folder.")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path), None
        if path.suffix == ".csv":
            return pyarrow.csv.read_csv(path), None
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"The table `{path}` can't be read: {reason(error)}") from error
    raise InvalidInputError(
        f"The table `{path}` can't be read: it is a .parquet or .csv file, or the folder of a Delta table."
    )


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
