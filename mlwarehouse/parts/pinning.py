"""The part of a warehouse that keeps pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlwarehouse.entities import Snapshot
from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.engines.pins import Pin


class Pinning(Base):
    """Pins that protect their files."""

    def pin(self, name: str, at: Snapshot | str | None = None) -> Snapshot:
        """Keep a pin: maintenance doesn't take the files of its table versions, however old they get.

        A purge does: what is deleted for privacy is deleted everywhere.

        Args:
            name: A name for it: letters, digits, ``.``, ``_`` and ``-``.
            at: A pin from `snapshot`, or its text; None takes one now.

        Returns:
            The pin: pass it as ``at=`` to the asking functions.

        Raises:
            InvalidInputError: A name that can't be used, or a pin of another warehouse.
            ConflictError: There is one of that name.
            StorageError: A table can't be read at its version any more.
        """
        from mlwarehouse.engines.pins import Pin, write_pin
        from mlwarehouse.parts.maintainer import maintainer_lock
        from mlwarehouse.tables import TABLES_BY_NAME

        snapshot = self.snapshot() if at is None else self._pin(at)
        tables = self.engine().tables
        # While files are looked up and written down, nobody removes them.
        with maintainer_lock(self.storage, wait_s=60) as held:
            files = {
                table: tables.names_at(TABLES_BY_NAME[table], version)[1]
                for table, version in snapshot.versions.items()
                if table in TABLES_BY_NAME
            }
            held.now()
            write_pin(self.storage, Pin(name, snapshot, files))
        return snapshot

    def unpin(self, name: str) -> None:
        """Let a kept pin go: maintenance may remove its files.

        Raises:
            NotFoundError: There is none of that name.
        """
        from mlwarehouse.engines.pins import remove_pin

        self.place()
        remove_pin(self.storage, name)

    def pins(self) -> dict[str, Snapshot]:
        """The kept pins by name.

        Raises:
            StorageError: One can't be read.
        """
        from mlwarehouse.engines.pins import read_pins

        self.place()
        kept: dict[str, Pin] = read_pins(self.storage)
        return {name: pin.snapshot for name, pin in kept.items()}
