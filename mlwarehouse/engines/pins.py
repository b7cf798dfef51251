"""Kept pins: snapshots whose files no maintenance takes, one small file each in the warehouse's ``pins`` folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError, did_you_mean
from mlwarehouse.storage import Storage, storage_of

FOLDER = "pins"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Pin:
    """A kept pin.

    Attributes:
        name: Its name.
        snapshot: The table versions.
        files: The data files of each table at its version, by table.
    """

    name: str
    snapshot: Snapshot
    files: Mapping[str, Sequence[str]]


def write_pin(root: Path | Storage, pin: Pin) -> None:
    """Keep a pin, durably; the caller is the warehouse's only maintainer, so nobody else writes one.

    Args:
        root: The warehouse's folder.
        pin: The pin.

    Raises:
        InvalidInputError: A name that can't be a file's.
        ConflictError: There is one of that name.
        StorageError: It couldn't be written.
    """
    name = _file_name(pin.name)
    folder = storage_of(root).child(FOLDER)
    text = json.dumps({"snapshot": str(pin.snapshot), "files": {n: list(f) for n, f in pin.files.items()}})
    try:
        folder.make()
        if folder.exists(name):
            raise ConflictError(f"There is a pin `{pin.name}` already; take it off by `unpin`, or choose a name.")
        folder.create(name, text.encode())
    except OSError as error:
        raise StorageError(f"The pin `{pin.name}` couldn't be written to `{folder.uri}`: {error}") from error


def read_pins(root: Path | Storage) -> dict[str, Pin]:
    """The kept pins, by name.

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
            found[name] = Pin(name, Snapshot.parse(values["snapshot"]), dict(values["files"]))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, InvalidInputError) as error:
            raise StorageError(
                f"The pin `{folder.uri}/{name}.json` can't be read ({error}), so no file can be removed; bring it back "
                "from a copy, or remove it."
            ) from error
    return found


def remove_pin(root: Path | Storage, name: str) -> None:
    """Take a pin off.

    Args:
        root: The warehouse's folder.
        name: The pin's name.

    Raises:
        NotFoundError: There is none of that name.
    """
    file = _file_name(name)
    folder = storage_of(root).child(FOLDER)
    if not folder.exists(file):
        raise NotFoundError(f"There is no pin `{name}`.{did_you_mean(name, _names(folder))}")
    folder.delete(file)
    folder.sync()


def pinned_files(root: Path | Storage, table: str) -> frozenset[str]:
    """The files of a table that pins protect.

    Raises:
        StorageError: A pin can't be read.
    """
    return frozenset(f for pin in read_pins(root).values() for f in pin.files.get(table, ()))


def _names(folder: Storage) -> list[str]:
    """The names of the pins in their folder."""
    try:
        names = folder.names()
    except OSError as error:
        raise StorageError(
            f"The pins in `{folder.uri}` can't be listed ({error}), so no file can be removed."
        ) from error
    return [n.removesuffix(".json") for n in names if n.endswith(".json") and not n.startswith(".")]


def _file_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{name[:60]}` can't be a pin's name: use letters, digits, `.`, `_` and `-`, at most 100 of them."
        )
    return f"{name}.json"
