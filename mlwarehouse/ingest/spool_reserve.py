"""What waits in memory while the spool's place refuses: whole segments, oldest first, ready to be written as files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import SLOT
from mlwarehouse.ingest.spool_segment import Segment, place

RESERVE_BYTES = 64 << 20
"""How much may wait; the segment under way when the place began to refuse comes on top."""

RESERVE_SEGMENT = 4 << 20
"""Bytes of one segment in memory: as much as is written at most while the logging calls wait."""


@dataclass(eq=False)
class Waiting:
    """A segment that belongs into its file.

    Attributes:
        path: The file.
        content: All its bytes.
        old_fd: The file that it was in, locked, so that no reader takes it for complete; -1 where there was none.
        fd: The file that it was written into, locked until it is synced; -1 before.
    """

    path: Path
    content: bytes | memoryview
    old_fd: int = -1
    fd: int = -1


class Reserve:
    """Segments that wait. Not locked: its writer's lock guards it."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._all: list[Waiting] = []

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may wait."""
        return sum(len(w.content) for w in self._all) + size <= RESERVE_BYTES

    def add(self, segment: Segment, end: int) -> int:
        """Have the slots of a segment before ``end`` wait; the segment itself is done with.

        Returns:
            How many slots are gone with the disk.
        """
        if segment.fd < 0:
            waiting = Waiting(segment.path, memoryview(segment.memory)[: end * SLOT])
        else:
            waiting = Waiting(segment.path, segment.copy(end), segment.fd)
            segment.fd = -1
            segment.let_go()
        self._all.append(waiting)
        # By their first sequence numbers: one that was being synced comes later than its successor.
        self._all.sort(key=lambda w: w.path.name)
        return end - len(waiting.content) // SLOT

    def next(self) -> Waiting | None:
        """The oldest segment that isn't in its file."""
        return next((w for w in self._all if w.fd < 0), None)

    def placed(self) -> list[Waiting]:
        """The segments that are in their files and not synced."""
        return [w for w in self._all if w.fd >= 0]

    def put(self, waiting: Waiting) -> None:
        """Write a segment into its file.

        Raises:
            OSError: The place refuses.
        """
        fd = place(waiting.path, waiting.content)
        _close(waiting)
        waiting.fd = fd

    def settled(self, synced: list[Waiting]) -> None:
        """Let go of segments that are synced: readers know that they are complete."""
        for waiting in synced:
            _close(waiting)
        self._all = [w for w in self._all if w not in synced]

    def unsettle(self) -> None:
        """Have what is in its file and can't be synced wait again, to be written anew.

        The kernel takes a page that it couldn't write for written, and another sync of it would say so.
        """
        for waiting in self.placed():
            waiting.old_fd, waiting.fd = waiting.fd, -1

    def rescue(self) -> Path | None:
        """Write what waits into a new folder for temporary files: the place refuses to the process's end.

        Segments that were in a file which still exists somewhere stay there.

        Returns:
            The folder, a spool's by its shape; None where nothing had to be rescued.

        Raises:
            OSError: That place refuses too.
        """
        lost = [w for w in self._all if w.old_fd < 0 or os.fstat(w.old_fd).st_nlink == 0]
        rescued = None
        if lost:
            rescued = Path(tempfile.mkdtemp(prefix="mlwarehouse-rescued-"))
            folder = SpoolFolder(rescued).segments_path
            folder.mkdir()
            for waiting in lost:
                fd = place(folder / waiting.path.name, waiting.content)
                os.fdatasync(fd)
                os.close(fd)
        self.clear()
        return rescued

    def clear(self) -> None:
        """Forget everything and close the files."""
        for waiting in self._all:
            _close(waiting)
        self._all = []


def _close(waiting: Waiting) -> None:
    for fd in (waiting.old_fd, waiting.fd):
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
    waiting.old_fd = waiting.fd = -1
