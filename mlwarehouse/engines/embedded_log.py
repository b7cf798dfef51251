"""A Delta table's log, read as the files that it is: for those who look after tables, and also see damaged ones.

delta-rs reads a log wholly or not at all, and takes an empty entry for a commit of nothing. Here each file is looked
at by itself.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from mlwarehouse.storage import FileInfo, Storage, each, read_many, storage_of

Action = Mapping[str, Any]
"""One line of a log entry: what it is (``add``, ``remove``, ``commitInfo``, ...) and what that holds."""

LAST_CHECKPOINT = "_last_checkpoint"

MOST_NAMED = 200
"""So many entries behind what is known are looked for one by one; to read the log is then less work."""


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


def checkpoint_name(version: int) -> str:
    """The name of a version's checkpoint, of the kind in one file, which is all that is written here."""
    return f"{version:020d}.checkpoint.parquet"


def entry_name(version: int) -> str:
    """The name of a version's entry within the log's folder."""
    return f"{version:020d}.json"


def entry_path(folder: Path, version: int) -> Path:
    """Where a version's entry is, in a local folder."""
    return folder / "_delta_log" / entry_name(version)


def newest_by_name(folder: Path, known: int | None = None) -> int | None:
    """The newest version of a table in a local folder, found by the names of entries, one after the other.

    Args:
        folder: The table's folder.
        known: A version that it has; None to begin at the last checkpoint.

    Returns:
        None where it can't be told like this, and the log has to be read: a file isn't what it should be.
    """
    if known is None:
        known = 0
        with contextlib.suppress(FileNotFoundError):
            try:
                known = int(json.loads((folder / "_delta_log" / LAST_CHECKPOINT).read_bytes())["version"])
            except (ValueError, KeyError, TypeError):
                return None
        if not entry_path(folder, known).exists():
            return None
    for version in range(known, known + MOST_NAMED):
        if not entry_path(folder, version + 1).exists():
            # A log with an entry missing is a damaged one.
            return None if entry_path(folder, version + 2).exists() else version
    return None


def log_entries(folder: Path) -> dict[int, Path]:
    """The entries of the log in a local folder that are there, by version."""
    return {v: folder / "_delta_log" / name for v, name in entry_names(_log_files(folder)).items()}


def checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints of the log in a local folder that are there, by version."""
    return {v: folder / "_delta_log" / name for v, name in checkpoint_names(_log_files(folder)).items()}


def entry_names(names: Iterable[str]) -> dict[int, str]:
    """Which of the names in a log's folder are entries', by version."""
    found = {n.removesuffix(".json"): n for n in sorted(names) if n.endswith(".json")}
    return {int(stem): name for stem, name in found.items() if len(stem) == 20 and stem.isdigit()}


def checkpoint_names(names: Iterable[str]) -> dict[int, str]:
    """Which of the names in a log's folder are checkpoints', by version."""
    return {int(n.split(".")[0]): n for n in sorted(names) if n.endswith(".checkpoint.parquet") and n[0] != "."}


def read_entry(path: Path) -> list[Action]:
    """The actions of an entry in a local folder; see `actions_of`."""
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
    """The actions of a checkpoint in a local folder; see `parse_checkpoint`."""
    return parse_checkpoint(path.read_bytes())


def parse_checkpoint(content: bytes) -> list[Action]:
    """The actions of a checkpoint.

    Raises:
        ValueError: It isn't a whole Parquet file, or lacks what each checkpoint holds.
    """
    try:
        rows = pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error
    actions: list[Action] = [{k: v for k, v in row.items() if v is not None} for row in rows.to_pylist()]
    if not any("metaData" in a for a in actions) or not any("protocol" in a for a in actions):
        raise ValueError("it has no metadata or no protocol")
    return actions


def replay(place: Path | Storage, *, ignoring: frozenset[str] = frozenset()) -> LogState:
    """What the log says, from its newest readable checkpoint on.

    Args:
        place: The table's folder.
        ignoring: Names of checkpoints that aren't to be used.

    Raises:
        ValueError: An entry that is needed is missing or can't be read; names it.
        OSError: The storage can't be reached.
    """
    log = storage_of(place).child("_delta_log")
    there = log.files()
    state = LogState()
    for version, name in sorted(checkpoint_names(there).items(), reverse=True):
        if name in ignoring:
            continue
        try:
            actions = parse_checkpoint(log.read(name))
        except (ValueError, FileNotFoundError):
            continue
        state.version = version
        _apply(state, actions)
        break
    entries = entry_names(there)
    wanted = range(state.version + 1, max(entries, default=state.version) + 1)
    # Also one that the listing lacks: it may have been added meanwhile, as the next one was.
    contents = read_many(log, [entry_name(v) for v in wanted])
    for version in wanted:
        content = contents[entry_name(version)]
        if content is None:
            raise ValueError(f"the log has no entry {version}")
        try:
            _apply(state, actions_of(content))
        except ValueError as error:
            raise ValueError(f"the log's entry {version} can't be read: {error}") from error
        state.version = version
    if state.version < 0:
        raise ValueError("the log has neither an entry nor a readable checkpoint")
    return state


def mentioned(place: Path | Storage) -> set[str]:
    """The paths of all data files that some readable file of the log names."""
    log = storage_of(place).child("_delta_log")
    there = log.files()

    def look(name: str) -> set[str]:
        try:
            content = log.read(name)
            return _named(actions_of(content) if name.endswith(".json") else parse_checkpoint(content))
        except (ValueError, FileNotFoundError):
            return set()

    names = [*checkpoint_names(there).values(), *entry_names(there).values()]
    return set().union(*each(log, look, names))


def data_file(add: Mapping[str, Any]) -> DataFile:
    """The file of an ``add`` action."""
    stats = json.loads(add.get("stats") or "{}")
    return DataFile(
        unquote(add["path"]), int(add["size"]), int(stats.get("numRecords", 0)), stats, int(add["modificationTime"])
    )


def _log_files(folder: Path) -> dict[str, FileInfo]:
    return storage_of(folder).child("_delta_log").files()


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
