"""Kept snapshots: no maintenance takes their files. Each is a pin, a small file in the warehouse's ``pins`` folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.entities import KeptSnapshot, Snapshot
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError, did_you_mean
from mlwarehouse.storage import Storage, storage_of

FOLDER = "pins"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Pin:
    """What keeps a snapshot.

    Attributes:
        kept: The snapshot, and what is said of it.
        files: The data files of each table at its version, by table.
    """

    kept: KeptSnapshot
    files: Mapping[str, Sequence[str]]


def write_pin(root: Path | Storage, pin: Pin) -> None:
    """Keep a snapshot, durably; the caller is the warehouse's only maintainer, so nobody else writes one.

    Args:
        root: The warehouse's folder.
        pin: What keeps it.

    Raises:
        InvalidInputError: A name that can't be a file's.
        ConflictError: There is one of that name.
        StorageError: It couldn't be written.
    """
    kept = pin.kept
    file = _file_name(kept.name)
    folder = storage_of(root).child(FOLDER)
    values = {
        "snapshot": str(kept.snapshot),
        "note": kept.note,
        "kept_at": kept.kept_at,
        "kept_by": kept.kept_by,
        "files": {name: list(files) for name, files in pin.files.items()},
    }
    try:
        folder.make()
        if folder.exists(file):
            raise ConflictError(
                f"A snapshot is kept as `{kept.name}` already; let it go by `release_snapshot`, or choose another name."
            )
        folder.create(file, json.dumps(values).encode())
    except OSError as error:
        raise StorageError(f"The snapshot `{kept.name}` couldn't be kept in `{folder.uri}`: {error}") from error


def read_pins(root: Path | Storage) -> dict[str, Pin]:
    """The kept snapshots, by name.

    Args:
        root: The warehouse's folder.

    Raises:
        StorageError: One can't be read; what it protects isn't known.
    """
    folder = storage_of(root).child(FOLDER)
    found = {}
    for name in _names(folder):
        try:
            values = json.loads(folder.read(f"{name}.json"))
            kept = KeptSnapshot(
                name=name,
                snapshot=Snapshot.parse(values["snapshot"]),
                note=values.get("note"),
                kept_at=values.get("kept_at"),
                kept_by=values.get("kept_by"),
            )
            found[name] = Pin(kept, dict(values["files"]))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidInputError) as error:
            raise StorageError(
                f"The kept snapshot `{folder.uri}/{name}.json` can't be read ({error}), so no file can be removed; "
                "bring it back from a copy, or remove it."
            ) from error
    return found


def find_pin(root: Path | Storage, name: str) -> Pin:
    """One kept snapshot.

    Raises:
        InvalidInputError: That can't be a name.
        NotFoundError: There is none of that name.
        StorageError: One can't be read.
    """
    _file_name(name)
    pins = read_pins(root)
    if name not in pins:
        raise NotFoundError(f"There is no kept snapshot `{name}`.{did_you_mean(name, pins)}")
    return pins[name]


def remove_pin(root: Path | Storage, name: str) -> None:
    """Let a kept snapshot go.

    Args:
        root: The warehouse's folder.
        name: The pin's name.

    Raises:
        NotFoundError: There is none of that name.
    """
    file = _file_name(name)
    folder = storage_of(root).child(FOLDER)
    if not folder.exists(file):
        raise NotFoundError(f"There is no kept snapshot `{name}`.{did_you_mean(name, _names(folder))}")
    folder.delete(file)
    folder.sync()


def pinned_files(root: Path | Storage, table: str) -> frozenset[str]:
    """The files of a table that kept snapshots protect.

    Raises:
        StorageError: One can't be read.
    """
    return frozenset(f for pin in read_pins(root).values() for f in pin.files.get(table, ()))


def missing_files(root: Path | Storage) -> dict[str, list[str]]:
    """Files that kept snapshots need and that aren't there, by the snapshot's name, as ``<table>/<file>``.

    Raises:
        StorageError: One can't be read.
        OSError: The storage can't be reached.
    """
    tables = storage_of(root).child("tables")
    pins = read_pins(root)
    # Each table is listed once, after the snapshots were read, so that all that they name is there.
    there = {table: set(tables.child(table).names()) for table in sorted({t for p in pins.values() for t in p.files})}
    missing = {
        name: [f"{table}/{f}" for table, files in pin.files.items() for f in files if f not in there[table]]
        for name, pin in pins.items()
    }
    return {name: files for name, files in missing.items() if files}


def _names(folder: Storage) -> list[str]:
    """The names of the snapshots that are kept in a folder."""
    try:
        names = folder.names()
    except OSError as error:
        raise StorageError(
            f"The kept snapshots in `{folder.uri}` can't be listed ({error}), so no file can be removed."
        ) from error
    return [n.removesuffix(".json") for n in names if n.endswith(".json") and not n.startswith(".")]


def _file_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{name[:60]}` can't be the name of a kept snapshot: use letters, digits, `.`, `_` and `-`, at most 100 "
            "of them, a letter or digit first."
        )
    return f"{name}.json"
