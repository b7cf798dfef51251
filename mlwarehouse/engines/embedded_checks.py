"""Finding damage in a table's folder: in its log, its checkpoints and its data files.

Every damage has a kind, one of `KINDS`; `embedded_repair` mends those that can be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlwarehouse.engines.embedded_log import (
    LAST_CHECKPOINT,
    Action,
    DataFile,
    LogState,
    checkpoints,
    log_entries,
    mentioned,
    read_checkpoint,
    read_entry,
    replay,
)
from mlwarehouse.engines.embedded_stats import column_stats
from mlwarehouse.tables import TABLES_BY_NAME, TableSpec

ORPHAN_AGE_S = 24 * 3600.0
"""A file that no log entry names may be about to be committed; older than this it won't be."""

KINDS: dict[str, str] = {
    "empty entry": "A log entry without content: delta-rs takes it for a commit of nothing, and its rows are gone.",
    "torn entry": "A log entry that ends in the middle: nobody can read the table.",
    "missing entry": "A version without a log entry between others: nobody can read the table.",
    "bad checkpoint": "A checkpoint that can't be read.",
    "bad last checkpoint": "`_last_checkpoint` can't be read, or names another checkpoint than the newest.",
    "missing file": "A data file of the table isn't there.",
    "changed file": "A data file has another size, other rows or other bytes than when it was committed.",
    "orphans": "Data files older than a day that no log entry names.",
    "foreign commit": "A commit that isn't this package's: it may hold anything.",
    "foreign feature": "Delta features that not every reader understands.",
    "doubled rows": "Rows that are in the table twice, or two registry events with one number.",
    "torn segment": "A spool segment with records behind a damaged one.",
    "lost plan": "The spool's plan, id or lock is gone or damaged.",
    "lost rows": "Logged rows that couldn't be kept.",
}
"""The kinds of damage."""


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        kind: One of `KINDS`.
        where: The table, or ``spool``.
        what: What was found, as a sentence.
        can_mend: Whether `doctor --repair` can do something about it.
        version: The log's version that it concerns, or None.
        path: The file that it concerns, or None.
    """

    kind: str
    where: str
    what: str
    can_mend: bool = True
    version: int | None = None
    path: str | None = None


def table_damages(folder: Path, spec: TableSpec, *, reader: DeepReader | None = None) -> list[Damage]:
    """Look for damage in a table's folder; what doesn't depend on this package's reading of rows.

    Args:
        folder: The table's folder.
        spec: The table.
        reader: Also read every data file by it, and the log entries that a checkpoint has made unnecessary.

    Returns:
        The damages, those of the log first.
    """
    if not (folder / "_delta_log").is_dir():
        return []
    bad = dict(_bad_checkpoints(folder))
    damages = [
        Damage(
            "bad checkpoint",
            spec.name,
            f"Table `{spec.name}`: the checkpoint of version {version} can't be read ({why}).",
            version=version,
        )
        for version, why in bad.items()
    ]
    good = newest_checkpoint(folder)
    log = list(_log_damages(folder, spec, good, deep=reader is not None))
    damages = log + damages + list(_last_checkpoint(folder, spec))
    try:
        state = replay(folder)
    except ValueError:
        return damages
    return [*damages, *_file_damages(folder, spec, state, reader), *_orphan_damages(folder, spec, state)]


def newest_checkpoint(folder: Path) -> int:
    """The version of the newest checkpoint that can be read; -1 where there is none."""
    bad = dict(_bad_checkpoints(folder))
    return max((v for v in checkpoints(folder) if v not in bad), default=-1)


def orphans(folder: Path, state: LogState) -> list[Path]:
    """The data files in a table's folder that no file of its log names."""
    there = {p.name: p for p in folder.glob("*.parquet")}
    unknown = there.keys() - state.files.keys() - state.removed.keys()
    # Older entries are read only where they may matter.
    return [there[name] for name in sorted(unknown - mentioned(folder))] if unknown else []


def is_past(path: Path, age_s: float, state: LogState) -> bool:
    """Whether a file is older than an age, by a clock that can be believed: one that isn't behind the log's."""
    now = time.time()
    if now * 1000 < state.committed_at:
        return False
    try:
        return now - path.stat().st_mtime > age_s
    except FileNotFoundError:
        return False


