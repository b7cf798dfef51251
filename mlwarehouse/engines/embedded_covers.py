"""Up to which version of an event table a kept fold goes, and whether that is still a version of the same table."""

from __future__ import annotations

from mlwarehouse.engines.embedded_past import check_of
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.tables import TableSpec

COVERS = "covers"
"""The application id under which a kept fold records, as `mark`, up to where it goes."""


def mark(tables: EmbeddedTables, source: TableSpec, version: int) -> int:
    """A number for one version of an event table, and for no version of one restored from a backup.

    Args:
        tables: The warehouse's tables.
        source: The event table.
        version: The version.

    Returns:
        The version, and in the low 32 bits the check sum of its log entry; 0 in place of that for an entry that has
        been cleaned up.
    """
    return version << 32 | (check_of(tables.place(source), version) or 0)


def covered(tables: EmbeddedTables, source: TableSpec, recorded: int | None) -> int | None:
    """The version of an event table that a kept fold goes up to; None when it is of another table's past.

    Args:
        tables: The warehouse's tables.
        source: The event table.
        recorded: What the fold has under `COVERS`.

    Raises:
        OSError: The storage can't be reached.
    """
    if recorded is None:
        return None
    version = recorded >> 32
    # Of a table in an object store, a process looks once: its handle of the table is of the same past.
    if tables.is_remote and tables.marks.get((source.name, version)) == recorded:
        return version
    found = mark(tables, source, version)
    if found != recorded:
        return None
    if tables.is_remote:
        tables.marks[source.name, version] = found
    return version
