"""Where a writer's slots go: into a segment's file, and into memory for as long as the file's place refuses.

A full disk, a folder that can't be written, a file system that is gone, a sync that fails: each makes the writer go on
in memory, in segments of the same form, up to a bound. As soon as the place takes files again these are written first,
oldest first, so the order is kept; and a segment whose sync failed is written anew, because the kernel takes a page
that it couldn't write for written. What doesn't fit into memory is counted, by table, and written down for `doctor`.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from mlwarehouse.disk import sync_path
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import HEADER_SLOTS, SLOT, SegmentHeader
from mlwarehouse.ingest.spool_outage import Outage, reason
from mlwarehouse.ingest.spool_reserve import RESERVE_SEGMENT, Reserve
from mlwarehouse.ingest.spool_segment import Segment, mount_point, remove_leftovers

FIRST_SEGMENT = 1 << 20
LARGEST_SEGMENT = 16 << 20
"""Bytes of a writer's first segment, and of the largest: each is twice the one before, so short runs take little."""

SEED_BITS = 29
"""Of a segment's seed."""

MOST_LEFT = 8
"""Full segments that may wait to be synced; a logging call that fills one more waits for the disk itself."""

RETRY_AFTER_S = 1.0
"""How long to wait before trying again to write to a place that refused."""


