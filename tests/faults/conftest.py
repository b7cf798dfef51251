"""Faults made to order: dying at a chosen file operation, small disks that fill up, disks whose power is cut."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

SOAK = os.environ.get("MLWAREHOUSE_SOAK") == "1"
"""Whether the long form of each test was asked for."""

OPERATIONS = ("open", "write", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "ftruncate", "mkdir")
"""The system's calls that a spool, a commit and the artifact store change files by."""


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it, and nothing that is done afterwards reaches the disk."""


class Countdown:
    """Lets a number of file operations pass and refuses each one after them.

    Attributes:
        done: Operations that were let pass.
    """

    def __init__(self, allowed: int) -> None:
        self.done = 0
        self._allowed = allowed

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.done >= self._allowed:
                raise Killed
            self.done += 1
            return operation(*args, **kwargs)

        return counted


@contextmanager
def dying_after(allowed: int):
    """Within it, the process dies at the file operation behind the first ``allowed``; yields the `Countdown`.

    A Parquet file's writing and a Delta log entry's are one operation each, with a death before and after them.
    """
    countdown = Countdown(allowed)
    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, countdown.wrap(getattr(os, name)))
        patch.setattr(pq, "write_table", countdown.wrap(pq.write_table))
        patch.setattr(DeltaTable, "create_write_transaction", countdown.wrap(DeltaTable.create_write_transaction))
        yield countdown


def command(*arguments: str | Path) -> str:
    """Run a command of the system and return what it prints."""
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout.strip()


def make_image(path: Path, size: int) -> None:
    """An empty ext4 in a file."""
    with path.open("wb") as file:
        file.truncate(size)
    command("mkfs.ext4", "-q", "-F", path)


class SmallDisk:
    """A file system of a few MiB in memory.

    Attributes:
        path: Where it is mounted.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        path.mkdir(exist_ok=True)
        self.mount()

    def mount(self) -> None:
        command("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", self.path)

    def remount(self, option: str) -> None:
        command("mount", "-o", f"remount,{option}", self.path)

    def unmount(self) -> None:
        """Take it away although files of it are open."""
        command("umount", "-l", self.path)

    def fill(self) -> None:
        """Leave no room at all."""
        fd = os.open(self.path / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(fd, bytes(4096))
        except OSError:
            pass
        finally:
            os.close(fd)

    def free(self) -> None:
        (self.path / "ballast").unlink()


@pytest.fixture(scope="session")
def as_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For tests that mount file systems; where that is refused they are skipped and say so."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    for tool in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` isn't installed")
    place = tmp_path_factory.mktemp("mounting")
    make_image(place / "image", 1 << 20)
    (place / "mounted").mkdir()
    arguments = ["mount", "-o", "loop", str(place / "image"), str(place / "mounted")]
    tried = subprocess.run(arguments, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"mounting is refused here: {tried.stderr.strip()}")
    command("umount", place / "mounted")


@pytest.fixture
def small_disk(tmp_path: Path, as_root: None) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", 8 << 20)
    yield disk
    while disk.path.is_mount():
        disk.unmount()
