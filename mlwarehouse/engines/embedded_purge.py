"""Taking rows out of tables for good: the one operation that changes what an append-only table holds.

The affected files are rewritten without the rows, in commits that say so; then the table is append-only again, and
everything that could still tell of the rows goes at once: the old data files, and the log entries and checkpoints
before the last of those commits, whose statistics hold values. Versions before it can't be read any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.embedded_commit import reason, stage
from mlwarehouse.engines.embedded_follow import write_checkpoint
from mlwarehouse.engines.embedded_log import checkpoint_names, entry_names, replay
from mlwarehouse.engines.embedded_orphans import orphans
from mlwarehouse.engines.embedded_repair import ASIDE
from mlwarehouse.engines.embedded_replace import read_file, replace_files, set_append_only
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import Storage, each, storage_of
from mlwarehouse.tables import EXPERIMENT_EVENTS, TableSpec

PURPOSE = "purge"

GONE = "purged"
"""What stands where others' rows named what was purged."""

RUN_TABLES = frozenset(
    {"run_events", "param_events", "metrics", "tag_events", "artifact_events", "input_events", "logged_model_events"}
)
"""The tables whose rows belong to the run that they name; in others a run is only mentioned."""

_IDS_PER_PATTERN = 500


@dataclass(frozen=True)
class Chosen:
    """What is to be purged.

    Attributes:
        run_ids: Runs, with everything logged to them.
        experiment_ids: Experiments.
        user: A user name: where it stands as a value it becomes `GONE`.
    """

    run_ids: frozenset[str]
    experiment_ids: frozenset[str] = frozenset()
    user: str | None = None

    def without(self, rows: pa.Table, spec: TableSpec) -> tuple[pa.Table, int, int]:
        """Rows of a table without what is purged.

        Args:
            rows: The rows.
            spec: The table.

        Returns:
            What is left; how many rows went; how many of those left were changed.
        """
        kept = rows
        if spec.name in RUN_TABLES:
            kept = kept.filter(pc.invert(pc.is_in(kept.column("run_id"), pa.array(sorted(self.run_ids), pa.string()))))
        elif spec is EXPERIMENT_EVENTS:
            chosen = pa.array(sorted(self.experiment_ids), pa.string())
            kept = kept.filter(pc.invert(pc.is_in(kept.column("experiment_id"), chosen)))
        n_removed = rows.num_rows - kept.num_rows
        is_changed = pa.chunked_array([pa.array([False] * kept.num_rows)])
        for index, field in enumerate(kept.schema):
            if not pa.types.is_string(field.type):
                continue
            column = kept.column(index)
            new = self._blanked(column)
            if new is not None:
                differs = pc.fill_null(pc.not_equal(column, new), False)
                is_changed = pc.or_(is_changed, differs)
                kept = kept.set_column(index, field, new)
        return kept, n_removed, pc.sum(is_changed).as_py() or 0

    def _blanked(self, column: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """A text column in which nothing that is purged is named; None when it named nothing."""
        values = pc.unique(column).to_pylist()
        new = {v: b for v in values if v is not None and (b := self._blank(v)) != v}
        if not new:
            return None
        # Few values are replaced, and each is looked up once a row.
        return pa.chunked_array([pa.array([new.get(v, v) for v in column.to_pylist()], pa.string())])

    def _blank(self, text: str) -> str:
        for pattern in self._patterns():
            text = pattern.sub(GONE, text)
        if self.user is not None:
            if text == self.user:
                return GONE
            text = text.replace(f'"{self.user}"', f'"{GONE}"')
        return text

    def _patterns(self) -> list[re.Pattern[str]]:
        ids = sorted(self.run_ids)
        parts = [ids[i : i + _IDS_PER_PATTERN] for i in range(0, len(ids), _IDS_PER_PATTERN)]
        # `re` keeps patterns that it has compiled.
        return [re.compile("|".join(map(re.escape, part))) for part in parts]


@dataclass(frozen=True)
class Affected:
    """What a purge does to a table.

    Attributes:
        name: The table.
        n_removed: Rows that go.
        n_changed: Rows of others in which a mention is blanked.
        n_files: Data files that hold either.
    """

    name: str
    n_removed: int
    n_changed: int
    n_files: int


def survey(place: Path | Storage, spec: TableSpec, chosen: Chosen) -> Affected:
    """Count what a purge would do to a table.

    Raises:
        StorageError: The table can't be read.
    """
    n_removed = n_changed = n_files = 0
    for _, rows in _read(storage_of(place), spec):
        _, removed, changed = chosen.without(rows, spec)
        n_removed, n_changed, n_files = n_removed + removed, n_changed + changed, n_files + bool(removed or changed)
    return Affected(spec.name, n_removed, n_changed, n_files)


def rewrite(place: Path | Storage, spec: TableSpec, chosen: Chosen) -> Affected:
    """Take what is purged out of a table's newest version; the caller is the warehouse's only maintainer.

    May be done again after a crash: what is done stays done.

    Raises:
        StorageError: It failed; run it again.
    """
    storage = storage_of(place)
    n_removed = n_changed = n_files = 0
    set_append_only(storage, on=False, purpose=PURPOSE)
    for name, rows in _read(storage, spec):
        kept, removed, changed = chosen.without(rows, spec)
        if not removed and not changed:
            continue
        try:
            new = [stage(storage, kept, row_group_rows=spec.row_group_rows)] if kept.num_rows else []
            size = storage.size(name) or 0
        except OSError as error:
            raise StorageError(
                f"Table `{spec.name}` in `{storage.uri}` couldn't be written: {reason(error)}"
            ) from error
        if not replace_files(storage, spec, remove=[(name, size)], add=new, purpose=PURPOSE, changes_data=True):
            raise StorageError(f"Table `{spec.name}` was changed by others while it was purged; purge again.")
        n_removed, n_changed, n_files = n_removed + removed, n_changed + changed, n_files + 1
    set_append_only(storage, on=True, purpose=PURPOSE)
    return Affected(spec.name, n_removed, n_changed, n_files)


def forget(place: Path | Storage, spec: TableSpec, chosen: Chosen) -> None:
    """Remove everything of a table's past: old data files, log entries, checkpoints, and what was put aside.

    Raises:
        StorageError: The log can't be read.
    """
    storage = storage_of(place)
    log, aside = storage.child("_delta_log"), storage.child(ASIDE)
    try:
        last = replay(storage).version
        write_checkpoint(storage)
        names = log.files()
        past = [*entry_names(names).items(), *checkpoint_names(names).items()]
        each(log, log.delete, [name for version, name in past if version < last])
        log.sync()
        each(aside, aside.delete, aside.names())
        there = storage.files()
        state = replay(storage)
        # Others may be about to commit a file: of those only what holds something purged goes.
        lost = [name for name in orphans(storage, state, there) if _holds(storage, name, spec, chosen)]
        each(storage, storage.delete, [*state.removed, *lost])
        storage.sync()
    except (ValueError, OSError) as error:
        raise StorageError(
            f"The past of table `{spec.name}` in `{storage.uri}` couldn't be removed: {error}"
        ) from error


def mentions(data: bytes, chosen: Chosen) -> bool:
    """Whether bytes name a run that is purged."""
    return any(run_id.encode() in data for run_id in chosen.run_ids)


def _holds(storage: Storage, name: str, spec: TableSpec, chosen: Chosen) -> bool:
    try:
        _, removed, changed = chosen.without(read_file(storage, name, spec), spec)
    except (pa.ArrowException, OSError):
        # Neither whole nor named by the log: nobody will miss it, and nobody can tell what it holds.
        return True
    return bool(removed or changed)


def _read(storage: Storage, spec: TableSpec) -> Iterator[tuple[str, pa.Table]]:
    try:
        for name in list(replay(storage).files):
            yield name, read_file(storage, name, spec)
    except (ValueError, OSError, pa.ArrowException) as error:
        raise StorageError(
            f"Table `{spec.name}` in `{storage.uri}` can't be read: {reason(error)}; run `mlwarehouse doctor`."
        ) from error
