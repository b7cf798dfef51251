"""How a call's rows get into the spool: by one writer of this process, and on disk before the call is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.access import acting
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.spool_writer import SpoolWriter

if TYPE_CHECKING:
    from mlwarehouse.warehouse import Warehouse

NEVER_S = float("inf")
"""A server gives no heartbeats: it doesn't know whether those who train live."""


class Recorder:
    """The writing end of a server, or of a process that uses MLflow's plug-in.

    Threads share it. What one of them has written is on disk when its own call of `make_durable` returns: whoever
    comes while a sync runs waits for the next one, which serves all who wait.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        """Prepare to write to a warehouse, which is made where there is none.

        What was logged on this machine before is committed first: rows of two writers in one batch have no order of
        their own, and what is written from here on has to count as later.
        """
        warehouse.create()
        self._logger = warehouse.logger()
        self.folder = self._logger.folder
        self.folder.create()
        if self.folder.segments():
            warehouse.flush()
        self.writer = SpoolWriter(self.folder)
        self._does_sync = warehouse.settings.durability != "os"
        self._keeper = Keeper(
            self.writer,
            does_sync=self._does_sync,
            heartbeat_s=NEVER_S,
            send_heartbeats=_nothing,
            retry_artifacts=_nothing,
            see_to_committer=self._logger.see_to_committer if warehouse.settings.committer == "auto" else _nothing,
        )

    @property
    def actor(self) -> str:
        """The name written beside changes: that of whoever asks, or this process's where nobody is asked for one."""
        who = acting()
        return self._logger.actor if who is None else who.name

    def put(
        self,
        table: str,
        common: dict[str, Any],
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        time_ms: int | None = None,
    ) -> None:
        """Write rows of a table as one record; see `SpoolWriter.put_rows`."""
        self.writer.put_rows(table, common, columns, rows, time_us=None if time_ms is None else time_ms * 1000)

    def put_event(self, table: str, values: Mapping[str, Any], *, time_ms: int | None = None) -> None:
        """Write one event, which has a ``kind``."""
        shared = {k: v for k, v in values.items() if k != "kind"}
        self.put(table, shared, ["kind"], [[values["kind"]]], time_ms=time_ms)

    def make_durable(self) -> None:
        """Have all that this thread wrote on disk.

        Raises:
            StorageError: The disk refuses. What was written waits in memory, and the call may be made again.
        """
        if self._does_sync and not self.writer.sync():
            raise StorageError(
                f"The spool in `{self.folder.path}` can't be written just now; what was sent waits in the server's "
                "memory and isn't safe yet. Send it again."
            )

    def has_others(self) -> bool:
        """Whether another process of this machine has something in the spool."""
        ours = self.writer.writer_id
        return any(not path.name.startswith(ours) for path in self.folder.segments())

    def close(self) -> None:
        """Finish the segment; another record would open a new one."""
        self._keeper.stop()
        self.writer.close()


def _nothing() -> None:
    """What a keeper does where there is nothing to do."""
