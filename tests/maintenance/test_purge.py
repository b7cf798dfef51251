"""Purge: afterwards no file of the warehouse holds a byte of what was purged, and everything else is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_purge
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError
from tests.maintenance.conftest import facts, log_runs

SECRET = "patient-4711-ångström"
USER = "jane.doe.of.ward.9"


def everything(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file of a warehouse with its bytes, and for Parquet also with what it says once decompressed."""
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            rows = pq.ParquetFile(path).read()
            data += "\n".join(str(v) for v in rows.to_pylist()).encode()
            data += repr(pq.ParquetFile(path).metadata.to_dict()).encode()
            # Also what stands in a dictionary and in no row.
            texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
            coded = pq.ParquetFile(path, read_dictionary=texts).read()
            data += "\n".join(
                str(c.dictionary.to_pylist()) for name in texts for c in coded.column(name).chunks
            ).encode()
        yield path, data


def holding(root: Path, *words: str) -> list[str]:
    return [
        f"{path.relative_to(root)}: {word}"
        for path, data in everything(root)
        for word in words
        if word.encode() in data
    ]


@pytest.fixture
def mixed(tmp_path):
    """A warehouse with runs of two users in the same files, artifacts shared and not; its path and ids."""
    root = tmp_path / "wh"
    ids = {}
    for user, name in (("bob", "keep"), (USER, "drop")):
        warehouse = Warehouse(root, committer="off", capture_code=False, actor=user)
        with warehouse.start_run(experiment=f"of-{name}", run_name=f"run-{name}") as run:
            run.log_metric("x", 1.5, 1)
            run.log_param("who", "nobody" if name == "keep" else SECRET)
            run.set_tag("note", "nothing" if name == "keep" else SECRET)
            for text in ("shared by both", f"only of {name}"):
                path = tmp_path / "file.txt"
                path.write_text(text if name == "keep" or text.startswith("shared") else f"{SECRET} {text}")
                run.log_artifact(path, text.split()[0])
        ids[name] = run.run_id
        warehouse.close()
    # A child of the run that goes: it stays, and names its parent.
    warehouse = Warehouse(root, committer="off", capture_code=False, actor="bob")
    with warehouse.start_run(experiment="of-keep", run_name="child", parent_run_id=ids["drop"]) as run:
        run.log_metric("x", 2.0)
    ids["child"] = run.run_id
    warehouse.close()
    warehouse.flush()
    # Some rows are in merged files, and the files from before the merge are still there.
    warehouse.maintain()
    late = Warehouse(root, committer="off", capture_code=False, actor=USER)
    with late.start_run(run_id=ids["drop"]) as run:
        run.log_metric("x", 2.5, 2)
    late.close()
    late.flush()
    return root, ids


def test_no_byte_of_a_purged_run_is_left(mixed):
    root, ids = mixed
    warehouse = Warehouse(root, committer="off", capture_code=False, actor="officer")
    assert holding(root, ids["drop"])
    assert holding(root, SECRET)
    keep = facts_of(warehouse, ids["keep"])
    ahead = warehouse.purge(run_id=ids["drop"], dry_run=True)
    assert not ahead.is_done
    assert (ahead.n_runs, ahead.n_blobs) == (1, 1)
    assert warehouse.get_run(ids["drop"]).info.status == "FINISHED"
    done = warehouse.purge(run_id=ids["drop"])
    assert done.is_done
    assert {t.name: t.n_removed for t in done.tables}["metrics"] == 2
    assert holding(root, ids["drop"], SECRET) == []
    with pytest.raises(NotFoundError):
        warehouse.get_run(ids["drop"])
    assert facts_of(warehouse, ids["keep"]) == keep
    (child,) = warehouse.sql(
        "SELECT run_name, parent_run_id FROM runs WHERE run_name = 'child'", output_format="arrow"
    ).to_pylist()
    assert child["parent_run_id"] == "purged"
    (receipt,) = warehouse.sql("SELECT * FROM audit", output_format="arrow").to_pylist()
    assert (receipt["actor"], receipt["action"], receipt["object"], receipt["outcome"]) == (
        "officer",
        "purge",
        "run",
        "allowed",
    )
    assert json.loads(receipt["detail"])["rows"]["metrics"] == 2
    assert warehouse.doctor(deep=True).problems == ()
    for name in ("metrics", "param_events"):
        table = DeltaTable(root / "tables" / name)
        assert table.metadata().configuration["delta.appendOnly"] == "true"
    # Both files of the run that stays can be read; of those that only the other had, none is left.
    stored = [p for p in (root / "artifacts").rglob("*") if p.is_file()]
    assert sorted(p.read_text() for p in stored) == ["only of keep", "shared by both"]


def facts_of(warehouse: Warehouse, run_id: str) -> list[tuple]:
    reading = warehouse.reading()
    found = []
    for table in sorted(embedded_purge.RUN_TABLES):
        question = f"SELECT * FROM {table} WHERE run_id = $run"
        rows = warehouse.engine().query(question, reading=reading, parameters={"run": run_id}).to_pylist()
        found += [tuple(map(str, r.values())) for r in rows]
    return sorted(found)


def test_no_byte_of_a_purged_user_is_left(mixed):
    root, ids = mixed
    warehouse = Warehouse(root, committer="off", capture_code=False, actor=USER)
    keep = facts_of(warehouse, ids["keep"])
    warehouse.purge(user=USER)
    assert holding(root, USER, SECRET, ids["drop"]) == []
    assert facts_of(warehouse, ids["keep"]) == keep
    (receipt,) = warehouse.sql("SELECT actor, object FROM audit", output_format="arrow").to_pylist()
    assert receipt == {"actor": "purged", "object": "user"}


