"""The part of a warehouse that mends what `doctor` finds, without losing a record that was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import ConflictError, InvalidInputError, WarehouseError
from mlwarehouse.parts.doctor import Doctoring
from mlwarehouse.parts.maintainer import maintainer_lock
from mlwarehouse.storage import LocalStorage

if TYPE_CHECKING:
    import pyarrow as pa

    from mlwarehouse.engines.embedded_checks import Damage
    from mlwarehouse.tables import TableSpec

ENTRY_KINDS = ("empty entry", "torn entry", "missing entry")

WAIT_S = 60.0
"""How long a repair waits for the committer to step aside."""


@dataclass(frozen=True)
class Mended:
    """What a repair did about a damage, or couldn't do.

    Attributes:
        kind: The damage's kind.
        where: The table, or ``spool``.
        what: What was done, or why nothing was, as a sentence.
        is_mended: Whether the damage is gone.
        n_restored: Rows that were found again.
        n_lost: Rows that are known to be gone for good.
    """

    kind: str
    where: str
    what: str
    is_mended: bool
    n_restored: int = 0
    n_lost: int = 0


class Repairing(Doctoring):
    """Repair."""

    def repair(self, *, deep: bool = False, accept_loss: bool = False) -> list[Mended]:
        """Mend what `doctor` finds. Nothing is thrown away: what is replaced goes into the table's ``_damaged`` folder.

        Rows are sought in data files that no log entry names, in files from before a compaction, and in this machine's
        spool. A living committer steps aside meanwhile; logging goes on.

        Args:
            deep: Also look for what only `doctor(deep=True)` finds.
            accept_loss: Where a data file can't be had again, take it out of the table: its rows are lost, and the
                rest of the table can be read. Without it such a file is only told of, since it may come back.

        Returns:
            What was done, damage by damage; empty when nothing was broken.

        Raises:
            ConflictError: Another process maintains the warehouse, or the committer didn't step aside.
            InvalidInputError: The warehouse is in an object store; it says what can be done instead.
        """
        from mlwarehouse.engines.embedded_checks import Damage
        from mlwarehouse.engines.embedded_states import drop_states
        from mlwarehouse.ingest.salvage import spool_faults

        self._refuse_object_store()
        # Being alone makes a lock that was lost, so that is looked for before.
        faults = [Damage(kind, "spool", what) for kind, what in spool_faults(self.spool(), self.engine())]
        with self._alone():
            damages = [*self.damages(deep=deep), *(f for f in faults if f.kind == "lost plan")]
            done = list(self._mend_logs(damages))
            # The spool commits what it still has; only what is missing after that is sought elsewhere.
            done += self._mend_spool(damages)
            done += self._mend_files([d for d in damages if d.kind in ("missing file", "changed file")], accept_loss)
            done += self._mend_rest(damages)
            if done:
                # What was folded from a damaged table may be wrong.
                drop_states(self.engine().tables)
        return done

    def _refuse_object_store(self) -> None:
        if not isinstance(self.storage, LocalStorage):
            raise InvalidInputError(
                f"A repair needs a local folder, and `{self.uri}` is in an object store, where files are written whole "
                "or not at all. Bring back from the store's own versions or a backup what `mlwarehouse doctor --deep` "
                "names; or copy the warehouse to a local folder and repair it there."
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else commits from this machine's spool, or maintains the warehouse."""
        folder = self.spool()
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.repairing(WAIT_S) as alone:
            if not alone:
                raise ConflictError(
                    f"The committer of `{folder.path}` didn't step aside within {WAIT_S:g} s, or another repair runs; "
                    "try again when it has ended."
                )
            with maintainer_lock(self.storage):
                yield

    def _mend_logs(self, damages: list[Damage]) -> Iterator[Mended]:
        from mlwarehouse.engines import embedded_repair as mending
        from mlwarehouse.engines.embedded_checks import newest_checkpoint
        from mlwarehouse.engines.embedded_follow import write_checkpoint
        from mlwarehouse.engines.embedded_log import LAST_CHECKPOINT

        windows: dict[str, list[tuple[float, float]]] = {}
        entries: dict[str, list[Damage]] = {}
        lasting = set()
        for spec, folder, found in self._by_table(damages):
            entries[spec.name] = [d for d in found if d.kind in ENTRY_KINDS and d.version]
            # What a checkpoint covers isn't lost with its entry.
            covered = newest_checkpoint(folder)
            lost = [d.version or 0 for d in entries[spec.name] if (d.version or 0) > covered]
            windows[spec.name] = [mending.entry_window(folder, version) for version in lost]
            for damage in entries[spec.name]:
                mending.mend_entry(folder, damage.version or 0)
            if any(d.kind == "bad checkpoint" for d in found):
                why = mending.mend_checkpoints(folder)
                what = "it was put aside, and a new one written" if why is None else f"it can't be mended: {why}"
                yield Mended("bad checkpoint", spec.name, f"Checkpoint of `{spec.name}`: {what}.", why is None)
                if why is not None:
                    lasting.add(spec.name)
            elif any(d.kind == "bad last checkpoint" for d in found):
                mending.put_aside(folder, folder / "_delta_log" / LAST_CHECKPOINT)
                write_checkpoint(folder)
                what = f"`{LAST_CHECKPOINT}` of `{spec.name}` was written anew."
                yield Mended("bad last checkpoint", spec.name, what, True)
        # Only when all logs can be read again: what the spool has goes into all tables.
        broken = [(s, f) for s, f, _ in self._by_table(damages) if entries[s.name] and s.name not in lasting]
        n_last = {spec.name: self._recommit(spec, folder) for spec, folder in broken}
        if broken and self.spool().exists:
            self._drain()
        for spec, folder in broken:
            n_restored = n_last[spec.name] + self._restore(spec, folder, windows[spec.name])
            found_again = f"{n_restored} rows were found again" if n_restored else "no row was missing, or none is left"
            for damage in entries[spec.name]:
                what = f"Entry {damage.version} of the log of `{spec.name}` was replaced; {found_again}."
                yield Mended(damage.kind, spec.name, what, True, n_restored)
                n_restored = 0

    def _recommit(self, spec: TableSpec, folder: Path) -> int:
        """Commit the data file of the spool's last batch, if the table lacks that, with the batch's number.

        Without the number the committer would add the batch once more.
        """
        from mlwarehouse.engines.base import Txn
        from mlwarehouse.engines.embedded_commit import commit
        from mlwarehouse.engines.embedded_repair import find_batch
        from mlwarehouse.ingest.plan import read_plan

        spool, engine = self.spool(), self.engine()
        try:
            plan, spool_id = read_plan(spool), spool.spool_id
        except WarehouseError:
            return 0
        if spec.name not in plan.rows or (engine.transaction_version(spec, spool_id) or 0) >= plan.batch:
            return 0
        file = find_batch(folder, n_rows=plan.rows[spec.name], recorded_at=plan.recorded_at)
        return 0 if file is None else commit(folder, spec, [file], [Txn(spool_id, plan.batch)]).n_rows

    def _restore(self, spec: TableSpec, folder: Path, windows: list[tuple[float, float]]) -> int:
        """Find the rows of log entries that were lost, and that the spool didn't commit again."""
        from mlwarehouse.engines.embedded_commit import commit
        from mlwarehouse.engines.embedded_repair import absent, lost_batches
        from mlwarehouse.engines.embedded_replace import read_file

        n = 0
        for since, until in windows:
            for file in lost_batches(folder, spec, since=since, until=until):
                rows = read_file(folder, file.path, spec)
                # A committer that died may have left a second file with the same rows.
                if absent(folder, rows).num_rows == rows.num_rows and self._is_new(spec, rows):
                    n += commit(folder, spec, [file], []).n_rows
        return n + self._append_spooled(spec, folder)

    def _is_new(self, spec: TableSpec, rows: pa.Table) -> bool:
        """Whether registry events have numbers that no other event has; true for rows of other tables."""
        from mlwarehouse.tables import REGISTRY_EVENTS

        if spec is not REGISTRY_EVENTS:
            return True
        there = self.engine().query("SELECT model_name, seq FROM registry_events").to_pylist()
        known = {(r["model_name"], r["seq"]) for r in there}
        return not any((r["model_name"], r["seq"]) in known for r in rows.to_pylist())

    def _append_spooled(self, spec: TableSpec, folder: Path) -> int:
        """Append the rows of committed records that are still in the spool and that a table lacks."""
        from mlwarehouse.engines.embedded_repair import absent
        from mlwarehouse.ingest.salvage import spooled_rows

        rows = spooled_rows(self.spool()).get(spec.name)
        return 0 if rows is None else self._append(spec, absent(folder, rows))

    def _append(self, spec: TableSpec, rows: pa.Table) -> int:
        return self.engine().append(spec, rows).n_rows if rows.num_rows else 0

    def _drain(self) -> None:
        from mlwarehouse.ingest.drain import Drain

        drain = Drain(self.spool(), self.engine())
        while (drained := drain.step()).n_rows or drained.has_more:
            pass

    def _mend_spool(self, damages: list[Damage]) -> Iterator[Mended]:
        from mlwarehouse.engines.embedded_repair import absent
        from mlwarehouse.ingest.plan import read_plan
        from mlwarehouse.ingest.recover import plan_from_tables
        from mlwarehouse.ingest.salvage import MENDED, salvaged_rows
        from mlwarehouse.tables import TABLES_BY_NAME

        folder, engine = self.spool(), self.engine()
        if any(d.kind == "lost plan" for d in damages):
            try:
                spool_id = folder.spool_id
            except WarehouseError:
                (folder.path / "spool.json").unlink(missing_ok=True)
                folder.create()
                spool_id = folder.spool_id
            plan_from_tables(folder, engine).write(folder)
            self._drain()
            what = f"The plan of the spool {spool_id} was made again from the tables; what was waiting is committed."
            yield Mended("lost plan", "spool", what, True)
        if any(d.kind == "torn segment" for d in damages):
            self._drain()
        for path in folder.damaged():
            n = 0
            for name, rows in salvaged_rows(path, read_plan(folder)).items():
                spec = TABLES_BY_NAME[name]
                n += self._append(spec, absent(engine.tables.path(spec), rows))
            path.replace(path.with_name(path.name + MENDED))
            what = f"{n} rows were found behind damaged places of segment `{path.name}`; records in them are gone."
            yield Mended("torn segment", "spool", what, True, n)

    def _mend_files(self, damages: list[Damage], accept_loss: bool) -> Iterator[Mended]:
        from mlwarehouse.engines.embedded_log import replay
        from mlwarehouse.engines.embedded_repair import absent, sources_of, swap_file
        from mlwarehouse.ingest.salvage import spooled_rows

        for spec, folder, found in self._by_table(damages):
            for damage in found:
                file = replay(folder).files.get(damage.path or "")
                if file is None:
                    continue
                name = f"Data file `{file.path}` of `{spec.name}`"
                sources = sources_of(folder, spec, file)
                if sources and swap_file(folder, spec, file, sources):
                    what = f"{name} gave way to the {len(sources)} files that it was merged from."
                    yield Mended(damage.kind, spec.name, what, True, file.n_rows)
                    continue
                rows = spooled_rows(self.spool()).get(spec.name)
                n = 0 if rows is None else absent(folder, rows, without=[file.path]).num_rows
                n_lost = max(0, file.n_rows - n)
                if n_lost and not accept_loss:
                    what = (
                        f"{name} can't be had again: {n} of its {file.n_rows} rows are in the spool. Bring the file "
                        "back from a copy, or give its rows up by `mlwarehouse doctor --repair --accept-loss`"
                        f"{_said_of(file.stats)}."
                    )
                    yield Mended(damage.kind, spec.name, what, False, 0, n_lost)
                    continue
                if not swap_file(folder, spec, file, []):
                    continue
                n = self._append_spooled(spec, folder)
                what = f"{name} was taken out; {n} rows came from the spool, {n_lost} are lost{_said_of(file.stats)}."
                if n_lost:
                    self.spool().note_loss(spec.name, n_lost, f"data file {file.path} was {damage.kind.split()[0]}")
                yield Mended(damage.kind, spec.name, what, True, n, n_lost)

    def _mend_rest(self, damages: list[Damage]) -> Iterator[Mended]:
        from mlwarehouse.engines.embedded_maintain import clean
        from mlwarehouse.engines.embedded_repair import remove_doubles
        from mlwarehouse.engines.pins import pinned_files

        for spec, folder, found in self._by_table(damages):
            for damage in found:
                if damage.kind == "doubled rows" and damage.can_mend:
                    n = remove_doubles(folder, spec)
                    yield Mended(damage.kind, spec.name, f"{n} doubled rows of `{spec.name}` were removed.", True)
                elif damage.kind == "orphans":
                    removed = clean(self.engine().tables, spec, pinned=pinned_files(self.storage, spec.name))
                    what = f"{removed.n_orphans} files of `{spec.name}` that no log entry names were removed."
                    yield Mended(damage.kind, spec.name, what, True)
                elif not damage.can_mend and damage.kind != "lost rows":
                    yield Mended(damage.kind, spec.name, f"Nothing was done: {damage.what}", False)

    def _by_table(self, damages: list[Damage]) -> Iterator[tuple[TableSpec, Path, list[Damage]]]:
        from mlwarehouse.tables import TABLES

        tables = self.engine().tables
        for spec in TABLES:
            found = [d for d in damages if d.where == spec.name]
            if found:
                yield spec, tables.path(spec), found


def _said_of(stats: object) -> str:
    """What a file's statistics tell of its rows: the runs and the times between which they lie."""
    if not isinstance(stats, dict) or not stats.get("minValues"):
        return ""
    low, high = stats["minValues"], stats["maxValues"]
    said = [f"{name} from {low[name]} to {high[name]}" for name in ("run_id", "recorded_at") if name in low]
    return f" ({', '.join(said)})" if said else ""
