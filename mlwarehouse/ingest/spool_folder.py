"""A spool folder: where the processes of one machine put what they log to one warehouse until it is committed.

::

    spool.json        the spool's id: the application id of its commits
    committer.lock    held by the elected committer; the lock dies with its holder
    plan.json         what the last batch holds, written down before it is committed
    committed         the number of the last batch that is wholly committed, for those who wait
    losses.jsonl      what was acknowledged and couldn't be kept, for `doctor`
    wanted            touched by those who wait, so that the committer doesn't
    starting.lock     held for a moment by a process that takes up a run, so that of several one starts it
    reading.lock      held by readers that were overtaken: the committer waits a moment with its next batch
    repair.lock       held by a repair or a purge: the committer steps aside
    trouble           what keeps the committer from committing, while it does
    damaged/          segments with a damaged place, committed up to it
    segments/         one file a writer at a time, locked by its writer as long as it lives
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlwarehouse.config import Settings
from mlwarehouse.disk import create, is_locked, make_folder, sync_path, try_lock
from mlwarehouse.errors import StorageError


def machine_name() -> str:
    """A name for this machine that is stable across restarts: host name and the start of the system's machine id."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", platform.node()) or "host"
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return f"{host}-{Path(path).read_text(encoding='ascii').strip()[:8]}"
        except OSError:
            continue
    return host


READING_S = 5.0
"""The committer waits no longer for readers: one that is frozen must not keep it."""


class SpoolFolder:
    """This machine's spool for one warehouse."""

    def __init__(self, path: Path) -> None:
        """Name a spool folder; nothing is made until `create`."""
        self.path = path
        self.segments_path = path / "segments"
        self.plan_path = path / "plan.json"
        self.damaged_path = path / "damaged"
        self._repair_path = path / "repair.lock"
        self._committed_path = path / "committed"
        self._wanted_path = path / "wanted"
        self._starting_path = path / "starting.lock"
        self._reading_path = path / "reading.lock"
        self.lock_path = path / "committer.lock"
        self.log_path = path / "committer.log"
        self.losses_path = path / "losses.jsonl"

    @classmethod
    def of(cls, spools: Path, warehouse_id: str, settings: Settings) -> SpoolFolder:
        """The spool folder of a warehouse on this machine: in the setting `spool_dir`, or in the warehouse's own."""
        if settings.spool_dir:
            return cls(Path(settings.spool_dir).expanduser().resolve() / warehouse_id / machine_name())
        return cls(spools / machine_name())

    @property
    def exists(self) -> bool:
        """Whether somebody has logged through it."""
        return (self.path / "spool.json").exists()

    @property
    def spool_id(self) -> str:
        """The application id of this spool's commits."""
        try:
            return str(json.loads((self.path / "spool.json").read_text(encoding="utf-8"))["spool_id"])
        except (OSError, ValueError, KeyError) as error:
            raise StorageError(f"The spool in `{self.path}` has no readable `spool.json`: {error}") from error

    def create(self) -> None:
        """Make the folder and its id; fine when they are there, or when another process makes them right now.

        Raises:
            StorageError: The place can't be written.
        """
        if self.exists:
            return
        try:
            make_folder(self.segments_path)
            text = json.dumps({"spool_id": f"spool:{uuid.uuid4().hex}", "machine": machine_name()})
            create(self.path / "spool.json", text.encode())
        except OSError as error:
            raise StorageError(
                f"Nothing can be logged: the spool folder `{self.path}` can't be written ({error.strerror}). "
                "Make it writable, or choose another by MLWAREHOUSE_SPOOL_DIR."
            ) from error

    def segments(self) -> list[Path]:
        """The segment files, in the order in which they were opened by each writer."""
        try:
            return sorted(p for p in self.segments_path.iterdir() if p.suffix == ".seg")
        except FileNotFoundError:
            return []

    def put_aside(self, path: Path) -> None:
        """Move a segment with a damaged place to where `doctor` finds it."""
        self.damaged_path.mkdir(exist_ok=True)
        path.replace(self.damaged_path / path.name)
        sync_path(self.damaged_path)
        sync_path(self.segments_path)

    def damaged(self) -> list[Path]:
        """The segments that were put aside, and not mended yet."""
        return sorted(self.damaged_path.glob("*.seg"))

    def committed_batch(self) -> int:
        """The number of the last batch known to be wholly committed; 0 when none is."""
        try:
            return int(self._committed_path.read_text(encoding="ascii") or 0)
        except FileNotFoundError:
            return 0

    def note_committed(self, batch: int) -> None:
        """Tell those who wait that a batch is wholly committed. A hint: it needn't survive a power cut."""
        temporary = self._committed_path.with_suffix(".new")
        temporary.write_text(str(batch), encoding="ascii")
        temporary.replace(self._committed_path)

    def note_loss(self, table: str, n_rows: int, why: str) -> None:
        """Write down that acknowledged rows of a table are gone, for `doctor`.

        Args:
            table: The table.
            n_rows: How many rows.
            why: What is known of the cause.
        """
        entry = {"at": time.time_ns() // 1000, "table": table, "n_rows": n_rows, "why": why}
        fd = os.open(self.losses_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, json.dumps(entry).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    def losses(self) -> list[dict[str, Any]]:
        """What `note_loss` wrote down.

        Returns:
            Oldest first, dicts with ``at`` (microseconds since the epoch), ``table``, ``n_rows``, ``why``.
        """
        try:
            lines = self.losses_path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def ask_for_commit(self) -> None:
        """Ask the committer not to wait for the end of its interval."""
        self._wanted_path.touch()

    def commit_asked_at(self) -> int:
        """When a commit was last asked for, in nanoseconds of the file system's clock; 0 when never."""
        try:
            return self._wanted_path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @contextmanager
    def committer_lock(self) -> Iterator[bool]:
        """Try to become the committer; yields whether that worked."""
        fd = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield try_lock(fd)
        finally:
            os.close(fd)

    @contextmanager
    def repairing(self, timeout_s: float) -> Iterator[bool]:
        """Be alone with the spool: a living committer steps aside, and none starts.

        Args:
            timeout_s: How long to wait for the committer to end.

        Yields:
            Whether that worked.
        """
        fd = os.open(self._repair_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(fd):
                yield False
                return
            deadline = time.monotonic() + timeout_s
            while True:
                with self.committer_lock() as elected:
                    if elected or time.monotonic() > deadline:
                        yield elected
                        return
                time.sleep(0.05)
        finally:
            os.close(fd)

    def is_repairing(self) -> bool:
        """Whether a repair or a purge wants to be alone with the spool."""
        return is_locked(self._repair_path)

    def has_committer(self) -> bool:
        """Whether a committer is alive."""
        return is_locked(self.lock_path)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hold off the other processes of this machine that want to take up a run, for the moment it takes."""
        fd = os.open(self._starting_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the committer wait with its next batch, for `READING_S` at most; for those who may write the spool."""
        try:
            fd = os.open(self._reading_path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            yield
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    def let_read(self) -> None:
        """Wait for those who are `reading`."""
        fd = os.open(self._reading_path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            until = time.monotonic() + READING_S
            while not try_lock(fd) and time.monotonic() < until:
                time.sleep(0.01)
        finally:
            os.close(fd)

    def is_writing(self, writer_id: str) -> bool:
        """Whether a writer lives on this machine."""
        return bool(writer_id) and any(is_locked(p) for p in self.segments() if p.name.startswith(f"{writer_id}-"))
