"""Older versions of a table: whether they are what somebody meant, and why they can't be read any more."""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections.abc import Mapping

from mlwarehouse.engines.embedded_log import actions_of, entry_name, entry_names
from mlwarehouse.errors import SnapshotGoneError
from mlwarehouse.storage import Storage, each
from mlwarehouse.tables import TableSpec

VACUUMED = "_vacuumed.json"
"""The file in a table's folder that says when files of older versions were last removed."""

_WHAT_TO_DO = (
    "Ask `as_of` a time instead, which needs no older version; and keep what shall stay by `snapshot(keep=True)`."
)


def check_of(place: Storage, version: int) -> int | None:
    """The check sum of a version's log entry: the same number in a table of another past has another one.

    Args:
        place: The table's folder.
        version: The version.

    Returns:
        Its CRC-32; None where the entry isn't there, or not any more.
    """
    try:
        return zlib.crc32(place.child("_delta_log").read(entry_name(version)))
    except FileNotFoundError:
        return None


def note_vacuum(place: Storage) -> None:
    """Write down that files of older versions are about to be removed from a table's folder."""
    place.write(VACUUMED, json.dumps({"at": dt.datetime.now(dt.UTC).isoformat()}).encode())


def gone(place: Storage, spec: TableSpec, version: int, newest: int, why: str) -> SnapshotGoneError:
    """The error about a version that can't be read.

    Args:
        place: The table's folder.
        spec: The table.
        version: The version.
        newest: The newest version there is.
        why: What was found, for a reason that isn't known better.
    """
    said = f"Table `{spec.name}` can't be read at version {version}"
    if version > newest:
        return SnapshotGoneError(
            f"{said}: its newest is {newest}, so this copy of the warehouse is older than what was asked for. Bring it "
            "up to date, or ask the original."
        )
    purge = _purge_behind(place, version)
    if purge is not None:
        when, last = purge
        return SnapshotGoneError(
            f"{said}: a purge on {when} deleted the table's past up to version {last} for privacy, also that of "
            "kept snapshots. Ask `as_of` a time instead: it tells what wasn't purged."
        )
    vacuumed = _vacuumed_at(place)
    if vacuumed is not None:
        why = f"{why}; maintenance last removed files of older versions on {vacuumed}"
    return SnapshotGoneError(f"{said}; its newest is {newest}: {why}. {_WHAT_TO_DO}")


def _vacuumed_at(place: Storage) -> str | None:
    try:
        at = dt.datetime.fromisoformat(json.loads(place.read(VACUUMED))["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _purge_behind(place: Storage, version: int) -> tuple[str, int] | None:
    """When the last purge behind a version ended, and at which version, as far as the log still says."""
    log = place.child("_delta_log")

    def look(name: str) -> str | None:
        try:
            infos = [a["commitInfo"] for a in actions_of(log.read(name)) if isinstance(a.get("commitInfo"), Mapping)]
        except (OSError, ValueError):
            return None
        ended = [int(info.get("timestamp") or 0) for info in infos if info.get("purpose") == "purge"]
        return f"{dt.datetime.fromtimestamp(ended[-1] / 1000, dt.UTC):%Y-%m-%d %H:%M} UTC" if ended else None

    try:
        names = {number: name for number, name in entry_names(log.names()).items() if number > version}
    except OSError:
        # Why a version is gone is said as well as can be.
        return None
    said = zip(each(log, look, names.values()), names, strict=True)
    return max(((when, number) for when, number in said if when is not None), key=lambda one: one[1], default=None)
