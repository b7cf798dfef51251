"""Writers, committers and maintainers that are killed at any moment: each acknowledged point is there, once.

``MLWAREHOUSE_SOAK=1`` kills twenty rounds of them rather than two.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_lease, embedded_maintain
from mlwarehouse.engines.embedded_log import entry_names, replay
from mlwarehouse.errors import ConflictError
from mlwarehouse.ingest import committer, maintaining
from mlwarehouse.storage import Storage, read_many
from mlwarehouse.tables import METRICS
from tests.faults.conftest import SOAK

ROUNDS = 20 if SOAK else 2

LEASE_S, RENEW_S = 6.0, 0.3
"""A lease that a test can wait for, and that a busy machine renews in time."""

PROGRAM = "import sys; from tests.s3 import test_kills as t; getattr(t, sys.argv[1])(*sys.argv[2:])"


def write(uri: str, acknowledged: str) -> None:
    """A writer, which says after each point that it was logged."""
    warehouse = Warehouse(uri, committer="off", capture_code=False)
    with warehouse.start_run() as run, Path(acknowledged).open("ab", buffering=0) as out:
        for step in range(1_000_000):
            run.log_metric("loss", 0.5, step=step)
            out.write(f"{run.run_id} {step}\n".encode())
            time.sleep(0.001)


def commit(*arguments: str) -> None:
    """A committer that merges whenever two files have come together, and whose lease is short."""
    embedded_maintain.FEWEST_OF_A_SIZE = 2
    maintaining.EVERY_S = 0.1
    embedded_lease.LEASE_S, embedded_lease.RENEW_S = LEASE_S, RENEW_S
    committer.main(list(arguments))


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.DEVNULL)


def test_what_was_acknowledged_is_there_once_whoever_is_killed(uri, tmp_path, monkeypatch):
    # That of a maintainer that was killed is waited for; our own is renewed as often.
    monkeypatch.setattr(embedded_lease, "LEASE_S", LEASE_S)
    monkeypatch.setattr(embedded_lease, "RENEW_S", RENEW_S)
    seed = random.randrange(1 << 30)
    print("seed", seed)
    moments = random.Random(seed)
    warehouse = Warehouse(uri, committer="off", capture_code=False)
    warehouse.create()
    # Before a committer that is faster than the first writer looks for it.
    warehouse.spool().create()
    spool = warehouse.spool().path
    metrics = warehouse.engine().tables.place(METRICS)
    said, version = tmp_path / "acknowledged", 0
    for number in range(ROUNDS):
        writer = start("write", uri, str(said))
        keeper = start("commit", uri, str(spool), "0.05", "60", "auto")
        # The first round comes to a merge; in the others a lease may have to end before.
        deadline = time.monotonic() + (5 if version else 60)
        while not _merged_behind(metrics, version) and time.monotonic() < deadline:
            time.sleep(0.1)
        version = warehouse.engine().version(METRICS)
        time.sleep(moments.uniform(0.0, 1.0))
        for victim in ([keeper, writer], [keeper], [writer])[number % 3]:
            victim.kill()
        time.sleep(0.2)
        for process in (writer, keeper):
            process.kill()
            process.wait()
    acknowledged = {(words[0], int(words[1])) for words in map(str.split, said.read_text().splitlines())}
    warehouse.flush()
    rows = warehouse.sql("SELECT run_id, step FROM metrics WHERE key = 'loss'", output_format="arrow").to_pylist()
    found = [(row["run_id"], row["step"]) for row in rows]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    # At most the one that was being logged when its writer was killed.
    assert len(found) - len(acknowledged) <= ROUNDS
    assert warehouse.doctor(deep=True).problems == ()
    # What was killed in the middle of it holds nobody up.
    assert _merged_behind(metrics, 0)
    _maintain(warehouse)
    assert len(replay(metrics).files) == 1


def _maintain(warehouse: Warehouse) -> None:
    """Again where a machine was too busy to renew the lease, as the error says."""
    for _ in range(10):
        with suppress(ConflictError):
            warehouse.maintain()
            return
    raise AssertionError("the lease was lost each time")


def _merged_behind(place: Storage, version: int) -> bool:
    """Whether files of a table were merged behind a version."""
    log = place.child("_delta_log")
    names = [name for v, name in entry_names(log.names()).items() if v > version]
    return any(b'"compaction"' in (content or b"") for content in read_many(log, names).values())
