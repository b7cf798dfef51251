"""Which files a table was given since one of its versions: the change feed of an append-only table, from its log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import unquote

from mlwarehouse.engines.embedded_log import entry_name
from mlwarehouse.errors import SnapshotGoneError
from mlwarehouse.storage import LocalStorage, Storage, read_many
from mlwarehouse.tables import TableSpec

MOST_ENTRIES = 100_000
"""Log entries of tables in an object store that a process remembers; then it starts over."""

Known = dict[tuple[str, int], list[str]]
"""Files that a log entry of a table in an object store brought, by the table's name and the version."""


def added_names(place: Storage, spec: TableSpec, after: int, until: int, known: Known) -> list[tuple[int, str]]:
    """The files that brought new rows into a table, with the versions that they came with.

    Compaction adds files, too, and says of itself that it changes no data: those are left out, and what they replaced
    stays there for the retention. Whether a file is still there isn't looked at.

    Args:
        place: The table's folder.
        spec: The table.
        after: The version behind which to look; -1 for all.
        until: The last version to look at.
        known: What this process has learnt of entries in an object store, where each is fetched once.

    Returns:
        Version and name of each file, oldest version first.

    Raises:
        LookupError: It can't be told any more; says why.
        OSError: The storage can't be reached.
    """
    versions = range(after + 1, until + 1)
    if isinstance(place, LocalStorage):
        return [(version, name) for version, entry in _read(place, versions) for name in _added(version, entry)]
    # A purge replaces entries by ones that remove rows, so what is remembered of those before can't mislead.
    if len(known) > MOST_ENTRIES:
        known.clear()
    unknown = [v for v in versions if (spec.name, v) not in known]
    contents = read_many(place.child("_delta_log"), [entry_name(v) for v in unknown])
    for version in unknown:
        known[spec.name, version] = _added(version, contents[entry_name(version)])
    return [(version, name) for version in versions for name in known[spec.name, version]]


def added_by_version(place: Storage, spec: TableSpec, after: int, until: int, known: Known) -> list[tuple[int, str]]:
    """As `added_names`, for those who can't start over by themselves.

    Files in a local folder are there; those in an object store are found missing when they are fetched.

    Raises:
        SnapshotGoneError: It can't be told any more.
        OSError: The storage can't be reached.
    """
    try:
        added = added_names(place, spec, after, until, known)
    except LookupError as error:
        raise feed_gone(spec, after, error.args[0]) from error
    if isinstance(place, LocalStorage):
        here = set(place.names())
        for version, name in added:
            if name not in here:
                why = f"a file of version {version} was replaced by maintenance long ago and is removed"
                raise feed_gone(spec, after, why)
    return added


def feed_gone(spec: TableSpec, after: int, why: str) -> SnapshotGoneError:
    """The error about new rows that can't be told any more."""
    return SnapshotGoneError(
        f"What came into table `{spec.name}` after version {after} can't be told any more: {why}. Start over: take a "
        "`snapshot()`, read the state in it, and pass it as `since`."
    )


def _read(place: Storage, versions: range) -> Iterator[tuple[int, bytes | None]]:
    """The entries of a log in a local folder, one after another."""
    log = place.child("_delta_log")
    for version in versions:
        try:
            yield version, log.read(entry_name(version))
        except FileNotFoundError:
            yield version, None


def _added(version: int, entry: bytes | None) -> list[str]:
    """The names of the files whose rows an entry brought."""
    if entry is None:
        raise LookupError(f"its log entry {version} is gone")
    found: list[str] = []
    for line in entry.splitlines():
        if b'"dataChange":true' not in line:
            continue
        action = json.loads(line)
        if "remove" in action:
            raise LookupError(f"rows were taken out in version {version}, by a purge or a repair")
        if "add" in action:
            found.append(unquote(action["add"]["path"]))
    return found
