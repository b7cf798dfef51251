"""Which files a table was given since one of its versions: the change feed of an append-only table, from its log."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

from mlwarehouse.errors import SnapshotGoneError
from mlwarehouse.storage import Storage, storage_of
from mlwarehouse.tables import TableSpec


def added_files(folder: Path, after: int | None, until: int) -> list[str] | None:
    """The files that brought new rows into a table.

    Args:
        folder: The table's folder.
        after: The version behind which to look; None for all from the first on.
        until: The last version to look at.

    Returns:
        Absolute paths; None when it can't be told any more: a log entry or a file is gone, or rows were removed.
    """
    try:
        added = _added(storage_of(folder), -1 if after is None else after, until)
    except LookupError:
        return None
    paths = [str(folder / name) for _, name in added]
    return paths if all(Path(p).exists() for p in paths) else None


def added_by_version(place: Storage, spec: TableSpec, after: int, until: int) -> list[tuple[int, str]]:
    """The files that brought new rows into a table, with the versions that they came with.

    Args:
        place: The table's folder.
        spec: The table.
        after: The version behind which to look; -1 for all.
        until: The last version to look at.

    Returns:
        Version and name of each file, oldest version first.

    Raises:
        SnapshotGoneError: It can't be told any more.
    """
    try:
        added = _added(place, after, until)
        here = set(place.names())
        for version, name in added:
            if name not in here:
                raise LookupError(f"a file of version {version} was replaced by maintenance long ago and is removed")
    except LookupError as error:
        raise SnapshotGoneError(
            f"What came into table `{spec.name}` after version {after} can't be told any more: {error.args[0]}. Start "
            "over: take a `snapshot()`, read the state in it, and pass it as `since`."
        ) from error
    return added


def _added(place: Storage, after: int, until: int) -> list[tuple[int, str]]:
    # Compaction adds files, too, and says of itself that it changes no data: those are left out, and what they replaced
    # stays on disk for the retention.
    log = place.child("_delta_log")
    found: list[tuple[int, str]] = []
    for version in range(after + 1, until + 1):
        try:
            lines = log.read(f"{version:020d}.json").decode("utf-8").splitlines()
        except FileNotFoundError:
            raise LookupError(f"its log entry {version} is gone") from None
        for line in lines:
            if '"dataChange":true' not in line:
                continue
            action = json.loads(line)
            if "remove" in action:
                raise LookupError(f"rows were taken out in version {version}, by a purge or a repair")
            if "add" in action:
                found.append((version, unquote(action["add"]["path"])))
    return found
