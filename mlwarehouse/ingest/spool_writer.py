"""The writing end of a spool: one store into mapped memory a point, and no engine anywhere near.

One writer serves all threads and runs of a process. A forked child gets a segment and a writer id of its own at its
first record; its parent's file stays untouched.
"""

from __future__ import annotations

import json
import os
import time
import weakref
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import (
    KIND_ROWS,
    KIND_SERIES,
    POINT_BODY,
    RECORD,
    RECORD_BODY,
    SLOT,
    SLOT_FORM,
    payload_slots,
)
from mlwarehouse.ingest.spool_place import SpoolPlace

_pack_point = POINT_BODY.pack
_pack_slot = SLOT_FORM.pack_into
_crc32 = zlib.crc32


class SpoolWriter(SpoolPlace):
    """Appends points and rows to this process's segment of a spool.

    Its methods never wait for a place that refuses and never raise because of it: see `SpoolPlace`.
    """

    def __init__(self, folder: SpoolFolder, *, always_sync: bool = False) -> None:
        """Prepare to write; the first record opens the segment.

        Args:
            folder: The spool.
            always_sync: Force each record to disk before its call returns.
        """
        super().__init__(folder, always_sync=always_sync)
        _WRITERS.add(self)

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
        # Not `with`: entering and leaving it takes twice as long as the two calls. Taken within `try`, since Ctrl-C may
        # come as soon as the lock is taken.
        try:
            self._acquire()
            while True:
                index, memory = self._index, self._memory
                if name in series and index < self._limit:
                    number = series[name]
                else:
                    declared = self._declared(series, name, run)
                    if declared is None:
                        self.lose("metrics", 1)
                        break
                    number, index, memory = declared, self._index, self._memory
                try:
                    body = _pack_point(number, step, value, time_us)
                except Exception as error:
                    raise _not_a_point(name, step, value) from error
                code = _crc32(body, self._seed + index)
                # Unless a signal's handler, which runs in the middle of this, has logged something.
                if self._index == index and self._memory is memory:
                    # First the next one's place: then whatever a handler writes goes there.
                    self._index = index + 1
                    # The memory is there: a declared series has a segment.
                    _pack_slot(memory, index * SLOT, code, body)  # type: ignore[arg-type]
                    self.is_dirty = True
                    break
        except BaseException:
            self._let_go()
            raise
        self._release()
        if self._has_duty:
            self._see_to()

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
        try:
            self._acquire()
            for name, value in values:
                # As in `put_point`: a call for each would take as long as what it does.
                while True:
                    index, memory = self._index, self._memory
                    if name in series and index < self._limit:
                        number = series[name]
                    else:
                        declared = self._declared(series, name, run)
                        if declared is None:
                            self.lose("metrics", 1)
                            break
                        number, index, memory = declared, self._index, self._memory
                    try:
                        body = _pack_point(number, step, value, time_us)
                    except Exception as error:
                        raise _not_a_point(name, step, value) from error
                    code = _crc32(body, self._seed + index)
                    if self._index == index and self._memory is memory:
                        self._index = index + 1
                        _pack_slot(memory, index * SLOT, code, body)  # type: ignore[arg-type]
                        self.is_dirty = True
                        break
        except BaseException:
            self._let_go()
            raise
        self._release()
        if self._has_duty:
            self._see_to()

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
            if not self._put_record(KIND_ROWS, payload, time.time_ns() // 1000 if time_us is None else time_us):
                self.lose(table, len(rows))
        if self._has_duty:
            self._see_to()

    def _declared(self, series: dict[Any, int], name: Any, run: tuple[str, int]) -> int | None:
        """The series number of a key in the segment that has room for a point, or None where nothing can be kept."""
        if self._index >= self._limit and not self._has_room(1):
            return None
        number = series.get(name)
        if number is None:
            # Taken before anything else happens: a signal's handler that declares a series gets the next one.
            number, memory = self._next_series, self._memory
            self._next_series = number + 1
            key, context = name if isinstance(name, tuple) else (name, None)
            if not isinstance(key, str) or not key:
                raise InvalidInputError(f"A metric's key must be text that isn't empty; got {key!r}.")
            payload = json.dumps([number, run[0], run[1], key, context], ensure_ascii=False).encode()
            # Room for the declaration and the point that follows it: a series is declared in its own segment.
            if not self._put_record(KIND_SERIES, payload, time.time_ns() // 1000, extra_slots=1):
                return None
            if self._memory is not memory:
                # A new segment began, and series numbers with it.
                return self._declared(series, name, run)
            series[name] = number
        return number

    def _put_record(self, kind: int, payload: bytes, time_us: int, extra_slots: int = 0) -> bool:
        slots = 1 + payload_slots(len(payload))
        if self._index + slots + extra_slots > self._limit and not self._has_room(slots + extra_slots):
            return False
        body = RECORD_BODY.pack(RECORD | kind, len(payload), _crc32(payload), time_us)
        index, memory = self._index, self._memory
        assert memory is not None
        code = _crc32(body, self._seed + index)
        if self._index != index or self._memory is not memory or index + slots + extra_slots > self._limit:
            # A signal's handler has logged something in the middle of this.
            return self._put_record(kind, payload, time_us, extra_slots)
        self._index = index + slots
        start = (index + 1) * SLOT
        memory[start : start + len(payload)] = payload
        _pack_slot(memory, index * SLOT, code, body)
        self.is_dirty = True
        return True

    def _let_go(self) -> None:
        """Release the lock, if an interrupted call has it."""
        if self._lock._is_owned():  # type: ignore[attr-defined]
            self._release()

    def _after_fork_in_child(self) -> None:
        inherited = {self._segment, self._syncing, *self._left}
        self._reset()
        for segment in inherited:
            if segment is not None:
                # The parent's lock is on the open file they share; closing the child's copy leaves it alone.
                segment.let_go()


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