def _bad_checkpoints(folder: Path) -> Iterator[tuple[int, str]]:
    for version, path in checkpoints(folder).items():
        try:
            read_checkpoint(path)
        except ValueError as error:
            yield version, str(error)
        except FileNotFoundError:
            continue


def _log_damages(folder: Path, spec: TableSpec, checkpoint: int, *, deep: bool) -> Iterator[Damage]:
    entries = log_entries(folder)
    first = min(entries, default=0)
    if checkpoint < 0:
        # Behind a checkpoint, also one that can't be read, older entries are cleaned up.
        first = 0 if not checkpoints(folder) else first
    elif first > checkpoint:
        first = checkpoint + 1
    for version in range(first, max(entries, default=-1) + 1):
        if version not in entries:
            what = f"Table `{spec.name}`: the log has no entry {version}, and later ones."
            # The first entry says what the table is.
            yield Damage("missing entry", spec.name, what, can_mend=version > 0, version=version)
            continue
        try:
            if not entries[version].stat().st_size:
                what = f"Table `{spec.name}`: the log's entry {version} is empty, so the rows of that commit are gone."
                yield Damage("empty entry", spec.name, what, version=version)
                continue
            if version <= checkpoint and not deep:
                continue
            actions = read_entry(entries[version])
        except FileNotFoundError:
            continue
        except ValueError as error:
            what = f"Table `{spec.name}`: the log's entry {version} is damaged ({error})."
            yield Damage("torn entry", spec.name, what, version=version)
            continue
        foreign = _foreign(version, actions)
        if foreign:
            what = (
                f"Table `{spec.name}`: the log's entry {version} isn't this package's ({foreign}); compare the table "
                f"with its version {version - 1}."
            )
            yield Damage("foreign commit", spec.name, what, can_mend=False, version=version)


def _foreign(version: int, actions: list[Action]) -> str | None:
    """What is foreign in an entry; None when it is ours."""
    info: Any = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    if "mlwarehouse" in info or (version == 0 and info.get("operation") == "CREATE TABLE"):
        return None
    kinds = {kind for a in actions for kind in a}
    names = {"add": "files added", "remove": "files removed", "metaData": "metadata", "protocol": "protocol"}
    said = ", ".join(text for kind, text in names.items() if kind in kinds) or "nothing changed"
    operation = info.get("operation", "an operation without a name")
    # What brings a table up to a later schema version; a column that isn't declared is refused when it is written.
    if operation == "ADD COLUMN" and kinds == {"commitInfo", "metaData"}:
        return None
    return f"{operation}: {said}"


