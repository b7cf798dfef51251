"""Rows that come in parts and become one commit: each part is a file as soon as it is there, so memory stays small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import pyarrow as pa

from mlwarehouse.engines import embedded_commit
from mlwarehouse.engines.base import Appended, Txn
from mlwarehouse.engines.casting import cast_strict
from mlwarehouse.engines.embedded_commit import StagedFile
from mlwarehouse.engines.embedded_follow import TableLog
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TableSpec


class Staging:
    """Files of one table that become part of it together; used with ``with``, which removes what wasn't committed.

    A file is written by a thread of its own while the caller makes the rows of the next one; two are never written at
    once. A process that is killed leaves files that no log entry names, which maintenance takes away after a day.
    """

    def __init__(self, place: Storage, spec: TableSpec, log: Callable[[], TableLog | None]) -> None:
        """Stage for one table.

        Args:
            place: The table's folder.
            spec: The table.
            log: The table's log, up to date; see `embedded_commit.commit`.
        """
        self._place = place
        self._spec = spec
        self._log = log
        self._files: list[StagedFile] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mlwarehouse-staging")
        self._pending: Future[StagedFile] | None = None

    def __enter__(self) -> Staging:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the files that haven't been committed."""
        self._writer.shutdown()
        if self._pending is not None and self._pending.exception() is None:
            self._files.append(self._pending.result())
        for file in self._files:
            self._place.delete(file.path)

    def add(self, rows: pa.Table) -> None:
        """Make rows a file; it is written while the caller goes on.

        Raises:
            CastError: As for `Engine.append`.
            StorageError: These rows, or those before them, couldn't be written.
        """
        rows = cast_strict(rows, self._spec)
        self._written()
        if rows.num_rows:
            self._pending = self._writer.submit(
                embedded_commit.stage, self._place, rows, row_group_rows=self._spec.row_group_rows
            )

    def commit(self, txns: Sequence[Txn]) -> Appended:
        """Make all that was added part of the table, at most once; see `Engine.append`.

        Raises:
            StorageError: The write failed; nothing was added, unless the message says that this isn't known.
        """
        self._written()
        files, self._files = self._files, []
        return embedded_commit.commit(self._place, self._spec, files, txns, log=self._log())

    def _written(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            self._files.append(pending.result())
        except OSError as error:
            raise StorageError(
                f"Table `{self._spec.name}` in `{self._place.uri}` couldn't be written: {error}"
            ) from error