class SpoolPlace:
    """The segments of one writer.

    Few attributes: an object with thirty of them is slower to read, and a logging call reads seven.

    Attributes:
        dropped: Rows that this process couldn't keep.
        is_dirty: Whether something was written since the last `sync`.
        n_syncs: How often something that was written was forced to disk, by whomever.
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
        self._mount: Path | None = None
        self._reserve = Reserve()
        self._reset()

    def _reset(self) -> None:
        # One that its holder may take again: a signal's handler may log while its thread does.
        self._lock = threading.RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        # Taken before `_lock`, never within it: who finds nothing left to sync must know that it is on disk by now.
        self._sync_lock = threading.Lock()
        self._segment: Segment | None = None
        self._syncing: Segment | None = None
        # Full ones, to be synced and completed by whoever syncs next: no logging call waits for the disk.
        self._left: list[Segment] = []
        self._memory: mmap.mmap | None = None
        self._segment_bytes = FIRST_SEGMENT
        self._index = 0
        self._limit = 0
        self._seed = 0
        self._next_series = 1
        self._writer_id = ""
        self._first_seq = 0
        self._has_new_segment = False
        self._outage = Outage()
        self._has_duty = self._always_sync
        self.dropped = 0
        self.is_dirty = False
        self.n_syncs = 0
        self._reserve.clear()
        for series in self._maps:
            series.clear()

    @property
    def writer_id(self) -> str:
        """What this process's rows say of who wrote them, and how its segments' names begin."""
        if not self._writer_id:
            self._writer_id = secrets.token_hex(8)
        return self._writer_id

    def sync(self) -> bool:
        """Force what was written to disk.

        Returns:
            Whether it is all there. Where it isn't, it waits in memory, and that has been told.
        """
        with self._sync_lock:
            is_synced = self._sync()
        self._outage.deliver()
        return is_synced

    def heal(self) -> None:
        """Look after the place: notice that it is gone, and write what waits as soon as it takes files.

        A process's keeper calls it each second. Records go on being taken meanwhile.
        """
        with self._sync_lock:
            self._heal()
        self._outage.deliver()

    def close(self) -> None:
        """Sync and finish the segment; a later record opens a new one.

        What still waits in memory is written into a new folder for temporary files, and told.
        """
        self.heal()
        self.sync()
        with self._lock:
            self._finish_segment()
            self._complete_left(list(self._left))
            self._outage.note_losses(self._folder)
            if self._outage.why:
                self._give_up()
        self._outage.deliver()

    def _heal(self) -> None:
        segment = self._segment
        is_gone = segment is not None and segment.fd >= 0 and not segment.is_in_place()
        with self._lock:
            if is_gone and segment is self._segment:
                self._refuse("its files are gone")
            self._outage.is_healing = bool(self._outage.why)
        if self._outage.is_healing:
            try:
                self._put_back_unlocked()
            except OSError as error:
                self._outage.why = reason(error)
            # Its caller comes again, so the logging calls needn't try.
            self._outage.next_try = time.monotonic() + 2 * RETRY_AFTER_S
            self._outage.is_healing = False
        if self._reserve.placed():
            self._sync()

    def _sync(self) -> bool:
        with self._lock:
            segment = self._segment
            placed, left = self._reserve.placed(), list(self._left)
            if not (self.is_dirty or placed or left):
                return not self._outage.why
            self.is_dirty = False
            self._syncing = None if segment is None or segment.fd < 0 else segment
            has_new_segment, self._has_new_segment = self._has_new_segment, False
        try:
            # Outside the lock: a slow disk must not hold up logging.
            for waiting in placed:
                os.fdatasync(waiting.fd)
            for full in left:
                os.fdatasync(full.fd)
            if self._syncing is not None:
                os.fdatasync(self._syncing.fd)
            if has_new_segment or placed:
                sync_path(self._folder.segments_path)
        except OSError as error:
            with self._lock:
                self._reserve.unsettle()
                self._refuse(reason(error))
                self._leave_synced()
                self._complete_left(list(self._left))
            return False
        with self._lock:
            self._leave_synced()
            self._complete_left(left)
            self._reserve.settled(placed)
            if self._outage.why:
                return False
            self.n_syncs += 1
            if self._outage.is_told:
                self._outage.tell_of_healing(self._folder)
        return True

    def _see_to(self) -> None:
        """What a logging call has left to do when it has let go of the lock."""
        if self._always_sync or (self._outage.is_told and not self._outage.why):
            self.sync()
        self._outage.deliver()
        self._has_duty = self._always_sync

    def _has_room(self, slots: int) -> bool:
        """Whether so many slots fit, in a new segment if need be; where they don't, they can't be kept."""
        if (
            self._outage.why
            and time.monotonic() >= self._outage.next_try
            and not (self._outage.is_healing or self._syncing)
        ):
            self._outage.next_try = time.monotonic() + RETRY_AFTER_S
            try:
                self._put_back()
                self._has_duty = True
            except OSError as error:
                self._outage.why = reason(error)
        segment = self._segment
        if self._outage.why and segment is not None and self._index + slots <= segment.n_slots:
            # Slot by slot, so that each call looks whether it is time for another try.
            self._limit = self._index + slots
            return True
        self._finish_segment()
        return (not self._outage.why and self._begin_in_file(slots)) or self._begin_in_memory(slots)

    def _begin_in_file(self, slots: int) -> bool:
        size = max(self._segment_bytes, (slots + HEADER_SLOTS) * SLOT)
        try:
            self._make_place()
            segment = Segment.in_file(self._folder.segments_path, self._header(), size)
        except OSError as error:
            self._refuse(reason(error))
            return False
        self._begin(segment)
        self._limit = segment.n_slots
        self._has_new_segment = True
        self._segment_bytes = min(2 * self._segment_bytes, LARGEST_SEGMENT)
        return True

    def _begin_in_memory(self, slots: int) -> bool:
        size = max(RESERVE_SEGMENT, (slots + HEADER_SLOTS) * SLOT)
        if not self._reserve.has_room(size):
            return False
        try:
            segment = Segment.in_memory(self._folder.segments_path, self._header(), size)
        except OSError:
            return False
        self._begin(segment)
        self._limit = self._index + slots
        return True

    def _header(self) -> SegmentHeader:
        # Small enough that adding an index stays within one digit of Python's integers: it is added for each point.
        seed = secrets.randbits(SEED_BITS)
        return SegmentHeader(self.writer_id, self._first_seq, seed, os.getpid(), time.time_ns() // 1000)

    def _begin(self, segment: Segment) -> None:
        self._segment, self._memory, self._seed = segment, segment.memory, segment.seed
        self._index = HEADER_SLOTS
        self._next_series = 1
        for series in self._maps:
            series.clear()

    def _make_place(self) -> None:
        """Make the folder where it isn't, but not in the empty mount point of a file system that is gone."""
        if not self._folder.segments_path.is_dir() or not self._folder.exists:
            if self._mount is not None and not self._mount.is_mount():
                raise OSError(errno.ENODEV, f"nothing is mounted at `{self._mount}`")
            try:
                self._folder.create()
            except StorageError as error:
                raise error.__cause__ if isinstance(error.__cause__, OSError) else OSError(str(error)) from error
            self._folder.segments_path.mkdir(exist_ok=True)
        if self._mount is None:
            self._mount = mount_point(self._folder.path)
            remove_leftovers(self._folder.segments_path)

    def _finish_segment(self) -> None:
        """Be done with the segment: complete in its file, or waiting."""
        segment, end = self._segment, self._index
        if segment is None:
            return
        self._segment, self._memory, self._index, self._limit = None, None, 0, 0
        self._first_seq += end
        for series in self._maps:
            series.clear()
        segment.left_at = end
        if segment is self._syncing:
            # The kernel tells of a failed write once: who is just asking has to know which slots to save.
            return
        if segment.fd >= 0 and not self._outage.why and len(self._left) < MOST_LEFT:
            self._left.append(segment)
        else:
            self._complete(segment, end)

    def _leave_synced(self) -> None:
        """Be done with the segment that was just synced, if it was left meanwhile: what came late isn't on disk yet."""
        segment, self._syncing = self._syncing, None
        if segment is not None and segment.left_at:
            self._left.append(segment)

    def _complete_left(self, segments: list[Segment]) -> None:
        """Be done with segments that were left."""
        for segment in segments:
            if segment in self._left:
                self._left.remove(segment)
                self._complete(segment, segment.left_at)

    def _complete(self, segment: Segment, end: int) -> None:
        if segment.fd >= 0 and not self._outage.why:
            try:
                if not segment.is_in_place():
                    raise FileNotFoundError(errno.ENOENT, "its files are gone")
                segment.finish(end)
                return
            except OSError as error:
                self._refuse(reason(error))
        if end > HEADER_SLOTS:
            self.lose("metrics", self._reserve.add(segment, end))
        else:
            segment.let_go()

    def _refuse(self, why: str) -> None:
        """Go on in memory."""
        self._outage.next_try = time.monotonic() + RETRY_AFTER_S
        self._outage.why = why
        self._finish_segment()
        self._outage.tell_of_refusal(self._folder.segments_path)
        self._has_duty = True

    def _put_back_unlocked(self) -> None:
        """Write what waits, one segment at a time, and the last one under the lock.

        Raises:
            OSError: The place refuses.
        """
        self._make_place()
        while True:
            with self._lock:
                waiting = self._reserve.next()
                if waiting is None:
                    self._put_back()
                    return
            self._reserve.put(waiting)

    def _put_back(self) -> None:
        """Write what waits, and be as before.

        Raises:
            OSError: The place refuses.
        """
        self._make_place()
        while waiting := self._reserve.next():
            self._reserve.put(waiting)
        # Last, so that a place that goes on refusing doesn't cut memory into ever more segments.
        self._finish_segment()
        while waiting := self._reserve.next():
            self._reserve.put(waiting)
        self._outage.why = ""

    def lose(self, table: str, n_rows: int) -> None:
        """Count rows that can't be kept."""
        self.dropped += n_rows
        self._outage.lost[table] += n_rows

    def _give_up(self) -> None:
        """End while the place refuses."""
        self._outage.is_told, self._outage.why = False, ""
        try:
            rescued = self._reserve.rescue()
        except OSError as error:
            self._reserve.clear()
            self._outage.tell_of_loss(reason(error))
            return
        if rescued is not None:
            self._outage.note_losses(SpoolFolder(rescued))
            self._outage.tell_of_rescue(self._folder.segments_path, rescued)
