"""A spool whose file operations fail, this one or that one, at any moment: nothing that was logged is lost."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from mlwarehouse.ingest import spool_place
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_format import SLOT
from mlwarehouse.ingest.spool_segment import Segment
from mlwarehouse.ingest.spool_writer import SpoolWriter
from tests.faults.conftest import SOAK
from tests.faults.spools import RUN, TOLD, Log, everything, heal, steps

SEED = 20_261_121


def test_a_failed_sync_is_not_believed_when_it_works_again(tmp_path, monkeypatch):
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    log = Log(folder)
    log(100)
    (before,) = folder.segments()
    inode = before.stat().st_ino
    real = os.fdatasync

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.warns(RuntimeWarning, match=f"{TOLD}.*Input/output error"):
        assert not log.writer.sync()
    log(100)
    log.writer.heal()
    log(100)
    assert not log.writer.sync()
    monkeypatch.setattr(os, "fdatasync", real)
    heal(log)
    assert before.stat().st_ino != inode
    log(100)
    assert log.writer.sync()
    log.expect_all()


def test_refusals_at_random_moments_under_load(tmp_path, monkeypatch):
    """Three threads log, one looks after the spool, and the disk refuses now this and now that."""
    monkeypatch.setattr(spool_place, "FIRST_SEGMENT", 64 * 1024)
    monkeypatch.setattr(spool_place, "LARGEST_SEGMENT", 64 * 1024)
    monkeypatch.setattr(spool_place, "RESERVE_SEGMENT", 64 * 1024)
    monkeypatch.setattr(spool_place, "RETRY_AFTER_S", 0.005)
    draw = random.Random(SEED)
    broken: set[str] = set()

    def breakable(name: str, error: int) -> None:
        real = getattr(os, name)

        def call(*arguments):
            if name in broken:
                raise OSError(error, os.strerror(error))
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    breakable("fdatasync", errno.EIO)
    breakable("posix_fallocate", errno.ENOSPC)
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    writer = SpoolWriter(folder)
    is_over = threading.Event()
    counts = [0, 0, 0]

    def log(number: int) -> None:
        series = writer.series_map()
        while not is_over.is_set():
            for _ in range(100):
                writer.put_point(series, f"thread {number}", RUN, counts[number], 0.5, 1)
                counts[number] += 1
            if number == 0:
                writer.put_rows("param_events", {"run_id": "a"}, ["key"], [[str(counts[0])]], time_us=1)
            time.sleep(0.0005)

    def keep() -> None:
        while not is_over.wait(0.003):
            writer.heal()
            writer.sync()

    threads = [threading.Thread(target=log, args=(i,)) for i in range(3)] + [threading.Thread(target=keep)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + (120 if SOAK else 3)
        while time.monotonic() < deadline:
            fault = draw.choice(["fdatasync", "posix_fallocate", "vanish", "none"])
            if fault == "vanish":
                folder.segments_path.rename(tmp_path / "aside")
                time.sleep(draw.uniform(0, 0.02))
                try:
                    (tmp_path / "aside").rename(folder.segments_path)
                except OSError:
                    # Made anew meanwhile, and what was in use written again; the files that were complete come back.
                    for path in (tmp_path / "aside").iterdir():
                        if not (folder.segments_path / path.name).exists():
                            path.rename(folder.segments_path / path.name)
                    shutil.rmtree(tmp_path / "aside")
            elif fault != "none":
                broken.add(fault)
                time.sleep(draw.uniform(0, 0.03))
                broken.clear()
            time.sleep(draw.uniform(0, 0.03))
        is_over.set()
        for thread in threads:
            thread.join()
        writer.close()
    assert len(told) > 5
    assert writer.dropped == 0
    found = everything(folder)
    for number in range(3):
        steps = [what[1] for what in found if len(what) == 4 and what[0][2] == f"thread {number}"]
        assert steps == list(range(counts[number]))
    n_rows = sum(1 for what in found if len(what) == 3)
    assert n_rows == counts[0] // 100


@pytest.mark.parametrize("n_failing", [1, 2, 7, 1000])
def test_each_operation_of_a_writer_may_fail(tmp_path, monkeypatch, n_failing):
    """The Nth file operation fails, and some after it, for every N; then the disk is well again."""
    monkeypatch.setattr(spool_place, "FIRST_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "LARGEST_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "RESERVE_SEGMENT", 4096)
    monkeypatch.setattr(spool_place, "RETRY_AFTER_S", 0.0)
    names = ("open", "write", "fdatasync", "fsync", "rename", "unlink", "ftruncate", "mkdir", "posix_fallocate")
    real = {name: getattr(os, name) for name in names}
    first = n_done = 0
    is_well = True

    def failing(name: str):
        def call(*arguments, **options):
            nonlocal n_done
            if name == "write" and Path(f"/proc/self/fd/{arguments[0]}").readlink().name.startswith("memfd:"):
                return real[name](*arguments, **options)
            n_done += 1
            if not is_well and first < n_done <= first + n_failing:
                raise OSError(errno.EIO, "Input/output error")
            return real[name](*arguments, **options)

        return call

    for name in names:
        monkeypatch.setattr(os, name, failing(name))
    n_needed = 1000
    while first < n_needed:
        is_well = True
        folder = SpoolFolder(tmp_path / str(first))
        folder.create()
        log = Log(folder)
        n_done, is_well = 0, False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                log(150)
                log.writer.put_rows("tag_events", {"run_id": "a"}, ["key"], [["x" * 100]], time_us=1)
                log.writer.sync()
            log.writer.heal()
            log(10)
            n_needed, is_well = min(n_needed, n_done), True
            log.writer.heal()
            log(10)
            log.writer.close()
        log.expect_all()
        assert sum(1 for what in everything(folder) if len(what) == 3) == 3
        shutil.rmtree(folder.path)
        first += 1
    assert first > 20


def test_what_a_dead_disk_took_from_the_caches_is_counted(tmp_path, monkeypatch):
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    log = Log(folder)
    log(1000)
    end = log.writer._index
    real = os.write

    def losing(fd: int, data: memoryview) -> int:
        """The kernel's answer where a mapped page can't be read any more: what was before it, then an error."""
        if not Path(f"/proc/self/fd/{fd}").readlink().name.startswith("memfd:"):
            return real(fd, data)
        if len(data) == end * SLOT:
            return real(fd, data[: 100 * SLOT])
        raise OSError(errno.EFAULT, "Bad address")

    monkeypatch.setattr(os, "write", losing)
    monkeypatch.setattr(Segment, "is_in_place", lambda segment: False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.writer.heal()
    kept = steps(folder)
    assert kept == list(range(len(kept)))
    assert 80 < len(kept) < 100
    assert log.writer.dropped == end - 100 == 1000 - len(kept)
    assert [(loss["table"], loss["n_rows"]) for loss in folder.losses()] == [("metrics", end - 100)]


FORK = """
import os, sys, time, warnings
from pathlib import Path
from mlwarehouse.ingest import spool_place
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter

warnings.simplefilter("ignore")
spool_place.RETRY_AFTER_S = 0.05
folder, ballast = SpoolFolder(Path(sys.argv[1])), Path(sys.argv[2])
writer = SpoolWriter(folder)
series = writer.series_map()

def log(first, n):
    for step in range(first, first + n):
        writer.put_point(series, "x", ("a" * 32, 0), step, 0.5, 1)

log(0, 100)
child = os.fork()
if child == 0:
    log(1000, 100)
    ballast.unlink()
    time.sleep(0.1)
    log(1100, 100)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0
log(100, 100)
writer.close()
"""


def test_a_fork_during_an_outage_leaves_its_parents_records_to_the_parent(small_disk):
    folder = SpoolFolder(small_disk.path / "spool")
    folder.create()
    small_disk.fill()
    arguments = [sys.executable, "-c", FORK, str(folder.path), str(small_disk.path / "ballast")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(steps(folder)) == [*range(200), *range(1000, 1200)]
    assert len({path.name.partition("-")[0] for path in folder.segments()}) == 2
