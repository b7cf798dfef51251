"""A Delta table's log, read as the files that it is: for those who look after tables, and also see damaged ones.

delta-rs reads a log wholly or not at all, and takes an empty entry for a commit of nothing. Here each file is looked
at by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

Action = Mapping[str, Any]
"""One line of a log entry: what it is (``add``, ``remove``, ``commitInfo``, ...) and what that holds."""

LAST_CHECKPOINT = "_last_checkpoint"


@dataclass(frozen=True)
class DataFile:
    """A data file, as the log has it.

    Attributes:
        path: Relative to the table's folder.
        size: Bytes.
        n_rows: Rows; 0 where the log doesn't say.
        stats: Delta's statistics.
        added_at: When it was written, milliseconds since the epoch.
    """

    path: str
    size: int
    n_rows: int
    stats: Mapping[str, Any]
    added_at: int


@dataclass
class LogState:
    """What a log says up to its newest version.

    Attributes:
        version: The newest version.
        files: The files that are part of the table, by path.
        removed: Files that were part of it: when they were removed, milliseconds since the epoch, by path.
        committed_at: The time in the newest entry, milliseconds since the epoch; 0 where none says one.
    """

    version: int = -1
    files: dict[str, DataFile] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    committed_at: int = 0


def log_entries(folder: Path) -> dict[int, Path]:
    """The entries of a table's log that are there, by version."""
    return {
        int(p.stem): p for p in sorted((folder / "_delta_log").glob("*.json")) if len(p.stem) == 20 and p.stem.isdigit()
    }


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints of a table's log that are there, by version."""
    found = sorted((folder / "_delta_log").glob("*.checkpoint.parquet"))
    return {int(p.name.split(".")[0]): p for p in found}


def entry_path(folder: Path, version: int) -> Path:
    """Where a version's entry is."""
    return folder / "_delta_log" / f"{version:020d}.json"


def read_entry(path: Path) -> list[Action]:
    """The actions of an entry; see `actions_of`."""
    return actions_of(path.read_bytes())


def actions_of(content: bytes) -> list[Action]:
    """The actions of an entry that was read.

    Raises:
        ValueError: It is empty, or a line isn't whole.
    """
    actions: list[Action] = []
    for line in content.splitlines():
        if line.strip():
            action = json.loads(line)
            if not isinstance(action, dict):
                raise ValueError("a line isn't an action")
            actions.append(action)
    if not actions:
        raise ValueError("it holds no action")
    return actions


def read_checkpoint(path: Path) -> list[Action]:
    """The actions of a checkpoint.

    Raises:
        ValueError: It isn't a whole Parquet file, or lacks what each checkpoint holds.
    """
    try:
        rows = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error
    actions: list[Action] = [{k: v for k, v in row.items() if v is not None} for row in rows.to_pylist()]
    if not any("metaData" in a for a in actions) or not any("protocol" in a for a in actions):
        raise ValueError("it has no metadata or no protocol")
    return actions


def replay(folder: Path, *, ignoring: frozenset[str] = frozenset()) -> LogState:
    """What the log says, from its newest readable checkpoint on.

    Args:
        folder: The table's folder.
        ignoring: Names of checkpoints that aren't to be used.

    Raises:
        ValueError: An entry that is needed is missing or can't be read; names it.
    """
    state = LogState()
    for version, path in sorted(checkpoints(folder).items(), reverse=True):
        if path.name in ignoring:
            continue
        try:
            actions = read_checkpoint(path)
        except (ValueError, FileNotFoundError):
            continue
        state.version = version
        _apply(state, actions)
        break
    entries = log_entries(folder)
    for version in range(state.version + 1, max(entries, default=state.version) + 1):
        if version not in entries:
            raise ValueError(f"the log has no entry {version}")
        try:
            _apply(state, read_entry(entries[version]))
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"the log's entry {version} can't be read: {error}") from error
        state.version = version
    if state.version < 0:
        raise ValueError("the log has neither an entry nor a readable checkpoint")
    return state


def mentioned(folder: Path) -> set[str]:
    """The paths of all data files that some readable file of the log names."""
    found: set[str] = set()
    for path in checkpoints(folder).values():
        try:
            found |= _named(read_checkpoint(path))
        except (ValueError, FileNotFoundError):
            continue
    for path in log_entries(folder).values():
        try:
            found |= _named(read_entry(path))
        except (ValueError, FileNotFoundError):
            continue
    return found


def data_file(add: Mapping[str, Any]) -> DataFile:
    """The file of an ``add`` action."""
    stats = json.loads(add.get("stats") or "{}")
    return DataFile(
        unquote(add["path"]), int(add["size"]), int(stats.get("numRecords", 0)), stats, int(add["modificationTime"])
    )


def _named(actions: list[Action]) -> set[str]:
    return {unquote(a[kind]["path"]) for a in actions for kind in ("add", "remove") if kind in a}


def _apply(state: LogState, actions: list[Action]) -> None:
    # Of one entry, removals first: a file can't be added and removed in it.
    for action in actions:
        if "remove" in action:
            path = unquote(action["remove"]["path"])
            state.files.pop(path, None)
            state.removed[path] = int(action["remove"].get("deletionTimestamp") or 0)
        if "commitInfo" in action:
            state.committed_at = int(action["commitInfo"].get("timestamp") or state.committed_at)
    for action in actions:
        if "add" in action:
            file = data_file(action["add"])
            state.files[file.path] = file
            state.removed.pop(file.path, None)
