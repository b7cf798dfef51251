"""Kept pins: snapshots whose files no maintenance takes, one small file each in the warehouse's ``pins`` folder."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.disk import sync_path
from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError, did_you_mean

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


def write_pin(root: Path, pin: Pin) -> None:
    """Keep a pin, durably.

    Raises:
        InvalidInputError: A name that can't be a file's.
        ConflictError: There is one of that name.
        StorageError: It couldn't be written.
    """
    path = _place(root, pin.name)
    text = json.dumps({"snapshot": str(pin.snapshot), "files": {n: list(f) for n, f in pin.files.items()}})
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        sync_path(temporary)
        os.link(temporary, path)
        sync_path(path.parent)
    except FileExistsError:
        raise ConflictError(f"There is a pin `{pin.name}` already; take it off by `unpin`, or choose a name.") from None
    except OSError as error:
        raise StorageError(f"The pin `{pin.name}` couldn't be written to `{path.parent}`: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_pins(root: Path) -> dict[str, Pin]:
    """The kept pins, by name.

    Raises:
        StorageError: One can't be read; what it protects isn't known.
    """
    found = {}
    for path in sorted((root / FOLDER).glob("[!.]*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found[path.stem] = Pin(path.stem, Snapshot.parse(values["snapshot"]), dict(values["files"]))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, InvalidInputError) as error:
            raise StorageError(
                f"The pin `{path}` can't be read ({error}), so no file can be removed; bring it back from a copy, or "
                "remove it."
            ) from error
    return found


def remove_pin(root: Path, name: str) -> None:
    """Take a pin off.

    Raises:
        NotFoundError: There is none of that name.
    """
    path = _place(root, name)
    try:
        path.unlink()
    except FileNotFoundError:
        known = sorted(p.stem for p in (root / FOLDER).glob("[!.]*.json"))
        raise NotFoundError(f"There is no pin `{name}`.{did_you_mean(name, known)}") from None
    sync_path(path.parent)


def pinned_files(root: Path, table: str) -> frozenset[str]:
    """The files of a table that pins protect.

    Raises:
        StorageError: A pin can't be read.
    """
    return frozenset(f for pin in read_pins(root).values() for f in pin.files.get(table, ()))


def _place(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{name[:60]}` can't be a pin's name: use letters, digits, `.`, `_` and `-`, at most 100 of them."
        )
    return root / FOLDER / f"{name}.json"
