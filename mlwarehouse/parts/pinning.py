"""The part of a warehouse that takes snapshots and keeps them."""

from __future__ import annotations

import datetime as dt
import time

from mlwarehouse.entities import KeptSnapshot, Snapshot
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base

LOCK_WAIT_S = 60.0


class Pinning(Base):
    """Snapshots, and the protection of their files."""

    def snapshot(
        self,
        *,
        keep: bool = False,
        name: str | None = None,
        note: str | None = None,
        at: Snapshot | str | None = None,
    ) -> Snapshot:
        """Take a snapshot of all tables, after committing what this machine has logged.

        A snapshot that isn't kept can be asked for a week after maintenance has replaced its files; a kept one until it
        is released, or something is purged: what is deleted for privacy is deleted everywhere.

        Args:
            keep: Protect its files: maintenance doesn't take them, however old they get.
            name: With `keep`, a name to ask it by: letters, digits, ``.``, ``_`` and ``-``; None makes one of the time.
            note: With `keep`, what it is for.
            at: Keep this earlier snapshot instead of taking one: a snapshot, its text, or a kept one's name.

        Returns:
            A small value to cite: pass it, or its text, as ``at=`` to the asking functions.

        Raises:
            InvalidInputError: A name that can't be used, a name or note without `keep`, or a snapshot of another
                warehouse.
            ConflictError: A snapshot is kept under that name.
            SnapshotGoneError: The earlier snapshot can't be read any more.
        """
        if not keep and not (name is None and note is None and at is None):
            raise InvalidInputError(
                "A snapshot with a name, with a note, or of an earlier time is one that is kept: add `keep=True`."
            )
        snapshot = self._taken() if at is None else self.find_snapshot(at)
        if keep:
            self._keep(snapshot, name, note)
        return snapshot

    def snapshots(self) -> list[KeptSnapshot]:
        """The kept snapshots, by name.

        Raises:
            StorageError: One can't be read.
        """
        from mlwarehouse.engines.pins import read_pins

        self.place()
        return [pin.kept for pin in read_pins(self.storage).values()]

    def release_snapshot(self, name: str) -> None:
        """Let a kept snapshot go: maintenance may remove its files.

        Raises:
            NotFoundError: There is none of that name.
        """
        from mlwarehouse.engines.pins import remove_pin

        self.place()
        remove_pin(self.storage, name)

    def _taken(self) -> Snapshot:
        self.flush()
        return self._state()

    def _state(self) -> Snapshot:
        """What is committed at this moment."""
        from mlwarehouse.engines.embedded_past import check_of
        from mlwarehouse.tables import TABLES_BY_NAME

        versions = self.versions()
        tables = self.engine().tables
        found = {name: check_of(tables.place(TABLES_BY_NAME[name]), version) for name, version in versions.items()}
        checks = {name: check for name, check in found.items() if check is not None}
        return Snapshot(self.warehouse_id, time.time_ns() // 1_000_000, versions, checks)

    def _keep(self, snapshot: Snapshot, name: str | None, note: str | None) -> None:
        from mlwarehouse.access import acting
        from mlwarehouse.engines.pins import Pin, write_pin
        from mlwarehouse.ingest.identity import login_name
        from mlwarehouse.parts.maintainer import maintainer_lock
        from mlwarehouse.tables import TABLES_BY_NAME

        now, who = dt.datetime.now(dt.UTC), acting()
        kept = KeptSnapshot(
            name=name if name is not None else f"{now:%Y-%m-%dT%H%M%S.%f}"[:-3] + "Z",
            snapshot=snapshot,
            note=note,
            kept_at=int(now.timestamp() * 1000),
            kept_by=self.settings.actor or login_name() if who is None else who.name,
        )
        tables = self.engine().tables
        # While files are looked up and written down, nobody removes them.
        with maintainer_lock(self.storage, wait_s=LOCK_WAIT_S) as held:
            files = {
                table: tables.names_at(TABLES_BY_NAME[table], version)
                for table, version in snapshot.versions.items()
                if table in TABLES_BY_NAME
            }
            held.now()
            write_pin(self.storage, Pin(kept, files))
