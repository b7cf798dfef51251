"""The part of a warehouse that says what is wrong with it."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwarehouse.entities import KeptSnapshot
from mlwarehouse.errors import StorageError, UnsupportedTableError, WarehouseError
from mlwarehouse.parts.base import Base
from mlwarehouse.storage import LocalStorage

if TYPE_CHECKING:
    from mlwarehouse.engines.embedded_checks import Damage, DeepReader
    from mlwarehouse.engines.embedded_kept import FoldHealth
    from mlwarehouse.engines.embedded_maintain import TableHealth
    from mlwarehouse.tables import TableSpec

MANY_FILES = 200
"""More files than this in a table, most of them small, slow every question."""

SECOND_LOOK_S = 0.3
"""A damage is one when it is still there after this: what others do this moment may look like one."""

PURGE_JOURNAL = "_purge.json"
"""What a purge has still to do, in the warehouse's folder until it is done."""

FEW_ROWS = 200_000
"""Tables up to this many rows are searched for doubled ones by each look, others only by a deep one."""

RECENT_ERROR_S = 3600.0
"""How long an error of the committer is told of."""

_LOG_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \d+ (\w+) (.*)$")
_LOG_TAIL = 64 * 1024


@dataclass(frozen=True)
class SpoolHealth:
    """What is in this machine's spool.

    Attributes:
        path: Its folder.
        n_segments: Segment files.
        n_waiting: Rows that are logged and not yet committed.
        lag_s: The age of the oldest of them in seconds; 0 when none waits.
        n_lost: Logged rows that couldn't be kept, since the spool was made.
        has_committer: Whether a committer is alive.
        last_batch: The number of the last batch planned.
        committed_batch: The number of the last batch known to be wholly committed.
        last_error: What the committer last failed at, if within the last hour; else empty.
    """

    path: str
    n_segments: int
    n_waiting: int
    lag_s: float
    n_lost: int
    has_committer: bool
    last_batch: int
    committed_batch: int
    last_error: str


@dataclass(frozen=True)
class Health:
    """What `doctor` found.

    Attributes:
        root: The warehouse's address.
        warehouse_id: Its id.
        tables: Each readable table.
        folds: Each kept fold; none where none is kept.
        snapshots: Each kept snapshot; none where none is kept.
        spool: This machine's spool.
        damages: What is broken.
        problems: What is wrong, each with what to do: the damages, and what only needs attention; empty when all is
            well.
    """

    root: str
    warehouse_id: str
    tables: tuple[TableHealth, ...]
    folds: tuple[FoldHealth, ...]
    snapshots: tuple[KeptSnapshot, ...]
    spool: SpoolHealth
    damages: tuple[Damage, ...]
    problems: tuple[str, ...]


