"""The part of a warehouse that looks after it: maintenance, and what `doctor` says."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwarehouse.errors import ConflictError, WarehouseError
from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.engines.embedded_maintain import Maintained, TableHealth


@dataclass(frozen=True)
class SpoolHealth:
    """What is in this machine's spool.

    Attributes:
        path: Its folder.
        n_segments: Segment files.
        n_waiting: Rows that are logged and not yet committed.
        has_committer: Whether a committer is alive.
        last_batch: The number of the last batch planned.
        committed_batch: The number of the last batch known to be wholly committed.
    """

    path: str
    n_segments: int
    n_waiting: int
    has_committer: bool
    last_batch: int
    committed_batch: int


@dataclass(frozen=True)
class Health:
    """What `doctor` found.

    Attributes:
        root: The warehouse's folder.
        warehouse_id: Its id.
        tables: Each readable table.
        spool: This machine's spool.
        problems: What is wrong, each with what to do; empty when all is well.
    """

    root: str
    warehouse_id: str
    tables: tuple[TableHealth, ...]
    spool: SpoolHealth
    problems: tuple[str, ...]


class Keeping(Base):
    """Maintenance and health."""

    def maintain(self, progress: Callable[[Maintained], None] | None = None) -> list[Maintained]:
        """Merge small files, write checkpoints, and remove files that no version within the retention needs.

        Readers of older versions keep their files for a week.

        Args:
            progress: Told of each table when it is done.

        Returns:
            What was done, table by table.

        Raises:
            ConflictError: Another process is at it.
            StorageError: A table couldn't be maintained; it is as it was.
        """
        from mlwarehouse.engines.embedded_maintain import maintain
        from mlwarehouse.ingest.spool_folder import try_lock
        from mlwarehouse.tables import TABLES

        self.flush()
        engine = self.engine()
        fd = os.open(self.root / "_maintainer.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(fd):
                raise ConflictError(f"Another process maintains the warehouse at `{self.root}`; let it finish.")
            done = []
            for spec in TABLES:
                done.append(maintain(engine.tables, spec))
                if progress is not None:
                    progress(done[-1])
            return done
        finally:
            os.close(fd)

    def doctor(self) -> Health:
        """Look at tables and spool, and say what is wrong and what to do.

        Raises:
            WarehouseNotFoundError: There is no warehouse.
        """
        from mlwarehouse.engines.embedded_maintain import health
        from mlwarehouse.tables import TABLES

        engine = self.engine()
        problems = []
        tables = []
        for spec in TABLES:
            try:
                found = health(engine.tables, spec)
            except WarehouseError as error:
                problems.append(str(error))
                continue
            tables.append(found)
            if found.n_files >= MANY_FILES and found.small_share > 0.5:
                problems.append(
                    f"Table `{spec.name}` has {found.n_files} files, most of them small: run `mlwarehouse maintain`."
                )
        spool = self._spool_health(problems)
        return Health(str(self.root), self.warehouse_id, tuple(tables), spool, tuple(problems))

    def _spool_health(self, problems: list[str]) -> SpoolHealth:
        from mlwarehouse.ingest.overlay import fresh_reading
        from mlwarehouse.ingest.plan import read_plan

        folder = self.spool()
        n_waiting = 0
        last = committed = 0
        try:
            last, committed = read_plan(folder).batch, folder.committed_batch()
            n_waiting = sum(rows.num_rows for rows in fresh_reading(folder, self.engine()).overlay.values())
        except WarehouseError as error:
            problems.append(str(error))
        for loss in folder.losses():
            at = dt.datetime.fromtimestamp(loss["at"] / 1e6, dt.UTC)
            problems.append(
                f"{loss['n_rows']} rows of `{loss['table']}` were lost, noticed {at:%F %T} UTC: {loss['why']}."
            )
        has_committer = folder.has_committer()
        if n_waiting and not has_committer:
            problems.append(f"{n_waiting} logged rows wait and no committer is alive: run `mlwarehouse sync`.")
        return SpoolHealth(str(folder.path), len(folder.segments()), n_waiting, has_committer, last, committed)


MANY_FILES = 200
"""More files than this in a table, most of them small, slow every question."""
