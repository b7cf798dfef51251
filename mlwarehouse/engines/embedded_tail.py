"""Which files a table was given since one of its versions: the change feed of an append-only table, from its log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from mlwarehouse.engines.embedded_log import entry_name
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.storage import read_many
from mlwarehouse.tables import TableSpec

MOST_ENTRIES = 100_000
"""Log entries that a process remembers; then it starts over."""


def added_files(tables: EmbeddedTables, spec: TableSpec, after: int | None, until: int) -> list[str] | None:
    """The files that brought new rows into a table.

    Compaction adds files, too, and says of itself that it changes no data: those are left out, and what they replaced
    stays there for the retention.

    Args:
        tables: The warehouse's tables.
        spec: The table.
        after: The version behind which to look; None for all from the first on.
        until: The last version to look at.

    Returns:
        Absolute paths of the files, or of copies of them; None when it can't be told any more: a log entry or a file
        is gone, or rows were removed.

    Raises:
        OSError: The storage can't be reached.
    """
    names: list[str] = []
    versions = range(0 if after is None else after + 1, until + 1)
    for found in _remote(tables, spec, versions) if tables.is_remote else map(_local(tables, spec), versions):
        if found is None:
            return None
        names += found
    try:
        paths = tables.here(spec, names)
    except FileNotFoundError:
        return None
    if not tables.is_remote and not all(Path(path).exists() for path in paths):
        return None
    return paths


def _local(tables: EmbeddedTables, spec: TableSpec) -> Callable[[int], list[str] | None]:
    """What looks into an entry of a log in a local folder."""
    log = tables.path(spec) / "_delta_log"

    def look(version: int) -> list[str] | None:
        try:
            return _added((log / entry_name(version)).read_bytes())
        except FileNotFoundError:
            return None

    return look


def _remote(tables: EmbeddedTables, spec: TableSpec, versions: range) -> list[list[str] | None]:
    """What entries of a log in an object store say; an entry never changes, so each is fetched once a process.

    A purge replaces entries by ones that remove rows, so what a process remembers of those before can't mislead it.
    """
    if len(tables.entries) > MOST_ENTRIES:
        tables.entries.clear()
    unknown = [v for v in versions if (spec.name, v) not in tables.entries]
    log = tables.place(spec).child("_delta_log")
    contents = read_many(log, [entry_name(v) for v in unknown])
    for version in unknown:
        content = contents[entry_name(version)]
        found = None if content is None else _added(content)
        if found is None:
            return [None]
        tables.entries[spec.name, version] = found
    return [tables.entries[spec.name, v] for v in versions]


def _added(entry: bytes) -> list[str] | None:
    """The names of the files whose rows an entry brought; None when it took rows away."""
    found: list[str] = []
    for line in entry.splitlines():
        if b'"dataChange":true' not in line:
            continue
        action = json.loads(line)
        if "remove" in action:
            return None
        if "add" in action:
            found.append(unquote(action["add"]["path"]))
    return found
