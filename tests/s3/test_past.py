"""What was in a warehouse in an object store, and what came into it since."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_maintain
from mlwarehouse.engines.embedded_gc import collect_garbage
from mlwarehouse.engines.embedded_maintain import maintain_a_little
from mlwarehouse.errors import SnapshotGoneError
from mlwarehouse.tables import METRICS
from tests.maintenance.conftest import log_runs


@pytest.fixture
def machine(uri: str, environment: pytest.MonkeyPatch, tmp_path: Path):
    """Machines with copies and spools of their own; one is used at a time."""
    made: list[Warehouse] = []

    def named(name: str) -> Warehouse:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        made.append(Warehouse(uri, committer="off", capture_code=False))
        return made[-1]

    yield named
    for warehouse in made:
        warehouse.close()


def events(page) -> list[str]:
    return [str(change) for change in page]


def test_changes_and_snapshots_are_those_of_a_warehouse_on_disk(machine, monkeypatch):
    logging = machine("a")
    log_runs(logging, 2)
    early = logging.changes()
    before = logging.snapshot()
    log_runs(logging, 1)
    late = logging.changes(early.cursor)
    assert [sum(c.kind == "run_started" for c in page) for page in (early, late)] == [2, 1]
    # Merging tells of nothing, and takes nothing from who asks what was before, on whatever machine.
    monkeypatch.setattr(embedded_maintain, "FEWEST_OF_A_SIZE", 2)
    assert maintain_a_little(logging.engine().tables, METRICS)
    assert not logging.changes(late.cursor)
    asking = machine("b")
    assert events(asking.changes(early.cursor)) == events(late)
    ask = "SELECT count(*) AS n FROM metrics"
    assert asking.sql(ask, at=str(before))["n"].tolist() == [20]
    # What is removed from the bucket can't be asked any more, and that is said.
    place = asking.engine().tables.place(METRICS)
    assert collect_garbage(place, METRICS, retention_hours=0, pinned=()).n_old == 3
    later = machine("c")
    with pytest.raises(SnapshotGoneError, match="a file was replaced by maintenance long ago"):
        later.changes(early.cursor)
    with pytest.raises(SnapshotGoneError, match=r"at version 2.*maintenance last removed files of older versions on"):
        later.sql(ask, at=before)
    with pytest.raises(SnapshotGoneError, match="2 of its 2 files are gone"):
        later.snapshot(keep=True, at=before)
    assert later.sql(ask)["n"].tolist() == [30]