class Doctoring(Base):
    """Health."""

    def doctor(self, *, deep: bool = False) -> Health:
        """Look at tables and spool, and say what is wrong and what to do. Nothing is changed.

        Args:
            deep: Also read every data file and every log entry: finds changed bytes and doubled rows anywhere, and
                takes as long as reading the warehouse does.

        Raises:
            WarehouseNotFoundError: There is no warehouse.
        """
        from mlwarehouse.engines.embedded_maintain import health
        from mlwarehouse.tables import TABLES

        engine = self.engine()
        damages = self.damages(deep=deep)
        problems = [
            f"{d.what} {'Run `mlwarehouse doctor --repair`.' if self._mends(d) else ''}".strip() for d in damages
        ]
        damaged = {d.where for d in damages}
        tables = []
        for spec in TABLES:
            try:
                found = health(engine.tables, spec)
            except WarehouseError as error:
                if spec.name not in damaged:
                    problems.append(str(error))
                continue
            tables.append(found)
            if found.n_files >= MANY_FILES and found.small_share > 0.5:
                problems.append(
                    f"Table `{spec.name}` has {found.n_files} files, most of them small: run `mlwarehouse maintain`."
                )
        if self.storage.exists(PURGE_JOURNAL):
            problems.append("A purge hasn't come to its end: run `mlwarehouse purge --yes`.")
        problems += self._unsent()
        spool = self.spool_health(problems)
        return Health(
            root=self.uri,
            warehouse_id=self.warehouse_id,
            tables=tuple(tables),
            folds=self._folds(),
            snapshots=self._kept_snapshots(problems),
            spool=spool,
            damages=tuple(damages),
            problems=tuple(problems),
        )

    def _kept_snapshots(self, problems: list[str]) -> tuple[KeptSnapshot, ...]:
        from mlwarehouse.engines.pins import missing_files, read_pins

        try:
            for name, files in missing_files(self.storage).items():
                problems.append(
                    f"The kept snapshot `{name}` can't be read in full: {len(files)} of its files are gone, such as "
                    f"`{files[0]}`. Bring them back from a copy, or run `mlwarehouse snapshot --release {name}`."
                )
            return tuple(pin.kept for pin in read_pins(self.storage).values())
        except (WarehouseError, OSError) as error:
            problems.append(str(error))
            return ()

    def _unsent(self) -> list[str]:
        """What is wrong with this machine's deliveries to webhooks."""
        from mlwarehouse.registry.webhooks.outbox import look

        try:
            found = look(self.webhooks_folder())
        except WarehouseError as error:
            return [str(error)]
        problems = []
        if found.n_failed:
            problems.append(
                f"{found.n_failed} deliveries to webhooks were given up, the last because {found.reason}: run "
                "`mlwarehouse webhooks deliver --failed`, or remove the webhook."
            )
        if found.is_left_alone:
            problems.append("No process has told the webhooks anything for a day: run `mlwarehouse webhooks deliver`.")
        return problems

    def _mends(self, damage: Damage) -> bool:
        """Whether a repair is what helps."""
        return damage.can_mend and damage.kind != "orphans" and isinstance(self.storage, LocalStorage)

    def _folds(self) -> tuple[FoldHealth, ...]:
        from mlwarehouse.engines.embedded_kept import fold_health

        return fold_health(self.engine().tables)

    def damages(self, *, deep: bool = False) -> list[Damage]:
        """Everything that is broken in tables and spool.

        Args:
            deep: As for `doctor`.
        """
        from mlwarehouse.engines.embedded_checks import DeepReader

        with DeepReader() as reader:
            found = list(self._look(reader if deep else None))
            if not found:
                return found
            time.sleep(SECOND_LOOK_S)
            still = {(d.kind, d.where, d.version, d.path) for d in self._look(reader if deep else None)}
        return [d for d in found if (d.kind, d.where, d.version, d.path) in still]

    def _look(self, reader: DeepReader | None) -> Iterator[Damage]:
        from mlwarehouse.engines.embedded_checks import Damage, table_damages
        from mlwarehouse.ingest.salvage import spool_faults
        from mlwarehouse.tables import TABLES

        engine = self.engine()
        for spec in TABLES:
            try:
                yield from table_damages(engine.tables.place(spec), spec, reader=reader)
            except OSError as error:
                raise StorageError(f"Table `{spec.name}` in `{self.uri}` can't be looked at: {error}") from error
            try:
                engine.tables.handle(spec)
            except UnsupportedTableError as error:
                yield Damage("foreign feature", spec.name, str(error), can_mend=False)
            except WarehouseError:
                # Unreadable: `table_damages` has said why, or `doctor` will.
                continue
            else:
                yield from self._doubled(spec, deep=reader is not None)
        folder = self.spool()
        for kind, what in spool_faults(folder, engine):
            yield Damage(kind, "spool", what)
        for loss in folder.losses():
            at = dt.datetime.fromtimestamp(loss["at"] / 1e6, dt.UTC)
            what = f"{loss['n_rows']} rows of `{loss['table']}` were lost, noticed {at:%F %T} UTC: {loss['why']}."
            yield Damage("lost rows", loss["table"], what, can_mend=False)

    def _doubled(self, spec: TableSpec, *, deep: bool) -> Iterator[Damage]:
        from mlwarehouse.engines.embedded_checks import Damage
        from mlwarehouse.tables import REGISTRY_EVENTS

        engine = self.engine()
        columns = ", ".join(f'"{c.name}"' for c in spec.all_columns)
        counted = f"SELECT count(*) AS n, coalesce(sum(c), 0) AS rows FROM (SELECT count(*) AS c FROM {spec.name} "
        try:
            if not deep and engine.query(f"SELECT count(*) AS n FROM {spec.name}").column("n")[0].as_py() > FEW_ROWS:
                return
            (found,) = engine.query(f"{counted} GROUP BY {columns} HAVING count(*) > 1) AS t").to_pylist()
            if found["n"]:
                what = f"Table `{spec.name}` holds {found['rows'] - found['n']} rows a second time."
                yield Damage("doubled rows", spec.name, what)
            elif spec is REGISTRY_EVENTS:
                (found,) = engine.query(f"{counted} GROUP BY model_name, seq HAVING count(*) > 1) AS t").to_pylist()
                if found["n"]:
                    what = f"Table `{spec.name}` holds {found['n']} numbers of changes twice, with different content."
                    yield Damage("doubled rows", spec.name, what, can_mend=False)
        except WarehouseError:
            # A data file is gone or damaged, which is told of by itself.
            return

    def spool_health(self, problems: list[str] | None = None) -> SpoolHealth:
        """Look at this machine's spool.

        Args:
            problems: Is added to what is wrong.
        """
        import pyarrow.compute as pc

        from mlwarehouse.ingest.overlay import fresh_reading
        from mlwarehouse.ingest.plan import read_plan

        folder = self.spool()
        problems = [] if problems is None else problems
        n_waiting = last = committed = 0
        oldest: list[dt.datetime] = []
        try:
            last, committed = read_plan(folder).batch, folder.committed_batch()
            overlay = fresh_reading(folder, self.engine()).overlay
            n_waiting = sum(rows.num_rows for rows in overlay.values())
            oldest = [pc.min(rows.column("event_at")).as_py() for rows in overlay.values() if rows.num_rows]
        except WarehouseError as error:
            if not any(str(error) in p for p in problems):
                problems.append(str(error))
        has_committer = folder.has_committer()
        if n_waiting and not has_committer:
            problems.append(f"{n_waiting} logged rows wait and no committer is alive: run `mlwarehouse sync`.")
        last_error = self._last_error()
        if n_waiting and last_error:
            problems.append(
                f"{n_waiting} logged rows wait, and the committer couldn't commit them: {last_error}. See "
                f"`{folder.log_path}`."
            )
        return SpoolHealth(
            path=str(folder.path),
            n_segments=len(folder.segments()),
            n_waiting=n_waiting,
            lag_s=max(0.0, (dt.datetime.now(dt.UTC) - min(oldest)).total_seconds()) if oldest else 0.0,
            n_lost=sum(int(loss["n_rows"]) for loss in folder.losses()),
            has_committer=has_committer,
            last_batch=last,
            committed_batch=committed,
            last_error=last_error,
        )

    def _last_error(self) -> str:
        """What the committer's log says last, if that is an error of the last hour."""
        try:
            with self.spool().log_path.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - _LOG_TAIL))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ""
        starts = [(i, m) for i, line in enumerate(lines) if (m := _LOG_LINE.match(line))]
        errors = [(i, m) for i, m in starts if m[2] == "ERROR"]
        if not errors:
            return ""
        index, match = errors[-1]
        # The log is written in local time.
        if time.time() - time.mktime(time.strptime(match[1], "%Y-%m-%d %H:%M:%S")) > RECENT_ERROR_S:
            return ""
        end = min((i for i, _ in starts if i > index), default=len(lines))
        trace = [line for line in lines[index + 1 : end] if line.strip() and not line.startswith(" ")]
        return trace[-1] if trace else match[3]
