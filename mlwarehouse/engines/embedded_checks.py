"""Finding damage in a table's folder: in its log, its checkpoints and its data files.

Every damage has a kind, one of `KINDS`; `embedded_repair` mends those that can be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    actions_of,
    checkpoint_names,
    entry_name,
    entry_names,
    parse_checkpoint,
    replay,
)
from mlwarehouse.engines.embedded_orphans import oldest_pending, orphans
from mlwarehouse.engines.embedded_stats import column_stats
from mlwarehouse.storage import FileInfo, LocalStorage, Storage, each, read_many, storage_of
from mlwarehouse.tables import TABLES_BY_NAME, TableSpec

CHECKPOINTS_LOOKED_AT = 2
"""The newest checkpoints that a look reads in an object store; a deep one reads all."""

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


def table_damages(place: Path | Storage, spec: TableSpec, *, reader: DeepReader | None = None) -> list[Damage]:
    """Look for damage in a table's folder; what doesn't depend on this package's reading of rows.

    Args:
        place: The table's folder.
        spec: The table.
        reader: Also read every data file by it, and the log entries that a checkpoint has made unnecessary.

    Returns:
        The damages, those of the log first.

    Raises:
        OSError: The storage can't be reached.
    """
    storage = storage_of(place)
    log = storage.child("_delta_log")
    there = log.files()
    if not there:
        return []
    made = checkpoint_names(there)
    if reader is None and not isinstance(storage, LocalStorage):
        # Each is to be fetched, and readers need the newest one.
        made = dict(sorted(made.items())[-CHECKPOINTS_LOOKED_AT:])
    bad = dict(_bad_checkpoints(log, made))
    damages = [
        Damage(
            "bad checkpoint",
            spec.name,
            f"Table `{spec.name}`: the checkpoint of version {version} can't be read ({why}).",
            version=version,
        )
        for version, why in bad.items()
    ]
    good = max((v for v in made if v not in bad), default=-1)
    found = list(_log_damages(log, spec, there, good, deep=reader is not None))
    damages = found + damages + list(_last_checkpoint(log, spec, there))
    files = storage.files()
    try:
        state = replay(storage)
    except ValueError:
        return damages
    return [
        *damages,
        *_file_damages(storage, spec, state, files, reader),
        *_orphan_damages(storage, spec, state, files),
    ]


def newest_checkpoint(folder: Path) -> int:
    """The version of the newest checkpoint that can be read, in a local folder; -1 where there is none."""
    log = storage_of(folder).child("_delta_log")
    there = checkpoint_names(log.files())
    bad = dict(_bad_checkpoints(log, there))
    return max((v for v in there if v not in bad), default=-1)


def _bad_checkpoints(log: Storage, names: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    def look(name: str) -> str | None:
        try:
            parse_checkpoint(log.read(name))
        except FileNotFoundError:
            return None
        except ValueError as error:
            return str(error)
        return None

    for version, why in zip(names, each(log, look, names.values()), strict=True):
        if why is not None:
            yield version, why


def _log_damages(
    log: Storage, spec: TableSpec, there: Mapping[str, FileInfo], checkpoint: int, *, deep: bool
) -> Iterator[Damage]:
    entries = entry_names(there)
    first = min(entries, default=0)
    if checkpoint < 0:
        # Behind a checkpoint, also one that can't be read, older entries are cleaned up.
        first = 0 if not checkpoint_names(there) else first
    elif first > checkpoint:
        first = checkpoint + 1
    versions = range(first, max(entries, default=-1) + 1)
    contents = read_many(log, [entry_name(v) for v in versions if v not in entries or deep or v > checkpoint])
    gone = {v for v in versions if v not in entries and contents[entry_name(v)] is None}
    if gone:
        # While they were listed, older entries may have been cleaned up.
        first_now = min(entry_names(log.files()), default=0)
        gone = {v for v in gone if v >= min(first_now, checkpoint + 1)}
    for version in versions:
        if version in gone:
            what = f"Table `{spec.name}`: the log has no entry {version}, and later ones."
            # The first entry says what the table is.
            yield Damage("missing entry", spec.name, what, can_mend=version > 0, version=version)
            continue
        if version in entries and not there[entries[version]].size:
            what = f"Table `{spec.name}`: the log's entry {version} is empty, so the rows of that commit are gone."
            yield Damage("empty entry", spec.name, what, version=version)
            continue
        content = contents.get(entry_name(version))
        if content is None:
            # Covered by a checkpoint; or cleaned up at this moment.
            continue
        try:
            actions = actions_of(content)
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


def _last_checkpoint(log: Storage, spec: TableSpec, there: Mapping[str, FileInfo]) -> Iterator[Damage]:
    newest = max(checkpoint_names(there), default=-1)
    try:
        named = int(json.loads(log.read(LAST_CHECKPOINT))["version"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        what = f"Table `{spec.name}`: `{LAST_CHECKPOINT}` can't be read ({error})."
        yield Damage("bad last checkpoint", spec.name, what)
        return
    if named != newest:
        what = (
            f"Table `{spec.name}`: `{LAST_CHECKPOINT}` names version {named}, and the newest checkpoint is "
            f"{f'of version {newest}' if newest >= 0 else 'none'}."
        )
        yield Damage("bad last checkpoint", spec.name, what)


def _file_damages(
    storage: Storage, spec: TableSpec, state: LogState, there: Mapping[str, FileInfo], reader: DeepReader | None
) -> Iterator[Damage]:
    for file in state.files.values():
        # A file that is newer than the listing is looked at by itself.
        size = there[file.path].size if file.path in there else storage.size(file.path)
        if size is None:
            what = f"Table `{spec.name}`: the data file `{file.path}` with {file.n_rows} rows isn't there."
            yield Damage("missing file", spec.name, what, path=file.path)
            continue
        why = f"it has {size} bytes instead of {file.size}" if size != file.size else None
        if why is None and reader is not None:
            with _here(storage, file.path) as path:
                why = reader.why(path, file, spec)
        if why:
            what = f"Table `{spec.name}`: the data file `{file.path}` with {file.n_rows} rows was changed: {why}."
            yield Damage("changed file", spec.name, what, path=file.path)


@contextmanager
def _here(storage: Storage, name: str) -> Iterator[Path]:
    """A file of a storage on this machine's disk: itself, or a copy for as long as the context lasts."""
    if isinstance(storage, LocalStorage):
        yield storage.folder("Reading a file") / name
        return
    with tempfile.TemporaryDirectory(prefix="mlwarehouse-") as folder:
        path = Path(folder) / "file.parquet"
        path.write_bytes(storage.read(name))
        yield path


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


def _orphan_damages(
    storage: Storage, spec: TableSpec, state: LogState, there: Mapping[str, FileInfo]
) -> Iterator[Damage]:
    old = orphans(storage, state, there, before=oldest_pending(state, time.time()))
    if old:
        what = (
            f"Table `{spec.name}`: {len(old)} data files ({sum(there[n].size for n in old)} bytes) are older than a "
            "day and no log entry names them: run `mlwarehouse maintain`."
        )
        yield Damage("orphans", spec.name, what)


if __name__ == "__main__":
    main()
