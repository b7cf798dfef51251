"""A spool's place that refuses: full, read-only, unmounted, deleted, failing to sync. Training never notices."""

from __future__ import annotations

import fcntl
import os
import time
import warnings
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest import spool_place, spool_reserve
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.ingest.spool_folder import SpoolFolder
from tests.faults.conftest import command, make_image
from tests.faults.spools import HEALED, TOLD, Log, everything, heal, steps


@pytest.fixture
def log(small_disk):
    folder = SpoolFolder(small_disk.path / "spool")
    folder.create()
    made = Log(folder)
    yield made
    made.writer._reserve.clear()


def test_a_full_disk_is_waited_for(log, small_disk):
    log(10)
    small_disk.fill()
    log(10)
    # The first segment has its room already; the next one is refused.
    with pytest.warns(RuntimeWarning, match=rf"{TOLD}.*\(No space left on device; since .* UTC\)") as told:
        log(40_000)
    assert len(told) == 1
    log.writer.heal()
    log(100)
    assert len(steps(log.folder)) < log.n
    small_disk.free()
    heal(log)
    log(10)
    log.expect_all()
    # And on: nothing of the outage is left.
    log.writer.close()
    log(10)
    log.expect_all()


def test_calls_themselves_notice_that_there_is_room_again(log, small_disk, monkeypatch):
    monkeypatch.setattr(spool_place, "RETRY_AFTER_S", 0.05)
    small_disk.fill()
    with pytest.warns(RuntimeWarning, match=TOLD):
        log(10)
    small_disk.free()
    time.sleep(0.1)
    with pytest.warns(RuntimeWarning, match=HEALED):
        log(1)
    log(10)
    log.expect_all()


def test_what_does_not_fit_into_memory_is_counted_exactly_and_written_down(log, small_disk, monkeypatch):
    monkeypatch.setattr(spool_reserve, "RESERVE_BYTES", 64 * 1024)
    monkeypatch.setattr(spool_place, "RESERVE_SEGMENT", 16 * 1024)
    small_disk.fill()
    with pytest.warns(RuntimeWarning, match=TOLD):
        log(1)
    log(9_999)
    n_rows = 0
    for k in range(100):
        rows = [[f"p{k}-{i}", "v"] for i in range(7)]
        log.writer.put_rows("param_events", {"run_id": "a"}, ["key", "value"], rows)
        n_rows += 7
    small_disk.free()
    with pytest.warns(RuntimeWarning, match="rows didn't fit and were dropped"):
        log.writer.heal()
    kept = steps(log.folder)
    kept_rows = sum(len(what[1][3]) for what in everything(log.folder) if len(what) == 3)
    assert 1000 < len(kept) < 10_000
    # What waited is the beginning, without a gap.
    assert kept == list(range(len(kept)))
    losses = {loss["table"]: loss["n_rows"] for loss in log.folder.losses()}
    assert losses["metrics"] == 10_000 - len(kept)
    assert losses["param_events"] == n_rows - kept_rows
    assert log.writer.dropped == sum(losses.values())
    log(100)
    assert steps(log.folder) == [*kept, *range(10_000, 10_100)]


def test_a_folder_that_became_read_only_is_waited_for(log, small_disk):
    log(10)
    log.writer.close()
    small_disk.remount("ro")
    with pytest.warns(RuntimeWarning, match=f"{TOLD}.*Read-only file system"):
        log(1000)
    small_disk.remount("rw")
    heal(log)
    log(10)
    log.expect_all()


def test_a_file_system_that_is_gone_is_waited_for_and_not_written_under_its_mount_point(tmp_path, as_root, monkeypatch):
    # On a disk, unlike in memory, the file system is the same one when it is back.
    monkeypatch.setattr(spool_place, "RETRY_AFTER_S", 0.0)
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    mounted.mkdir()
    make_image(image, 24 << 20)
    device = command("losetup", "-f", "--show", image)
    try:
        command("mount", device, mounted)
        folder = SpoolFolder(mounted / "wh" / "_spool" / "machine")
        folder.create()
        log = Log(folder)
        log(100)
        command("umount", "-l", mounted)
        log(100)
        with pytest.warns(RuntimeWarning, match=f"{TOLD}.*its files are gone"):
            log.writer.heal()
        log(100)
        assert list(mounted.iterdir()) == []
        command("mount", device, mounted)
        heal(log)
        log(100)
        log.expect_all()
        log.writer.close()
    finally:
        while mounted.is_mount():
            command("umount", "-l", mounted)
        command("losetup", "-d", device)


def test_a_deleted_spool_is_made_anew_and_what_was_in_it_is_written_again(tmp_path):
    folder = SpoolFolder(tmp_path / "wh" / "spool")
    folder.create()
    engine = EmbeddedEngine(tmp_path / "tables")
    log = Log(folder)
    log(100)
    Drain(folder, engine).step()
    log(100)
    folder.path.rename(tmp_path / "elsewhere")
    log(100)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        log.writer.heal()
    assert [TOLD in str(told[0].message), HEALED in str(told[1].message), len(told)] == [True, True, 2]
    log(100)
    log.expect_all()
    log.writer.close()
    # Half of it was committed from the old one, which the tables know.
    drain = Drain(folder, engine)
    drain.step()
    drain.step()
    found = engine.query("SELECT step, count(*) AS n FROM metrics GROUP BY step").to_pylist()
    assert sorted((r["step"], r["n"]) for r in found) == [(step, 1) for step in range(400)]
    engine.close()


