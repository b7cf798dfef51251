"""The writing end of a spool: one store into mapped memory a point, and no engine anywhere near.

One writer serves all threads and runs of a process. A forked child gets a segment and a writer id of its own at its
first record; its parent's file stays untouched.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import secrets
import threading
import time
import warnings
import weakref
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from mlwarehouse.disk import sync_path
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.ingest.spool_folder import SpoolFolder, try_lock
from mlwarehouse.ingest.spool_format import (
    HEADER_SLOTS,
    KIND_ROWS,
    KIND_SERIES,
    POINT_BODY,
    RECORD,
    RECORD_BODY,
    SLOT,
    SLOT_FORM,
    SegmentHeader,
    payload_slots,
)

FIRST_SEGMENT = 1 << 20
LARGEST_SEGMENT = 16 << 20
"""Bytes of a writer's first segment, and of the largest: each is twice the one before, so short runs take little."""

SEED_BITS = 29
"""Of a segment's seed."""

RETRY_AFTER_S = 1.0
"""How long to wait before trying again to open a segment on a disk that refused."""

_pack_point = POINT_BODY.pack
_pack_slot = SLOT_FORM.pack_into
_crc32 = zlib.crc32


class SpoolWriter:
    """Appends points and rows to this process's segment of a spool.

    Attributes:
        dropped: Records that could not be kept because no segment could be opened.
        is_dirty: Whether something was written since the last `sync`.
    """

    def __init__(self, folder: SpoolFolder, *, always_sync: bool = False) -> None:
        """Prepare to write; the first record opens the segment.

        Args:
            folder: The spool.
            always_sync: Force each record to disk before its call returns.
        """
        self._folder = folder
        self._always_sync = always_sync
        self._maps: list[dict[Any, int]] = []
        self._reset()
        self._segment_bytes = FIRST_SEGMENT
        _WRITERS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._fd = -1
        self._memory: mmap.mmap | None = None
        self._index = 0
        self._limit = 0
        self._seed = 0
        self._next_series = 1
        self._writer_id = ""
        self._first_seq = 0
        self._has_new_segment = False
        self._next_try = 0.0
        self.dropped = 0
        self.is_dirty = False
        for series in self._maps:
            series.clear()

    def series_map(self) -> dict[Any, int]:
        """A new, empty map from a caller's keys to series numbers; emptied whenever a new segment begins."""
        series: dict[Any, int] = {}
        with self._lock:
            self._maps.append(series)
        return series

    def forget_map(self, series: dict[Any, int]) -> None:
        """Stop emptying a map that nobody uses any more."""
        with self._lock:
            self._maps = [m for m in self._maps if m is not series]

    def put_point(
        self, series: dict[Any, int], name: Any, run: tuple[str, int], step: int, value: float, time_us: int
    ) -> None:
        """Append one metric point.

        Args:
            series: The caller's map, from `series_map`.
            name: The metric's key, or (key, context): the key in that map.
            run: Run id and attempt.
            step: The step.
            value: The value.
            time_us: Microseconds since the epoch.

        Raises:
            InvalidInputError: The value isn't a number, or the step isn't a whole number of 64 bits.
        """
        # Not `with`: entering and leaving it takes twice as long as the two calls.
        self._acquire()
        try:
            index = self._index
            if name in series and index < self._limit:
                number = series[name]
            else:
                declared = self._declared(series, name, run)
                if declared is None:
                    return
                number, index = declared, self._index
            try:
                body = _pack_point(number, step, value, time_us)
            except Exception as error:
                raise _not_a_point(name, step, value) from error
            # `self._memory` is there: a declared series has a segment.
            _pack_slot(self._memory, index * SLOT, _crc32(body, self._seed + index), body)  # type: ignore[arg-type]
            self._index = index + 1
            self.is_dirty = True
        finally:
            self._release()
        if self._always_sync:
            self.sync()

    def put_points(
        self, series: dict[Any, int], values: Iterable[tuple[Any, float]], run: tuple[str, int], step: int, time_us: int
    ) -> None:
        """Append points of several metrics at one step and time; see `put_point`.

        Args:
            series: The caller's map, from `series_map`.
            values: Keys in that map, and values.
            run: Run id and attempt.
            step: The step of all.
            time_us: Microseconds since the epoch, of all.

        Raises:
            InvalidInputError: A value isn't a number, or the step isn't a whole number; the points before are kept.
        """
        self._acquire()
        try:
            for name, value in values:
                index = self._index
                if name in series and index < self._limit:
                    number = series[name]
                else:
                    declared = self._declared(series, name, run)
                    if declared is None:
                        continue
                    number, index = declared, self._index
                try:
                    body = _pack_point(number, step, value, time_us)
                except Exception as error:
                    raise _not_a_point(name, step, value) from error
                _pack_slot(self._memory, index * SLOT, _crc32(body, self._seed + index), body)  # type: ignore[arg-type]
                self._index = index + 1
                self.is_dirty = True
        finally:
            self._release()
        if self._always_sync:
            self.sync()

    def put_rows(
        self,
        table: str,
        common: dict[str, Any],
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        time_us: int | None = None,
    ) -> None:
        """Append rows of a table as one record: all of them are kept, or none.

        Args:
            table: The table's name.
            common: Columns that all rows share; times as microseconds since the epoch.
            columns: The other columns.
            rows: Their values, a sequence a row.
            time_us: When it happened; None means now.
        """
        payload = json.dumps([table, common, columns, rows], separators=(",", ":"), ensure_ascii=False).encode()
        with self._lock:
            self._put_record(KIND_ROWS, payload, time.time_ns() // 1000 if time_us is None else time_us)
        if self._always_sync:
            self.sync()

    def sync(self) -> None:
        """Force what was written to disk."""
        with self._lock:
            if self._fd < 0 or not self.is_dirty:
                return
            self.is_dirty = False
            has_new_segment, self._has_new_segment = self._has_new_segment, False
            fd = os.dup(self._fd)
        try:
            # Outside the lock: a slow disk must not hold up logging.
            os.fdatasync(fd)
            if has_new_segment:
                sync_path(self._folder.segments_path)
        except OSError:
            self.is_dirty = True
            self._has_new_segment = self._has_new_segment or has_new_segment
            raise
        finally:
            os.close(fd)

    def close(self) -> None:
        """Sync and finish the segment; a later record opens a new one."""
        self.sync()
        with self._lock:
            self._finish_segment()

    def _declared(self, series: dict[Any, int], name: Any, run: tuple[str, int]) -> int | None:
        """The series number of a key in the segment that has room for a point, or None where nothing can be kept."""
        if self._index >= self._limit and not self._open_segment(1):
            return None
        number = series.get(name)
        if number is None:
            number = self._next_series
            key, context = name if isinstance(name, tuple) else (name, None)
            if not isinstance(key, str) or not key:
                raise InvalidInputError(f"A metric's key must be text that isn't empty; got {key!r}.")
            payload = json.dumps([number, run[0], run[1], key, context], ensure_ascii=False).encode()
            # Room for the declaration and the point that follows it: a series is declared in its own segment.
            if not self._put_record(KIND_SERIES, payload, time.time_ns() // 1000, extra_slots=1):
                return None
            if number != self._next_series:
                # A new segment began, and series numbers with it.
                return self._declared(series, name, run)
            self._next_series = number + 1
            series[name] = number
        return number

    def _put_record(self, kind: int, payload: bytes, time_us: int, extra_slots: int = 0) -> bool:
        slots = 1 + payload_slots(len(payload))
        if self._index + slots + extra_slots > self._limit and not self._open_segment(slots + extra_slots):
            return False
        index = self._index
        memory = self._memory
        assert memory is not None
        start = (index + 1) * SLOT
        memory[start : start + len(payload)] = payload
        body = RECORD_BODY.pack(RECORD | kind, len(payload), _crc32(payload), time_us)
        _pack_slot(memory, index * SLOT, _crc32(body, self._seed + index), body)
        self._index = index + slots
        self.is_dirty = True
        return True

    def _open_segment(self, slots: int) -> bool:
        """Begin a new segment with room for at least ``slots``; False where the disk refuses (counted and told)."""
        if time.monotonic() < self._next_try:
            self.dropped += 1
            return False
        if self._fd >= 0:
            self._finish_segment()
        if not self._writer_id:
            self._writer_id = secrets.token_hex(8)
            self._first_seq = 0
        size = max(self._segment_bytes, (slots + HEADER_SLOTS) * SLOT)
        now = time.time_ns() // 1000
        path = self._folder.segments_path / f"{self._writer_id}-{self._first_seq:016x}.seg"
        fd = -1
        try:
            self._folder.segments_path.mkdir(parents=True, exist_ok=True)
            # Under a name that no reader looks at, until it is locked and has its header.
            temporary = path.with_suffix(".new")
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try_lock(fd)
            # Allocated before use: a mapped store to a full disk would signal the process.
            os.posix_fallocate(fd, 0, size)
            memory = mmap.mmap(fd, size)
            # Small enough that adding an index stays within one digit of Python's integers: it is added for each point.
            seed = secrets.randbits(SEED_BITS)
            header = SegmentHeader(self._writer_id, self._first_seq, seed, os.getpid(), now)
            memory[: HEADER_SLOTS * SLOT] = header.pack()
            temporary.rename(path)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            with contextlib.suppress(OSError):
                path.with_suffix(".new").unlink(missing_ok=True)
            self._next_try = time.monotonic() + RETRY_AFTER_S
            self.dropped += 1
            warnings.warn(
                f"mlwarehouse can't keep what is logged: `{self._folder.segments_path}` refuses ({error.strerror}). "
                "Training goes on; records are counted as dropped until it can be written again.",
                RuntimeWarning,
                stacklevel=4,
            )
            return False
        self._fd, self._memory, self._seed = fd, memory, seed
        self._has_new_segment = True
        self._index, self._limit = HEADER_SLOTS, size // SLOT
        self._next_series = 1
        for series in self._maps:
            series.clear()
        self._segment_bytes = min(2 * self._segment_bytes, LARGEST_SEGMENT)
        return True

    def _finish_segment(self) -> None:
        if self._fd < 0:
            return
        self._first_seq += self._index
        if self._memory is not None:
            self._memory.close()
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
            os.ftruncate(self._fd, self._index * SLOT)
        # Closing lets go of the lock: readers know that the segment is complete.
        os.close(self._fd)
        self._fd, self._memory, self._index, self._limit = -1, None, 0, 0
        for series in self._maps:
            series.clear()

    def _after_fork_in_child(self) -> None:
        fd, memory = self._fd, self._memory
        self._reset()
        self._segment_bytes = FIRST_SEGMENT
        if memory is not None:
            memory.close()
        if fd >= 0:
            # The parent's lock is on the open file they share; closing the child's copy leaves it alone.
            os.close(fd)


_WRITERS: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in list(_WRITERS):
        writer._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _not_a_point(name: Any, step: Any, value: Any) -> InvalidInputError:
    key = name[0] if isinstance(name, tuple) else name
    try:
        float(value)
    except (TypeError, ValueError):
        return InvalidInputError(
            f"Metric `{key}` got the value {value!r} of type {type(value).__name__}; a metric's value is a number. "
            "Log text by `set_tag` or `log_param`."
        )
    return InvalidInputError(
        f"Metric `{key}` got the step {step!r} of type {type(step).__name__}; a step is a whole number of 64 bits."
    )