def _last_checkpoint(folder: Path, spec: TableSpec) -> Iterator[Damage]:
    path = folder / "_delta_log" / LAST_CHECKPOINT
    there = checkpoints(folder)
    try:
        named = int(json.loads(path.read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        what = f"Table `{spec.name}`: `{LAST_CHECKPOINT}` can't be read ({error})."
        yield Damage("bad last checkpoint", spec.name, what)
        return
    if named != max(there, default=-1):
        what = (
            f"Table `{spec.name}`: `{LAST_CHECKPOINT}` names version {named}, and the newest checkpoint is "
            f"{f'of version {max(there)}' if there else 'none'}."
        )
        yield Damage("bad last checkpoint", spec.name, what)


def _file_damages(folder: Path, spec: TableSpec, state: LogState, reader: DeepReader | None) -> Iterator[Damage]:
    for file in state.files.values():
        path = folder / file.path
        size = _size(path)
        if size is None:
            what = f"Table `{spec.name}`: the data file `{file.path}` with {file.n_rows} rows isn't there."
            yield Damage("missing file", spec.name, what, path=file.path)
            continue
        why = f"it has {size} bytes instead of {file.size}" if size != file.size else None
        if why is None and reader is not None:
            why = reader.why(path, file, spec)
        if why:
            what = f"Table `{spec.name}`: the data file `{file.path}` with {file.n_rows} rows was changed: {why}."
            yield Damage("changed file", spec.name, what, path=file.path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


class DeepReader:
    """Reads data files in a process of its own, for a damaged footer may crash Arrow itself. A context manager."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> DeepReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def why(self, path: Path, file: DataFile, spec: TableSpec) -> str | None:
        """Why a data file isn't what was committed; None when it is.

        Args:
            path: Where it is.
            file: What the log says of it.
            spec: Its table, one of `TABLES`.
        """
        if self._process is None:
            program = [sys.executable, "-m", "mlwarehouse.engines.embedded_checks"]
            self._process = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps({"path": str(path), "table": spec.name, "file": asdict(file)}), file=stdin, flush=True)
        answer = stdout.readline()
        if not answer:
            self._end()
            return "reading it crashes the reader"
        why: str | None = json.loads(answer)
        return why

    def _end(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None


def main() -> None:
    """Be the process that reads: a file's description a line from standard input, an answer a line to output."""
    for line in sys.stdin:
        task = json.loads(line)
        why = changed(Path(task["path"]), DataFile(**task["file"]), TABLES_BY_NAME[task["table"]])
        print(json.dumps(why), flush=True)


def changed(path: Path, file: DataFile, spec: TableSpec) -> str | None:
    """Why a data file isn't what was committed; None when it is. Reads all of it.

    Files of this package carry a checksum in each page. Rows, types, nulls and extremes are compared with what the log
    says, and with what the file's own footer says of its row groups: readers skip by both.
    """
    try:
        parquet = pq.ParquetFile(path, page_checksum_verification=True)
        rows = parquet.read()
        why = _footer_lies(parquet)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        return str(error).strip().splitlines()[0]
    if why:
        return why
    if rows.num_rows != file.n_rows:
        return f"it has {rows.num_rows} rows"
    declared = {f.name: f.type for f in spec.arrow_schema()}
    for field in rows.schema:
        if field.name in declared and field.type != declared[field.name]:
            return f"its column {field.name} is of type {field.type} instead of {declared[field.name]}"
    found = json.loads(json.dumps(column_stats(rows)))
    recorded = file.stats
    for name, nulls in recorded.get("nullCount", {}).items():
        if found["nullCount"].get(name) != nulls:
            return f"its column {name} has {found['nullCount'].get(name)} nulls instead of {nulls}"
    for name, low in recorded.get("minValues", {}).items():
        if name in found.get("minValues", {}) and found["minValues"][name] < low:
            return f"its column {name} has values below the smallest recorded one"
    for name, high in recorded.get("maxValues", {}).items():
        if name in found.get("maxValues", {}) and found["maxValues"][name] > high:
            return f"its column {name} has values above the largest recorded one"
    return None


def _footer_lies(parquet: pq.ParquetFile) -> str | None:
    """What the footer of a file says wrongly of its row groups."""
    for number in range(parquet.metadata.num_row_groups):
        group = parquet.metadata.row_group(number)
        rows = parquet.read_row_group(number)
        for index in range(group.num_columns):
            chunk = group.column(index)
            stats = chunk.statistics
            if stats is None or chunk.path_in_schema not in rows.column_names:
                continue
            column = rows.column(chunk.path_in_schema)
            if stats.has_null_count and stats.null_count != column.null_count:
                return f"its footer has another number of nulls in column {chunk.path_in_schema}"
            if not stats.has_min_max or column.null_count == len(column):
                continue
            if pa.types.is_floating(column.type):
                column = column.filter(pc.fill_null(pc.invert(pc.is_nan(column)), False))
            extremes = pc.min_max(column).as_py()
            try:
                is_within = stats.min <= extremes["min"] and extremes["max"] <= stats.max
            except (TypeError, ValueError, OverflowError):
                is_within = False
            if not is_within:
                return f"its footer has other extremes of column {chunk.path_in_schema}"
    return None


def _orphan_damages(folder: Path, spec: TableSpec, state: LogState) -> Iterator[Damage]:
    old = [p for p in orphans(folder, state) if is_past(p, ORPHAN_AGE_S, state)]
    if old:
        what = (
            f"Table `{spec.name}`: {len(old)} data files ({sum(p.stat().st_size for p in old)} bytes) are older than a "
            "day and no log entry names them: run `mlwarehouse maintain`."
        )
        yield Damage("orphans", spec.name, what)


if __name__ == "__main__":
    main()