def test_a_disk_that_fails_to_sync_is_written_anew(tmp_path, as_root):
    """An ext4 that is shut down as by a dead disk: every call on it fails, and its mapped pages are all there is."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    mounted.mkdir()
    make_image(image, 24 << 20)
    command("mount", "-o", "loop", image, mounted)
    try:
        folder = SpoolFolder(mounted / "spool")
        folder.create()
        log = Log(folder)
        log(100)
        assert log.writer.sync()
        disk = os.open(mounted, os.O_RDONLY)
        shut_down, without_flushing = 0x8004587D, bytearray((2).to_bytes(4, "little"))
        fcntl.ioctl(disk, shut_down, without_flushing)
        os.close(disk)
        log(30_000)
        with pytest.warns(RuntimeWarning, match=f"{TOLD}.*Input/output error"):
            assert not log.writer.sync()
        log(100)
        log.writer.heal()
        log(100)
        command("umount", "-l", mounted)
        log(100)
        log.writer.heal()
        # The disk is exchanged: an empty one comes.
        make_image(tmp_path / "another", 24 << 20)
        command("mount", "-o", "loop", tmp_path / "another", mounted)
        heal(log)
        log(100)
        log.expect_all()
        log.writer.close()
    finally:
        while mounted.is_mount():
            command("umount", "-l", mounted)


def test_durability_always_goes_on_without_it_while_the_disk_refuses(log, small_disk):
    careful = Log(log.folder, always_sync=True)
    careful(10)
    careful.writer.close()
    small_disk.fill()
    with pytest.warns(RuntimeWarning, match=TOLD):
        careful(100)
    small_disk.free()
    heal(careful)
    careful(10)
    careful.expect_all()


def test_what_waits_at_the_end_is_rescued(log, small_disk, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log(10)
    log.writer.close()
    small_disk.fill()
    with pytest.warns(RuntimeWarning, match=TOLD):
        log(5000)
    with pytest.warns(RuntimeWarning, match="What waited in memory is in"):
        log.writer.close()
    assert steps(log.folder) == list(range(10))
    small_disk.free()
    (rescued,) = tmp_path.glob("mlwarehouse-rescued-*")
    for path in (rescued / "segments").iterdir():
        (log.folder.segments_path / path.name).write_bytes(path.read_bytes())
    log.expect_all()


def test_warnings_that_are_errors_do_not_reach_training(log, small_disk, caplog):
    small_disk.fill()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log(100)
    assert TOLD in caplog.text
    small_disk.free()
    log.writer.heal()
    log.expect_all()


def test_beginnings_of_dead_writers_are_removed(log):
    old, young = (log.folder.segments_path / name for name in ("dead.new", "starting.new"))
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (time.time() - 1000,) * 2)
    log(1)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("durability", ["interval", "always", "os"])
def test_a_training_on_a_full_disk_ends_with_everything(tmp_path, small_disk, durability):
    """The public interface and its keeper; the tables are on another disk."""
    warehouse = Warehouse(
        tmp_path / "wh", spool_dir=str(small_disk.path), capture_code=False, durability=durability, committer="off"
    )
    with warehouse.start_run(experiment="full") as run:
        run.log_metric("x", 0.0, 0)
    small_disk.fill()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with warehouse.start_run(experiment="full") as run:
            for step in range(60_000):
                run.log_metric("x", step / 2, step)
            run.log_params({"lr": 1e-3})
            run.set_tag("note", "x" * 100_000)
            small_disk.free()
            deadline = time.monotonic() + 10
            while len(told) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            run.log_metric("x", -1.0, 60_000)
    said = [str(w.message) for w in told]
    assert [TOLD in said[0], HEALED in said[1], len(said)] == [True, True, 2]
    assert warehouse.recorder.dropped == 0
    warehouse.flush()
    counts = "SELECT count(*) AS n, count(DISTINCT step) AS d FROM metrics WHERE run_id = $run"
    (row,) = warehouse.sql(counts, parameters={"run": run.run_id}, output_format="arrow").to_pylist()
    assert row == {"n": 60_001, "d": 60_001}
    statuses = warehouse.sql("SELECT status FROM runs", output_format="arrow").to_pylist()
    assert statuses == [{"status": "FINISHED"}] * 2
    warehouse.close()


def test_a_place_that_never_took_anything_is_an_error_at_the_start(tmp_path):
    (tmp_path / "in-the-way").write_text("")
    warehouse = Warehouse(tmp_path / "wh", spool_dir=str(Path(tmp_path / "in-the-way")), committer="off")
    with pytest.raises(StorageError, match="Nothing can be logged"):
        warehouse.start_run(experiment="never")
