"""Histories of resumed runs, without what was gone over again, and of forked ones, with what they continue."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, NotFoundError

Points = list[tuple[object, ...]]


@pytest.fixture
def warehouse(tmp_path: Path):
    made = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    yield made
    made.close()


def curve(run, first: int, last: int, value: float, key: str = "loss") -> None:
    for step in range(first, last + 1):
        run.log_metric(key, value, step)


def test_a_resumed_run_has_one_curve_and_all_its_points(warehouse: Warehouse) -> None:
    with warehouse.start_run() as run:
        curve(run, 1, 5, 0.0)
        run.log_metric("val", 1.0, 2)
    with warehouse.start_run(run_id=run.run_id) as run:
        curve(run, 4, 4, 1.0)
    everything = warehouse.metric_history([run.run_id], ["loss"])
    assert everything[["step", "attempt"]].to_numpy().tolist() == [[1, 0], [2, 0], [3, 0], [4, 0], [4, 1], [5, 0]]
    last = warehouse.metric_history([run.run_id], attempts="last")
    assert last[["key", "step", "attempt"]].to_numpy().tolist() == [
        ["loss", 1, 0],
        ["loss", 2, 0],
        ["loss", 3, 0],
        ["loss", 4, 1],
        ["val", 2, 0],
    ]
    assert last.columns.tolist() == everything.columns.tolist()
    # The summary keeps MLflow's rule: the largest step, whichever attempt logged it.
    (row,) = warehouse.sql(
        "SELECT last, last_step, count FROM metric_summaries WHERE key = 'loss'", output_format="arrow"
    ).to_pylist()
    assert row == {"last": 0.0, "last_step": 5, "count": 6}
    with pytest.raises(InvalidInputError, match="`attempts` is `latest`; it must be one of all, last"):
        warehouse.metric_history(attempts="latest")


def test_a_fork_continues_its_parents_curve_and_copies_nothing(warehouse: Warehouse) -> None:
    with warehouse.start_run(experiment="e", run_name="parent") as parent:
        curve(parent, 1, 6, 0.0)
        parent.log_metric("only", 7.0, 1)
    with warehouse.start_run(fork_from=parent.run_id, fork_step=4, run_name="child") as child:
        assert child.info.experiment_id == parent.info.experiment_id
        curve(child, 5, 6, 1.0)
    with warehouse.start_run(fork_from=child.run_id, fork_step=5, experiment="other") as grandchild:
        curve(grandchild, 6, 7, 2.0)

    def points(run_ids, **options) -> Points:
        frame = warehouse.metric_history(run_ids, with_parents=True, **options)
        names = {parent.run_id: "parent", child.run_id: "child", grandchild.run_id: "grandchild"}
        return [
            (names[r.run_id], r.key, r.step, r.value, names[r.source_run_id]) for r in frame.itertuples(index=False)
        ]

    assert points([grandchild.run_id], keys=["loss"]) == [
        *(("grandchild", "loss", step, 0.0, "parent") for step in (1, 2, 3, 4)),
        ("grandchild", "loss", 5, 1.0, "child"),
        ("grandchild", "loss", 6, 2.0, "grandchild"),
        ("grandchild", "loss", 7, 2.0, "grandchild"),
    ]
    assert ("child", "only", 1, 7.0, "parent") in points([child.run_id])
    assert points([parent.run_id]) == [p for p in points(None) if p[0] == "parent"]
    assert len(points(None)) == 7 + (5 + 2) + (5 + 1 + 2)
    assert {p[0] for p in points(None, experiment_names=["other"])} == {"grandchild"}
    assert len(warehouse.metric_history()) == 7 + 2 + 2
    found = warehouse.search_runs(
        filter_string=f"tags.`mlwarehouse.fork.run_id` = '{parent.run_id}'", search_all_experiments=True
    )
    assert found["tags.mlwarehouse.fork.step"].tolist() == ["4"]


def test_a_parent_that_was_resumed_and_tags_that_go_round(warehouse: Warehouse) -> None:
    with warehouse.start_run() as parent:
        curve(parent, 1, 3, 0.0)
    with warehouse.start_run(run_id=parent.run_id):
        curve(warehouse.active_run(), 2, 2, 1.0)
    with warehouse.start_run(fork_from=parent.run_id, fork_step=9) as child:
        curve(child, 4, 4, 2.0)
    frame = warehouse.metric_history([child.run_id], with_parents=True, attempts="last")
    assert frame[["step", "value"]].to_numpy().tolist() == [[1, 0.0], [2, 1.0], [4, 2.0]]
    with warehouse.start_run(run_id=parent.run_id) as run:
        run.set_tags({"mlwarehouse.fork.run_id": child.run_id, "mlwarehouse.fork.step": 2})
    assert len(warehouse.metric_history([child.run_id], with_parents=True)) == 5


def test_a_fork_that_can_not_be_meant_is_refused(warehouse: Warehouse) -> None:
    with warehouse.start_run() as run:
        pass
    with pytest.raises(InvalidInputError, match="is forked at a step: give `fork_step` as a whole number; got None"):
        warehouse.start_run(fork_from=run.run_id)
    with pytest.raises(InvalidInputError, match="`fork_step` is 3 and `fork_from` wasn't given"):
        warehouse.start_run(fork_step=3)
    with pytest.raises(InvalidInputError, match="A fork is a new run; leave `run_id`"):
        warehouse.start_run(run_id=run.run_id, fork_from=run.run_id, fork_step=3)
    with pytest.raises(InvalidInputError, match="`join` is True and no run is named to join"):
        warehouse.start_run(join=True)
    with pytest.raises(NotFoundError, match="There is no run `nobody`"):
        warehouse.start_run(fork_from="nobody", fork_step=3)
