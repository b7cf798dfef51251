"""The power goes: what was promised to be on disk is there when the disk is read again.

A program logs to a warehouse on an ext4 in a file. It is stopped, the file is copied as it stands, which is what the
disk holds without the caches, and the copy is mounted and read. Many cuts come from one run of the program.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from tests.faults.conftest import SOAK, command, make_image

SEED = 20_261_121
CUTS = 60 if SOAK else 3
IMAGE_SIZE = 256 << 20

PROGRAM = """
import os, struct, sys, time
import mlwarehouse as mlw

root, ack_path, mode = sys.argv[1:]
ack = os.open(ack_path, os.O_RDWR | os.O_CREAT)
durability = {"always": "always", "interval": "interval"}.get(mode, "os")
warehouse = mlw.set_warehouse(root, durability=durability, committer="off", capture_code=False)
# Once, so that the tables are there and every cut is one of a warehouse at work.
run = mlw.start_run(experiment="cut", run_name="first")
warehouse.flush()
step = synced = 0

def acknowledge(n_durable):
    os.pwrite(ack, struct.pack("<qq", step, n_durable), 0)

while True:
    for _ in range(20):
        run.log_metric("x", step / 2, step)
        step += 1
        if mode == "always":
            acknowledge(step)
    if mode == "interval":
        if step % 2000 == 0:
            before = step
            assert warehouse.recorder.sync()
            synced = before
        acknowledge(synced)
    elif mode == "committed":
        run.log_text(f"note {step}", f"note-{step}.txt")
        warehouse.flush()
        acknowledge(step)
    elif mode == "os":
        acknowledge(0)
    if mode != "committed":
        time.sleep(0.002)
    if step % 3000 == 0:
        # New runs, new segments, and folders that are made along the way.
        run.end()
        warehouse.recorder._writer.close()
        run = mlw.start_run(experiment=f"cut {step}", run_name=str(step))
"""


@dataclass(frozen=True)
class Cut:
    """One copy of the disk.

    Attributes:
        image: The copy.
        n_logged: Points whose calls had returned at that moment; one more may have been under way.
        n_durable: Points that were promised to be on disk.
    """

    image: Path
    n_logged: int
    n_durable: int


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    command("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        command("umount", place)


def stop(pid: int) -> None:
    """Stop a process, and wait until it is stopped: a call of the system that it is in comes to its end first."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return
        time.sleep(0.001)
    raise AssertionError("the program didn't stop")


def cut_power(tmp_path: Path, mode: str) -> Iterator[Cut]:
    """Run the program and yield copies of its disk, each to be used before the next."""
    draw = random.Random(SEED)
    image, copy, ack = tmp_path / "disk.img", tmp_path / "cut.img", tmp_path / "ack"
    make_image(image, IMAGE_SIZE)
    with mounted(image, tmp_path / "disk") as disk:
        arguments = [sys.executable, "-c", PROGRAM, str(disk / "wh"), str(ack), mode]
        program = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 60
            while (not ack.exists() or ack.stat().st_size < 16) and time.monotonic() < deadline:
                assert program.poll() is None, program.stderr and program.stderr.read()
                time.sleep(0.01)
            for _ in range(CUTS):
                time.sleep(draw.uniform(0.05, 0.4))
                assert program.poll() is None, program.stderr and program.stderr.read()
                stop(program.pid)
                n_logged, n_durable = struct.unpack("<qq", ack.read_bytes())
                command("cp", "--sparse=always", image, copy)
                yield Cut(copy, n_logged, n_durable)
                os.kill(program.pid, signal.SIGCONT)
        finally:
            program.kill()
            program.communicate()


def points(warehouse: Warehouse) -> list[tuple[int, float]]:
    rows = warehouse.sql("SELECT step, value FROM metrics ORDER BY step", output_format="arrow").to_pylist()
    return [(r["step"], r["value"]) for r in rows]


@pytest.mark.parametrize("mode", ["always", "interval", "committed"])
def test_what_was_promised_to_be_on_disk_is_there_after_a_power_cut(tmp_path, as_root, mode, record_property):
    lost_unpromised = n_durable = 0
    for cut in cut_power(tmp_path, mode):
        with mounted(cut.image, tmp_path / "after") as disk:
            if mode == "committed":
                # What is in the tables counts, not what the spool could add.
                shutil.rmtree(disk / "wh" / "_spool")
            after = Warehouse(disk / "wh", committer="off")
            found = points(after)
            assert found == [(step, step / 2) for step in range(len(found))]
            assert len(found) >= cut.n_durable
            lost_unpromised += max(0, cut.n_logged - len(found))
            n_durable += cut.n_durable
            health = after.doctor()
            assert [p for p in health.problems if "logged rows wait" not in p] == []
            if mode == "committed":
                check_notes(after, cut.n_durable)
            after.flush()
            assert points(after) == found
            after.close()
    assert n_durable > 20 * CUTS
    record_property("points promised", n_durable)
    record_property("points lost that were not promised", lost_unpromised)
    print(f"{mode}: {CUTS} cuts, {n_durable} points promised and there, {lost_unpromised} others lost")


def test_what_was_not_promised_goes_with_the_power(tmp_path, as_root):
    """Else the cuts of the other test would be none."""
    n_lost = 0
    for cut in cut_power(tmp_path, "os"):
        with mounted(cut.image, tmp_path / "after") as disk:
            after = Warehouse(disk / "wh", committer="off")
            found = points(after)
            assert found == [(step, step / 2) for step in range(len(found))]
            n_lost += cut.n_logged - len(found)
            after.close()
    assert n_lost > 0


def check_notes(after: Warehouse, n_durable: int) -> None:
    rows = after.sql("SELECT path, digest FROM artifacts", output_format="arrow").to_pylist()
    notes = {r["path"]: r["digest"] for r in rows}
    for step in range(20, n_durable + 1, 20):
        assert f"note-{step}.txt" in notes
    for path, digest in notes.items():
        with after.artifact_store().open(digest) as file:
            assert file.read() == f"note {path[5:-4]}".encode()
