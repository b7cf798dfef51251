"""What the thread beside those who log sees to."""

from __future__ import annotations

import threading

import pytest

from mlwarehouse.ingest.keeper import Keeper
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_writer import SpoolWriter


@pytest.mark.parametrize("who_syncs", ["each call", "whoever answers for it", "nobody"])
def test_a_committer_is_seen_to_whoever_has_synced(tmp_path, who_syncs):
    folder = SpoolFolder(tmp_path / "spool")
    folder.create()
    writer = SpoolWriter(folder, always_sync=who_syncs == "each call")
    writer.put_point(writer.series_map(), "loss", ("run", 0), 0, 0.5, 0)
    if who_syncs == "whoever answers for it":
        assert writer.sync()
    is_seen_to = threading.Event()
    keeper = Keeper(
        writer,
        does_sync=True,
        heartbeat_s=float("inf"),
        send_heartbeats=lambda: None,
        retry_artifacts=lambda: None,
        see_to_committer=is_seen_to.set,
    )
    assert is_seen_to.wait(60)
    keeper.stop()
    writer.close()
