"""Pieces of DuckDB's SQL over the files of tables, for all who read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlwarehouse.tables import TableSpec

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "integer": "INTEGER",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}


COMMIT_VERSION = "_commit_version"
"""The column with the version that a row came with, named as in Delta's change feed."""


def name(text: str) -> str:
    """A name, whatever it consists of."""
    return '"' + text.replace('"', '""') + '"'


def file_list(files: Sequence[str]) -> str:
    """Files as a list."""
    return "[" + ", ".join("'" + f.replace("'", "''") + "'" for f in files) + "]"


def columns_of(spec: TableSpec) -> str:
    """The columns of a table, in order."""
    return ", ".join(name(c.name) for c in spec.all_columns)


def no_rows(spec: TableSpec) -> str:
    """A query with a table's columns and no rows."""
    nulls = ", ".join(f"CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS {name(c.name)}" for c in spec.all_columns)
    return f"SELECT {nulls} WHERE false"


def rows_of_files(spec: TableSpec, files: Sequence[str]) -> str:
    """A query for the rows of a table's files, with the columns that this release knows.

    Args:
        spec: The table.
        files: Absolute paths.
    """
    if not files:
        return no_rows(spec)
    source = f"read_parquet({file_list(files)})"
    if spec.version > 1:
        # Files older than a column lack it, maybe all of them; only then is each file's own schema looked at.
        by_name = f"SELECT * FROM read_parquet({file_list(files)}, union_by_name = true)"
        source = f"({no_rows(spec)} UNION ALL BY NAME {by_name})"
    return f"SELECT {columns_of(spec)} FROM {source}"


def rows_by_version(spec: TableSpec, files: Sequence[tuple[int, str]]) -> str:
    """A query for the rows of a table's files, as `rows_of_files`, with the version that each came with.

    Args:
        spec: The table.
        files: Version and absolute path of each.
    """
    if not files:
        return f"SELECT *, CAST(NULL AS BIGINT) AS {COMMIT_VERSION} FROM ({no_rows(spec)})"
    paths = file_list([path for _, path in files])
    source = f"read_parquet({paths}, filename = 'mlw_file')"
    if spec.version > 1:
        by_name = f"SELECT * FROM read_parquet({paths}, filename = 'mlw_file', union_by_name = true)"
        source = f"({no_rows(spec)} UNION ALL BY NAME {by_name})"
    versions = "[" + ", ".join(str(version) for version, _ in files) + "]"
    return (
        f"SELECT {columns_of(spec)}, {COMMIT_VERSION} FROM {source} INNER JOIN "
        f"(SELECT unnest({paths}) AS mlw_path, unnest({versions}) AS {COMMIT_VERSION}) ON mlw_file = mlw_path"
    )


_OURS = re.compile(r"\b(?:rows_of_|files_of_)?mlw_(?:table|view)_(?=\w)")


def said(error: Exception) -> str:
    """DuckDB's words, on one line, with the names that it holds for possible; in them, tables have our names."""
    lines = _OURS.sub("", str(error).strip()).splitlines()
    near = next((line.partition(":")[2] for line in lines if line.startswith("Candidate bindings:")), "")
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(re.findall(r'"([^"]+)"', near)))
    return f"{lines[0]}{f' Did you mean {names}?' if names else ''}"
