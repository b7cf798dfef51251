"""Purge in an object store: afterwards no object, and no copy on a machine that asks again, holds what was purged."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_purge
from mlwarehouse.engines.embedded_states import refresh
from mlwarehouse.errors import ConflictError, NotFoundError, SnapshotGoneError
from mlwarehouse.storage import Storage, open_storage
from mlwarehouse.tables.states import STATES
from tests.maintenance.conftest import log_runs

SECRET = "patient-4711-ångström"


def everything(storage: Storage, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Each object with its bytes, and for Parquet also with what it says once decompressed."""
    files = storage.files()
    for name in storage.names():
        if name not in files:
            yield from everything(storage.child(name), f"{prefix}{name}/")
            continue
        data = storage.read(name)
        if name.endswith(".parquet"):
            table = pq.ParquetFile(io.BytesIO(data))
            said = [*map(str, table.read().to_pylist()), repr(table.metadata.to_dict())]
            data += "\n".join(said).encode()
        yield f"{prefix}{name}", data


def holding(storage: Storage, *words: str) -> list[str]:
    return [name for name, data in everything(storage) if any(word.encode() in data for word in words)]


def copies_with(folder: Path, *words: str) -> list[str]:
    from mlwarehouse.storage import LocalStorage

    return holding(LocalStorage(folder), *words)


def log_secret(warehouse: Warehouse, tmp_path: Path) -> str:
    (tmp_path / "file.txt").write_text(SECRET)
    with warehouse.start_run(experiment="e", run_name="drop") as run:
        run.log_metric("x", 1.0, 1)
        run.log_param("who", SECRET)
        run.log_artifact(tmp_path / "file.txt")
    warehouse.flush()
    return run.run_id


def test_no_byte_is_left_and_all_else_is_as_it_was(uri, environment, tmp_path):
    warehouse = Warehouse(uri, committer="off", capture_code=False)
    storage = open_storage(uri)
    (keep,) = log_runs(warehouse, 1)
    drop = log_secret(warehouse, tmp_path)
    kept = warehouse.snapshot(keep=True, name="paper")
    warehouse.maintain()
    there = tmp_path / "cache"
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    other = Warehouse(uri, committer="off", capture_code=False)
    assert len(refresh(other.engine().tables, least_rows=1)) == len(STATES)
    before = other.get_run(keep).data
    assert copies_with(tmp_path / "other-cache", SECRET)
    other.close()
    environment.setenv("XDG_CACHE_HOME", str(there))
    warehouse.close()
    assert holding(storage, drop)
    assert holding(storage, SECRET)
    # The run's process must not live, so it is done by another one.
    officer = Warehouse(uri, committer="off", capture_code=False, actor="officer")
    ahead = officer.purge(run_id=drop, dry_run=True)
    assert (ahead.is_done, ahead.n_runs, ahead.n_blobs, ahead.n_pins) == (False, 1, 1, 1)
    done = officer.purge(run_id=drop)
    assert done.is_done
    assert {t.name: t.n_removed for t in done.tables}["metrics"] == 1
    assert holding(storage, drop, SECRET) == []
    assert copies_with(there, drop, SECRET) == []
    assert officer.snapshots() == []
    with pytest.raises(NotFoundError, match=r"no kept snapshot `paper`. A purge on .* took all"):
        officer.reading(at="paper")
    with pytest.raises(SnapshotGoneError, match=r"a purge on .* deleted the table's past"):
        officer.sql("SELECT count(*) FROM metrics", at=kept)
    with pytest.raises(NotFoundError):
        officer.get_run(drop)
    (receipt,) = officer.sql("SELECT actor, action, outcome FROM audit", output_format="arrow").to_pylist()
    assert receipt == {"actor": "officer", "action": "purge", "outcome": "allowed"}
    assert officer.doctor().problems == ()
    officer.close()
    # The other machine forgets its copies and folds, and answers as before.
    environment.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    again = Warehouse(uri, committer="off")
    assert again.get_run(keep).data == before
    with pytest.raises(NotFoundError):
        again.get_run(drop)
    assert copies_with(tmp_path / "other-cache", drop, SECRET) == []


def test_a_living_run_is_not_purged_and_a_purge_that_died_is_brought_to_its_end(uri, tmp_path, monkeypatch):
    warehouse = Warehouse(uri, committer="off", capture_code=False)
    drop = log_secret(warehouse, tmp_path)
    officer = Warehouse(uri, committer="off")
    warehouse.close()
    with officer.start_run() as living:
        living.log_metric("x", 1.0)
        with pytest.raises(ConflictError, match="still runs"):
            Warehouse(uri, committer="off").purge(run_id=living.run_id)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded_purge, "forget", die)
        with pytest.raises(KeyboardInterrupt):
            officer.purge(run_id=drop)
    assert any("hasn't come to its end" in problem for problem in officer.doctor().problems)
    assert officer.purge().is_done
    assert holding(open_storage(uri), drop, SECRET) == []
    assert officer.doctor().problems == ()
