"""Merging warehouses: what both had together, once."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import InvalidInputError, WarehouseNotFoundError
from mlwarehouse.ingest.identity import experiment_id_of
from mlwarehouse.merging.experiments import Before, Found, place
from mlwarehouse.merging.experiments import place as placed_experiments
from mlwarehouse.registry.policies import Policy

from .mlruns_store import experiment, lines, run, store


@pytest.fixture
def make(tmp_path):
    """Makes warehouses, by name."""
    opened: list[Warehouse] = []

    def made(name: str) -> Warehouse:
        opened.append(Warehouse(tmp_path / name, committer="off", capture_code=False))
        opened[-1].create()
        return opened[-1]

    yield made
    for each in opened:
        each.close()


def log(warehouse: Warehouse, name: str, experiment: str = "digits", **metrics: list[float]) -> str:
    """A run with all that a run can have."""
    with warehouse.start_run(experiment=experiment, run_name=name) as run:
        run.log_params({"lr": 0.1, "name": name})
        for key, values in metrics.items():
            for step, value in enumerate(values):
                run.log_metric(key, value, step=step)
        run.set_tag("team", name)
        run.log_text(f"notes of {name}", "notes.txt")
        run.log_input(pd.DataFrame({"x": [1]}), name=f"data-{name}", context="training")
    warehouse.flush()
    return run.run_id


def version(warehouse: Warehouse, model: str, source: str) -> None:
    """A version of a registered model."""
    warehouse.registry.create_model_version(model, source=source, run_id=None, digest=None)


def frame(*warehouses: Warehouse) -> pd.DataFrame:
    """All runs of some warehouses, as `search_runs` has them."""
    found = [w.search_runs(search_all_experiments=True, run_view_type=3, max_results=100_000) for w in warehouses]
    both = pd.concat(found).drop(columns=["artifact_uri"]).drop_duplicates(subset="run_id")
    return both.reindex(columns=sorted(both.columns)).sort_values("run_id", ignore_index=True)


def points(*warehouses: Warehouse) -> list[tuple]:
    """All points of some warehouses."""
    sql = "SELECT run_id, key, step, value, context, attempt, event_at, recorded_at, writer_id, writer_seq FROM metrics"
    rows = {str(tuple(row.values())) for w in warehouses for row in w.engine().query(sql).to_pylist()}
    return sorted(rows)


def history(*warehouses: Warehouse) -> list[str]:
    """All events of the registry."""
    rows = (r for w in warehouses for r in w.engine().query("SELECT * FROM registry_events").to_pylist())
    return sorted({str(row) for row in rows})


def added(report) -> dict[str, int]:
    """What came, without the row that says so."""
    return {name: n for name, n in report.rows.items() if n and name != "audit"}


def test_what_two_have_comes_together_once(make):
    here, there = make("here"), make("there")
    log(here, "one", loss=[0.5, math.nan], acc=[1.0])
    run_id = log(there, "two", loss=[0.25, math.inf])
    log(there, "three", experiment="other", f1=[0.1])
    with there.start_run(run_id=run_id) as run:
        run.log_metric("loss", 0.125, step=9)
    there.flush()
    for warehouse, name in ((here, "a"), (there, "b")):
        warehouse.registry.create_registered_model(name)
        version(warehouse, name, "s3://x/1")
        warehouse.registry.set_model_alias(name, "champion", 1)
    there.log_labels(pd.DataFrame({"id": [1, 2], "y": [0, 1]}), dataset="d", key="id", label="y", source_id="s")
    both, curves, models = frame(here, there), points(here, there), history(here, there)
    asked = here.merge(there, dry_run=True)
    report = here.merge(there)
    assert (report.experiments, report.runs, report.models, report.files) == (1, 2, 1, 2)
    assert added(report) == added(asked)
    assert (asked.is_dry_run, asked.files, report.oddities) == (True, 0, [])
    pd.testing.assert_frame_equal(frame(here), both)
    assert (points(here), history(here)) == (curves, models)
    assert here.get_model_version_by_alias("b", "champion").source == "s3://x/1"
    sql = "SELECT digest FROM artifacts WHERE run_id = $run_id"
    (file,) = here.engine().query(sql, parameters={"run_id": run_id}).to_pylist()
    with here.artifact_store().open(file["digest"]) as stream:
        assert stream.read() == b"notes of two"
    # What came under a source id there can't come again under it here.
    again = here.log_labels(pd.DataFrame({"id": [1, 2], "y": [0, 1]}), dataset="d", key="id", label="y", source_id="s")
    assert again == 0
    report = here.merge(there)
    assert (added(report), report.experiments, report.runs, report.models, report.files) == ({}, 0, 0, 0, 0)
    # Only what was logged there since.
    log(there, "four", loss=[1.0])
    there.registry.set_model_alias("b", "challenger", 1)
    report = here.merge(str(there.root))
    assert (report.runs, report.models, report.rows["metrics"], report.rows["registry_events"]) == (1, 1, 1, 1)
    pd.testing.assert_frame_equal(frame(here), frame(here, there))
    # And the other way.
    report = there.merge(here)
    assert (report.runs, report.models) == (1, 1)
    pd.testing.assert_frame_equal(frame(there), frame(here))
    assert (points(there), history(there)) == (points(here), history(here))


def test_a_copy_that_went_its_own_way_comes_back(make):
    here = make("here")
    run_id = log(here, "one", loss=[0.5])
    here.registry.create_registered_model("net")
    version(here, "net", "s3://x/1")
    here.close()
    shutil.copytree(here.root, here.root.parent / "copy")
    copy = make("copy")
    for warehouse, value, step in ((here, 0.25, 1), (copy, 0.125, 2)):
        with warehouse.start_run(run_id=run_id) as run:
            run.log_metric("loss", value, step=step)
        warehouse.flush()
    version(copy, "net", "s3://x/2")
    report = here.merge(copy)
    assert (report.runs, report.oddities, report.rows["metrics"]) == (0, [], 1)
    steps = here.engine().query("SELECT step, value FROM metrics ORDER BY step").to_pylist()
    assert [tuple(s.values()) for s in steps] == [(0, 0.5), (1, 0.25), (2, 0.125)]
    assert [v.source for v in here.search_model_versions("name = 'net'")] in (
        ["s3://x/2", "s3://x/1"],
        ["s3://x/1", "s3://x/2"],
    )
    assert added(here.merge(copy)) == {}
    # Version numbers that were given on both sides.
    version(here, "net", "s3://here/3")
    version(copy, "net", "s3://copy/3")
    report = here.merge(copy)
    assert report.oddity_counts() == {"model name taken": 1}
    assert here.get_model_version("net", 3).source == "s3://here/3"
    assert [here.get_model_version("net (2)", n).source for n in (1, 2, 3)] == ["s3://x/1", "s3://x/2", "s3://copy/3"]
    copy.registry.set_model_alias("net", "champion", 3)
    assert added(here.merge(copy)) == {"registry_events": 1}
    assert here.get_model_version_by_alias("net (2)", "champion").version == 3


def test_what_was_recorded_earlier_elsewhere_counts_as_earlier_once_it_comes(make):
    here = make("here")
    run_id = log(here, "one", loss=[0.5])
    here.close()
    shutil.copytree(here.root, here.root.parent / "copy")
    copy = make("copy")
    for warehouse, value in ((copy, "early"), (here, "late")):
        with warehouse.start_run(run_id=run_id) as again:
            again.set_tag("said", value)
            again.log_metric("loss", 0.25 if value == "early" else 0.75, step=1)
        warehouse.flush()
    # What is kept folded here doesn't know of it yet.
    here.maintain()
    assert here.merge(copy).rows["tag_events"] > 0
    folded = frame(here)
    assert folded["tags.said"].item() == "late"
    here.maintain()
    pd.testing.assert_frame_equal(frame(here), folded)
    assert folded["metrics.loss"].item() == 0.75
    copy.merge(here)
    pd.testing.assert_frame_equal(frame(copy), folded)


def test_an_id_that_stands_for_two_runs_is_told(make, tmp_path):
    here, there = make("here"), make("there")
    run_id = log(here, "ours", acc=[0.5])
    folder = store(tmp_path / "mlruns")
    run(folder / "1", run_id, metrics={"acc": lines("1", "2")}, params={"theirs": "1"}, files={"a": "b"})
    there.import_(folder)
    before = frame(here)
    report = here.merge(there)
    assert (report.runs, report.oddity_counts()["run already here"]) == (7, 1)
    after = frame(here)
    same = after[after["run_id"] == run_id][before.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, before.reset_index(drop=True))
    assert added(here.merge(there)) == {}


def test_what_both_have_imported_comes_once(make, tmp_path):
    here, there = make("here"), make("there")
    folder = store(tmp_path / "mlruns")
    here.import_(folder)
    with (folder / "1" / ("a" * 32) / "metrics" / "acc").open("a") as file:
        file.write("1700000000009 0.125 9\n")
    # So that what the two imports wrote under one number isn't the same.
    (folder / "1" / ("a" * 32) / "params" / "aaa").write_text("first")
    there.import_(folder)
    report = here.merge(there)
    assert (report.runs, report.experiments) == (0, 0)
    pd.testing.assert_frame_equal(frame(here), frame(there))
    assert added(here.merge(there)) == {}
    assert not any(here.import_(folder).added.values())
    count = "SELECT COUNT(*) FROM metrics"
    assert here.engine().query(count) == there.engine().query(count)


class Killed(BaseException):
    """Nobody catches it."""


def test_a_merge_that_was_killed_anywhere_goes_on(make, monkeypatch):
    there = make("there")
    log(there, "one", loss=[0.5, 0.25])
    there.registry.create_registered_model("net")
    version(there, "net", "s3://x/1")
    appended = EmbeddedEngine.append
    n_commits = 0

    def counted(self, *args, **kwargs):
        nonlocal n_commits
        n_commits += 1
        if n_commits == 2:
            raise Killed
        return appended(self, *args, **kwargs)

    here = make("here")
    monkeypatch.setattr(EmbeddedEngine, "append", counted)
    n_kills = 0
    while True:
        n_commits = 0
        try:
            here.merge(there)
            break
        except Killed:
            # Each goes one commit farther.
            n_kills += 1
    monkeypatch.undo()
    assert n_kills > 6
    pd.testing.assert_frame_equal(frame(here), frame(there))
    assert (points(here), history(here)) == (points(there), history(there))
    assert added(here.merge(there)) == {}


def test_many_rows_come_in_parts(make, monkeypatch):
    here, there = make("here"), make("there")
    monkeypatch.setattr("mlwarehouse.merging.rows.CHUNK_ROWS", 3)
    for n in range(2):
        log(there, f"run {n}", loss=[0.5] * (n + 1))
    there.bulk_log_metrics(
        {"step": np.arange(10), "value": np.arange(10.0)},
        run_id=there.search_runs(search_all_experiments=True)["run_id"][0],
        key="bulk",
        source_id="s",
    )
    own = log(here, "own")
    here.bulk_log_metrics({"step": [0], "value": [0.5]}, run_id=own, key="bulk", source_id="s")
    theirs = points(there)
    assert here.merge(there).rows["metrics"] == 13
    assert [row for row in points(here) if own not in row] == theirs
    assert added(here.merge(there)) == {}


def test_policies_stay_and_decide(make):
    here, there = make("here"), make("there")
    here.registry_as("boss", ["admin"]).set_policy(Policy("p", stages=("Production",), movers=("boss",)))
    for name in ("free", "held"):
        there.registry.create_registered_model(name)
        version(there, name, "s3://x/1")
    there.registry.transition_model_version_stage("held", 1, "Production")
    there.registry_as("boss", ["admin"]).set_policy(Policy("q", stages=("Staging",), movers=()))
    there.access.add_user("ann")
    report = here.merge(there)
    assert report.oddity_counts() == {"access left out": 1, "policies left out": 1, "model refused": 1}
    assert here.engine().query("SELECT * FROM access_events").num_rows == 0
    assert "access_events" not in there.export(there.root.parent / "export").rows
    assert [m.name for m in here.search_registered_models()] == ["free"]
    assert [p.name for p in here.registry.policies()] == ["p"]


def test_what_is_no_other_warehouse_is_refused(make, tmp_path):
    here = make("here")
    here.create()
    with pytest.raises(InvalidInputError, match="is this warehouse itself"):
        here.merge(here.root)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    for name in ("nothing", "other"):
        with pytest.raises(WarehouseNotFoundError, match="neither a warehouse nor"):
            here.merge(tmp_path / name)


def test_a_file_that_is_damaged_is_told_and_left_out(make):
    here, there = make("here"), make("there")
    log(there, "one")
    (blob,) = (there.root / "artifacts" / "blobs").glob("??/*")
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    report = here.merge(there)
    assert (report.oddity_counts(), report.runs) == ({"artifact unreadable": 1}, 1)
    assert "artifact_events" not in added(report)


names = st.sampled_from(["x", "y", "z"])
ids = st.sampled_from(["1", "2", experiment_id_of("x")])
warehouses = st.dictionaries(ids, st.tuples(names, st.frozensets(names, min_size=1)), max_size=3).filter(
    lambda d: len({name for name, _ in d.values()}) == len(d)
)


@given(theirs=warehouses, ours=warehouses)
def test_experiments_find_one_place_each(theirs, ours):
    found_theirs = {i: Found(name, first) for i, (name, first) in theirs.items()}
    found_ours = {i: Found(name, first) for i, (name, first) in ours.items()}
    placed = place(found_theirs, found_ours, {})
    goes = {i: placed.ids.get(i, i) for i in found_theirs}
    for experiment_id, target in goes.items():
        name, first = theirs[experiment_id]
        same = experiment_id in ours and not ours[experiment_id][1].isdisjoint(first)
        named = next((i for i, (n, _) in ours.items() if n == name), None)
        if same:
            assert target == experiment_id
        elif named is not None:
            assert target == named
            assert experiment_id in placed.joined
        else:
            assert target not in ours
            assert (target == experiment_id) == (experiment_id not in ours)
    assert placed.n_new == sum(t not in ours for t in goes.values())
    new = [t for t in goes.values() if t not in ours]
    assert len(set(new)) == len(new)
    # The same again, once it has been remembered.
    before = {i: Before(t, i in placed.joined) for i, t in placed.ids.items()}
    after = found_ours | {t: found_theirs[i] for i, t in goes.items() if t not in ours}
    again = placed_experiments(found_theirs, after, before)
    assert {i: again.ids.get(i, i) for i in found_theirs} == goes
    assert (again.n_new, again.joined) == (0, placed.joined)


def test_experiments_of_one_name_or_id_find_their_places(make, tmp_path):
    here, there = make("here"), make("there")
    ours = log(here, "ours", experiment="digits")
    here.import_(experiment(tmp_path / "mine", "7", "mine").parent)
    there.import_(store(tmp_path / "mlruns"))
    for n in range(3):
        report = here.merge(there)
        assert added(report) == {} or n == 0
        found = here.engine().query("SELECT experiment_id, name, lifecycle_stage FROM experiments").to_pylist()
        by_name = {row["name"]: row for row in found}
        assert len(by_name) == len(found)
        assert by_name["mine"]["experiment_id"] == "7"
        runs = here.search_runs(experiment_names=["digits"], run_view_type=3)
        assert ours in set(runs["run_id"])
        assert len(runs) == 4
        assert len(here.search_runs(experiment_names=["experiment 7"])) == 1
    # What was done there to an experiment that is here too stays there; tags come.
    assert report.oddity_counts() == {}
