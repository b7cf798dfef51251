"""Reading what a worker answers, as it comes: within the question's time and room, and trusting none of it."""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa

from mlwarehouse import errors
from mlwarehouse.engines.locked_wire import LONGEST_HEADER, Bounds, read_header
from mlwarehouse.errors import QueryCancelledError, SqlError, SqlLimitError, StorageError, WarehouseError

CHUNK_BYTES = 1 << 20

SENDING_S = 300.0
"""How much longer than its time a question may live while who asked takes the rows: the worker waits for that."""


class LockedAnswer:
    """An answer that is being given: iterate over its batches, once.

    Attributes:
        schema: Its columns.
        is_truncated: Whether there were more rows than the limit; known when all batches have come.
    """

    def __init__(self, out: int, bounds: Bounds, is_cancelled: Callable[[], bool]) -> None:
        """Wait for the beginning of an answer.

        Args:
            out: The pipe's end to read from; the caller closes it.
            bounds: What the question may take.
            is_cancelled: Whether who asked has cancelled it, and so ended the worker.

        Raises:
            SqlError: As for iterating.
        """
        self._bounds = bounds
        self._is_cancelled = is_cancelled
        self._source = cast(BinaryIO, io.BufferedReader(_Pipe(out, bounds), CHUNK_BYTES))
        self._reader = self._guarded(self._open)
        self.schema: pa.Schema = self._reader.schema
        self.is_truncated = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, as the worker has them.

        Raises:
            SqlError: The worker refused the question, or it failed.
            SqlLimitError: It took too much time, memory or room.
            QueryCancelledError: It was cancelled.
            StorageError: The worker can't read the tables.
        """
        while (batch := self._guarded(self._next)) is not None:
            yield batch
        self.is_truncated = bool(self._guarded(self._header).get("is_truncated"))

    def _open(self) -> pa.RecordBatchStreamReader:
        self._header()
        return pa.ipc.open_stream(self._source)

    def _next(self) -> pa.RecordBatch | None:
        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            return None
        batch.validate(full=True)
        return batch

    def _header(self) -> dict[str, Any]:
        header = read_header(self._source)
        if "error" in header:
            raise _failure(str(header["error"]), str(header.get("message", "")))
        return header

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except WarehouseError:
            raise
        except (ValueError, OSError, MemoryError, RecursionError, pa.ArrowException):
            if self._is_cancelled():
                raise QueryCancelledError("The question was cancelled.") from None
            # A worker that can't have memory where it can't do without ends without a word.
            raise SqlLimitError(
                f"The question's worker broke down; most often {self._bounds.memory_bytes >> 20} MiB of memory were "
                "too little for it. Ask for less at once."
            ) from None


class _Pipe(io.RawIOBase):
    """A worker's end of the pipe, read within the question's bounds."""

    def __init__(self, out: int, bounds: Bounds) -> None:
        self._out, self._bounds = out, bounds
        self._left_s = bounds.time_s
        self._ends_at = time.monotonic() + bounds.time_s + SENDING_S
        self._n_bytes = 0
        self._waiting = select.poll()
        self._waiting.register(out, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # What counts is the time for which the worker is waited for.
        begun = time.monotonic()
        waits = max(0.0, min(self._left_s, self._ends_at - begun))
        if not self._waiting.poll(waits * 1000):
            raise SqlLimitError(
                f"The question took longer than its {self._bounds.time_s:g} s and was ended; ask for less at once."
            )
        self._left_s -= time.monotonic() - begun
        n_read = os.readv(self._out, [buffer])
        self._n_bytes += n_read
        if self._n_bytes > 2 * self._bounds.result_bytes + LONGEST_HEADER:
            raise SqlLimitError(
                f"The answer has more than its {self._bounds.result_bytes >> 20} MiB; ask for fewer columns or rows."
            )
        return n_read


def _failure(kind: str, message: str) -> WarehouseError:
    if kind in (SqlError.__name__, SqlLimitError.__name__, errors.SandboxUnavailableError.__name__):
        failure: WarehouseError = getattr(errors, kind)(message)
        return failure
    return StorageError(
        f"A worker couldn't answer ({message}). The question is not at fault: see `mlwarehouse doctor`."
    )
