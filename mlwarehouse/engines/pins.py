"""Kept snapshots: no maintenance takes their files. Each is a pin, a small file in the warehouse's ``pins`` folder."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.disk import sync_path
from mlwarehouse.entities import KeptSnapshot, Snapshot
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError, did_you_mean

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


def write_pin(root: Path, pin: Pin) -> None:
    """Keep a snapshot, durably.

    Raises:
        InvalidInputError: A name that can't be a file's.
        ConflictError: There is one of that name.
        StorageError: It couldn't be written.
    """
    kept = pin.kept
    path = _place(root, kept.name)
    values = {
        "snapshot": str(kept.snapshot),
        "note": kept.note,
        "kept_at": kept.kept_at,
        "kept_by": kept.kept_by,
        "files": {name: list(files) for name, files in pin.files.items()},
    }
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_text(json.dumps(values), encoding="utf-8")
        sync_path(temporary)
        os.link(temporary, path)
        sync_path(path.parent)
    except FileExistsError:
        raise ConflictError(
            f"A snapshot is kept as `{kept.name}` already; let it go by `release_snapshot`, or choose another name."
        ) from None
    except OSError as error:
        raise StorageError(f"The snapshot `{kept.name}` couldn't be kept in `{path.parent}`: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_pins(root: Path) -> dict[str, Pin]:
    """The kept snapshots, by name.

    Raises:
        StorageError: One can't be read; what it protects isn't known.
    """
    found = {}
    for path in sorted((root / FOLDER).glob("[!.]*.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            kept = KeptSnapshot(
                name=path.stem,
                snapshot=Snapshot.parse(values["snapshot"]),
                note=values.get("note"),
                kept_at=values.get("kept_at"),
                kept_by=values.get("kept_by"),
            )
            found[path.stem] = Pin(kept, dict(values["files"]))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidInputError) as error:
            raise StorageError(
                f"The kept snapshot `{path}` can't be read ({error}), so no file can be removed; bring it back from a "
                "copy, or remove it."
            ) from error
    return found


def find_pin(root: Path, name: str) -> Pin:
    """One kept snapshot.

    Raises:
        InvalidInputError: That can't be a name.
        NotFoundError: There is none of that name.
        StorageError: One can't be read.
    """
    _place(root, name)
    pins = read_pins(root)
    if name not in pins:
        raise NotFoundError(f"There is no kept snapshot `{name}`.{did_you_mean(name, pins)}")
    return pins[name]


def remove_pin(root: Path, name: str) -> None:
    """Let a kept snapshot go.

    Raises:
        NotFoundError: There is none of that name.
    """
    path = _place(root, name)
    try:
        path.unlink()
    except FileNotFoundError:
        known = sorted(p.stem for p in (root / FOLDER).glob("[!.]*.json"))
        raise NotFoundError(f"There is no kept snapshot `{name}`.{did_you_mean(name, known)}") from None
    sync_path(path.parent)


def pinned_files(root: Path, table: str) -> frozenset[str]:
    """The files of a table that kept snapshots protect.

    Raises:
        StorageError: One can't be read.
    """
    return frozenset(f for pin in read_pins(root).values() for f in pin.files.get(table, ()))


def missing_files(root: Path) -> dict[str, list[str]]:
    """Files that kept snapshots need and that aren't there, by the snapshot's name, as ``<table>/<file>``.

    Raises:
        StorageError: One can't be read.
    """
    missing: dict[str, list[str]] = {}
    for name, pin in read_pins(root).items():
        for table, files in pin.files.items():
            there = {p.name for p in (root / "tables" / table).glob("*.parquet")}
            missing.setdefault(name, []).extend(f"{table}/{f}" for f in files if f not in there)
    return {name: files for name, files in missing.items() if files}


def _place(root: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"`{name[:60]}` can't be the name of a kept snapshot: use letters, digits, `.`, `_` and `-`, at most 100 "
            "of them, a letter or digit first."
        )
    return root / FOLDER / f"{name}.json"