def test_an_experiment_goes_with_its_runs(mixed):
    root, ids = mixed
    warehouse = Warehouse(root, committer="off", capture_code=False)
    with pytest.raises(NotFoundError, match="Did you mean `of-drop`"):
        warehouse.purge(experiment="of-drap")
    done = warehouse.purge(experiment="of-drop")
    assert (done.n_runs, done.n_experiments) == (1, 1)
    assert holding(root, "of-drop", SECRET, ids["drop"]) == []
    names = warehouse.sql("SELECT name FROM experiments", output_format="arrow").column("name").to_pylist()
    assert names == ["of-keep"]


def test_what_can_be_asked_afterwards_and_what_not(mixed):
    root, ids = mixed
    warehouse = Warehouse(root, committer="off", capture_code=False)
    pin = warehouse.snapshot(keep=True, name="before")
    assert warehouse.purge(run_id=ids["drop"]).n_pins == 1
    assert warehouse.snapshots() == []
    from mlwarehouse.errors import SnapshotGoneError

    with pytest.raises(
        NotFoundError, match=r"no kept snapshot `before`\. A purge on .* took all that were kept before"
    ):
        warehouse.sql("SELECT count(*) FROM metrics", at="before")
    fresh = Warehouse(root, committer="off")
    with pytest.raises(SnapshotGoneError, match=r"a purge on .* deleted the table's past .*Ask `as_of`"):
        fresh.sql("SELECT count(*) FROM metrics", at=pin)
    (row,) = fresh.sql("SELECT count(*) AS n FROM metrics", as_of="2100-01-01", output_format="arrow").to_pylist()
    assert row["n"] == 2


@pytest.mark.parametrize("dies_in", ["rewrite", "forget", "replace_files", "set_append_only", "write_checkpoint"])
def test_a_purge_that_died_is_brought_to_its_end(mixed, monkeypatch, dies_in):
    root, ids = mixed
    warehouse = Warehouse(root, committer="off", capture_code=False)
    calls = []
    whole = getattr(embedded_purge, dies_in)

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(embedded_purge, dies_in, dying)
    with pytest.raises(KeyboardInterrupt):
        warehouse.purge(run_id=ids["drop"])
    monkeypatch.undo()
    again = Warehouse(root, committer="off", capture_code=False)
    assert any("A purge hasn't come to its end" in p for p in again.doctor().problems)
    active = again.search_runs(search_all_experiments=True).run_id.tolist()
    assert ids["drop"] not in active
    done = again.purge()
    assert done.n_runs == 1
    assert holding(root, ids["drop"], SECRET) == []
    assert again.doctor(deep=True).problems == ()
    assert {r["n"] for r in again.sql("SELECT count(*) AS n FROM audit", output_format="arrow").to_pylist()} == {1}


def test_a_purge_asks_for_one_thing_that_is_there(warehouse):
    log_runs(warehouse, 1)
    with pytest.raises(InvalidInputError, match="needs one of"):
        warehouse.purge()
    with pytest.raises(InvalidInputError, match="needs one of"):
        warehouse.purge(run_id="a", user="b")
    with pytest.raises(NotFoundError, match="no run `a`"):
        warehouse.purge(run_id="a")
    with pytest.raises(NotFoundError, match="no run of user `nobody`"):
        warehouse.purge(user="nobody")


def test_a_run_whose_process_lives_is_not_purged(warehouse):
    (run_id,) = log_runs(warehouse, 1)
    before = facts(warehouse)
    with pytest.raises(ConflictError, match="the process that logged it still runs"):
        warehouse.purge(run_id=run_id)
    assert facts(warehouse) == before
    assert not (warehouse.root / "_purge.json").exists()
    warehouse.close()
    warehouse.purge(run_id=run_id)
    assert holding(warehouse.root, run_id) == []


def test_a_run_of_a_registered_model_is_not_purged_before_its_version_is_deleted(warehouse):
    import torch

    with warehouse.start_run(experiment="e") as run:
        warehouse.log_model(torch.nn.Linear(2, 1), init_args={"in_features": 2, "out_features": 1}, run=run)
    warehouse.register_model(f"runs:/{run.run_id}/model", "linear")
    warehouse.close()
    with pytest.raises(ConflictError, match="Version 1 of model `linear`"):
        warehouse.purge(run_id=run.run_id)
    warehouse.registry.delete_model_version("linear", 1)
    warehouse.purge(run_id=run.run_id)
    assert holding(warehouse.root, run.run_id) == []
    sources = warehouse.sql("SELECT source FROM registry_events WHERE source IS NOT NULL", output_format="arrow")
    assert sources.column("source").to_pylist() == ["runs:/purged/model"]


def test_files_of_later_rows_hold_nothing_of_what_the_same_process_logged_before(tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    ids = []
    for who in (SECRET, "nobody"):
        with warehouse.start_run(run_name=who) as run:
            run.log_param("who", who)
            run.log_metric("x", 1.0)
        ids.append(run.run_id)
        warehouse.flush()
    warehouse.close()
    assert Warehouse(tmp_path / "wh", committer="off").purge(run_id=ids[0]).is_done
    assert holding(tmp_path / "wh", ids[0], SECRET) == []
    assert holding(tmp_path / "wh", ids[1])
