"""Every kind of damage: `doctor` names it, and `repair` brings back all that was acknowledged, or says what is lost."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from mlwarehouse.engines.embedded_checks import KINDS, DeepReader, table_damages
from mlwarehouse.engines.embedded_log import checkpoints, log_entries, replay
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.ingest.drain import Drain
from mlwarehouse.tables import METRICS, REGISTRY_EVENTS
from tests.faults.damages import (
    MENDABLE,
    RUNS,
    STEPS,
    Kept,
    bad_checkpoint,
    changed_byte,
    data_file,
    facts,
    missing_file,
    opened,
    other_rows,
    registry_rows,
    table,
    torn_newest,
    torn_segment,
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Kept:
    place = tmp_path_factory.mktemp("damage")
    warehouse = opened(place / "wh")
    for number in range(RUNS):
        with warehouse.start_run(experiment="e", run_name=f"run-{number}") as run:
            for step in range(STEPS):
                run.log_metric("x", step / 8, step)
            run.log_param("p", number)
        warehouse.flush()
    engine = warehouse.engine()
    engine.append(REGISTRY_EVENTS, registry_rows("m", 1))
    expected = facts(warehouse)
    # The writer of this process lives: the copy has all of its segments.
    shutil.copytree(place / "wh", place / "spooled")
    warehouse.close()
    drained = opened(place / "wh")
    Drain(drained.spool(), drained.engine()).step()
    assert drained.spool().segments() == []
    shutil.copytree(place / "wh", place / "drained")
    drained.maintain()
    drained.close()
    assert facts(opened(place / "wh")) == expected
    return Kept(place / "spooled", place / "drained", place / "wh", expected)


@pytest.mark.parametrize(
    ("which", "damage", "kind"), [pytest.param(*m, id=f"{m[1].__name__}-{m[0]}") for m in MENDABLE]
)
def test_a_damage_is_named_and_mended(kept, tmp_path, which, damage, kind):
    root = tmp_path / "wh"
    shutil.copytree(getattr(kept, which), root)
    damage(root)
    # What only reading all of a file tells, or an entry that a checkpoint covers, is found by a deep look.
    deep = damage in (changed_byte, other_rows) or (which, damage) == ("compacted", torn_newest)
    before = opened(root).doctor(deep=deep)
    assert {d.kind for d in before.damages} == {kind}
    assert before.problems
    mended = opened(root).repair(deep=deep)
    assert all(m.is_mended for m in mended)
    assert kind in {m.kind for m in mended}
    after = opened(root)
    assert after.doctor(deep=True).damages == ()
    assert facts(after) == kept.facts
    # It goes on from there.
    with after.start_run(experiment="e", run_name="afterwards") as run:
        run.log_metric("x", 1.0)
    after.flush()
    assert facts(after)[("metric", run.run_id, "x", 0, 1.0)] == 1
    assert sum(facts(after).values()) > sum(kept.facts.values())
    after.close()
    for name in ("metrics", "param_events", "run_events"):
        seen = DeltaTable(table(root, name)).to_pyarrow_table().num_rows
        (counted,) = opened(root).sql(f"SELECT count(*) AS n FROM {name}", output_format="arrow").to_pylist()
        assert seen == counted["n"]


def test_no_changed_bit_changes_a_row_unnoticed(kept, tmp_path):
    folder = table(kept.compacted)
    (file,) = replay(folder).files.values()
    whole = (folder / file.path).read_bytes()
    rows = pq.ParquetFile(folder / file.path).read()
    copies = []
    for position in range(4, len(whole), 17):
        name = f"flipped-{position}.parquet"
        (tmp_path / name).write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        copies.append(dataclasses.replace(file, path=name))
    with DeepReader() as reader:
        noticed = {c.path for c in copies if reader.why(tmp_path / c.path, c, METRICS)}
    assert len(noticed) > len(copies) / 2
    for copy in copies:
        if copy.path in noticed:
            continue
        # A byte that says nothing of the rows, nor of what readers skip by.
        found = pq.ParquetFile(tmp_path / copy.path)
        assert found.read().equals(rows), copy.path
        for index in range(found.metadata.num_columns):
            stats, values = found.metadata.row_group(0).column(index).statistics, rows.column(index)
            if stats is not None and stats.has_min_max:
                assert stats.min <= pc.min(values).as_py() <= pc.max(values).as_py() <= stats.max, copy.path


def test_a_record_in_a_damaged_place_is_lost_and_those_behind_it_are_not(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.drained, root)
    torn_segment(root)
    assert {d.kind for d in opened(root).doctor().damages} == {"torn segment"}
    # Also when the committer was there first.
    opened(root).flush()
    health = opened(root).doctor()
    assert {d.kind for d in health.damages} == {"torn segment"}
    (mended,) = opened(root).repair()
    assert "records in them are gone" in mended.what
    after = opened(root)
    assert after.doctor().damages == ()
    steps = after.sql("SELECT step FROM metrics WHERE key = 'late' ORDER BY step", output_format="arrow")
    assert steps.column("step").to_pylist() == [s for s in range(100) if s != 50]
    assert all(after.sql("SELECT status FROM runs", output_format="arrow").column("status").to_pylist())
    assert facts(after) >= kept.facts


def test_a_file_that_cannot_be_had_again_is_given_up_only_when_told_to(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.drained, root)
    path = data_file(table(root))
    missing_file(root)
    (refused,) = opened(root).repair()
    assert (refused.is_mended, refused.n_lost) == (False, STEPS)
    assert "--accept-loss" in refused.what
    assert opened(root).doctor().damages
    (taken,) = opened(root).repair(accept_loss=True)
    assert (taken.is_mended, taken.n_restored, taken.n_lost) == (True, 0, STEPS)
    assert path.name in taken.what
    after = opened(root)
    assert sum(facts(after).values()) == sum(kept.facts.values()) - STEPS
    (told,) = after.doctor().damages
    assert told.kind == "lost rows"
    assert f"{STEPS} rows of `metrics`" in told.what


def test_a_checkpoint_without_the_entries_behind_it_is_told_of_and_left_alone(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.compacted, root)
    folder = table(root)
    last = max(checkpoints(folder))
    for version, entry in log_entries(folder).items():
        if version < last:
            entry.unlink()
    bad_checkpoint(root)
    content = max(checkpoints(folder).values()).read_bytes()
    (mended,) = opened(root).repair()
    assert (mended.kind, mended.is_mended) == ("bad checkpoint", False)
    assert "no other checkpoint holds" in mended.what
    assert max(checkpoints(folder).values()).read_bytes() == content


def test_a_foreign_commit_is_told_of(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.drained, root)
    rows = DeltaTable(table(root)).to_pyarrow_table().slice(0, 1)
    index = rows.schema.get_field_index("writer_seq")
    write_deltalake(table(root), rows.set_column(index, "writer_seq", pa.array([10**9])), mode="append")
    (damage,) = opened(root).doctor().damages
    assert (damage.kind, damage.can_mend) == ("foreign commit", False)
    assert "WRITE: files added" in damage.what
    (left,) = opened(root).repair()
    assert not left.is_mended


def test_a_table_that_was_brought_up_to_date_is_not_damaged(tmp_path):
    folder = tmp_path / METRICS.name
    older = dataclasses.replace(METRICS, columns=tuple(c for c in METRICS.columns if c.name != "context"))
    later = dataclasses.replace(
        METRICS,
        columns=tuple(dataclasses.replace(c, since=2) if c.name == "context" else c for c in METRICS.columns),
        version=2,
    )
    tables = EmbeddedTables(tmp_path)
    tables.create([older])
    tables.create([later])
    assert max(log_entries(folder)) == 1
    with DeepReader() as reader:
        assert table_damages(folder, later, reader=reader) == []


def test_a_foreign_feature_is_told_of(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.drained, root)
    entry = max(log_entries(table(root))) + 1
    action = {
        "protocol": {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"],
            "writerFeatures": ["deletionVectors", "appendOnly"],
        }
    }
    (table(root) / "_delta_log" / f"{entry:020d}.json").write_text(json.dumps(action) + "\n")
    kinds = {d.kind: d for d in opened(root).doctor().damages}
    assert kinds.keys() == {"foreign commit", "foreign feature"}
    assert "deletionVectors" in kinds["foreign feature"].what
    assert not any(m.is_mended for m in opened(root).repair())


def test_a_registry_number_that_two_events_have_is_told_of(kept, tmp_path):
    root = tmp_path / "wh"
    shutil.copytree(kept.drained, root)
    opened(root).engine().append(REGISTRY_EVENTS, registry_rows("m", 1, "description_set"))
    (damage,) = opened(root).doctor().damages
    assert (damage.kind, damage.can_mend) == ("doubled rows", False)
    (left,) = opened(root).repair()
    assert not left.is_mended


def test_a_healthy_warehouse_has_no_damage_and_repair_changes_nothing(kept, tmp_path):
    for which in ("spooled", "drained", "compacted"):
        root = tmp_path / which
        shutil.copytree(getattr(kept, which), root)
        assert opened(root).doctor(deep=True).problems == ()
        before = {p.name: p.read_bytes() for p in (root / "tables").rglob("*") if p.is_file()}
        assert opened(root).repair(deep=True) == []
        assert {p.name: p.read_bytes() for p in (root / "tables").rglob("*") if p.is_file()} == before


def test_every_kind_of_damage_is_tested():
    told = {"foreign commit", "foreign feature", "torn segment", "lost rows"}
    assert {kind for _, _, kind in MENDABLE} | told == KINDS.keys()
