import datetime as dt
import math

import numpy as np
import pytest

from mlwarehouse.dashboards import data
from mlwarehouse.dashboards.reader import Reader
from mlwarehouse.dashboards.state import ProgressState

from .conftest import FAR_AWAY, FIRST_DAY

DAY = dt.timedelta(days=1)


@pytest.fixture
def reader(warehouse):
    return Reader(warehouse)


def test_a_fresh_warehouse_has_no_numbers_and_no_failures(reader):
    assert data.experiments(reader).empty
    assert data.goals(reader, ()).empty
    assert data.resolve(reader, ProgressState()) == ProgressState()
    totals = data.totals(reader, ()).iloc[0]
    assert totals["n_runs"] == 0
    assert totals["duration_s"] == 0
    assert data.period(reader, ()) == "day"
    assert data.activity(reader, (), group_by="user_id", unit="day").empty
    assert data.outcomes(reader, (), unit="day").empty
    assert data.progress(reader, (), goal="loss", direction="min").empty
    assert data.records(reader, (), goal="loss", direction="min").empty
    assert data.leaderboard(reader, (), goal="loss", direction="min").empty


@pytest.fixture
def scores(builder):
    """Five runs of two experiments whose `val/loss` reaches 0.5, 0.7, 0.4, 0.4 and 0.3 in this order."""
    builder.experiment("e1", "sentiment")
    builder.experiment("e2", "reranker")
    for i, (run, experiment, low) in enumerate(
        [("r1", "e1", 0.5), ("r2", "e2", 0.7), ("r3", "e2", 0.4), ("r4", "e1", 0.4), ("r5", "e2", 0.3)]
    ):
        builder.run(
            run, experiment, f"run-{run}", FIRST_DAY + i * DAY, minutes=60, params={"lr": f"0.{i}", "same": "x"},
            metrics={"val/loss": [low + 1, low, low + 0.2], "train/loss": [1.0, 0.9]},
        )  # fmt: skip
    builder.write()


def test_records_beat_every_earlier_run(reader, scores):
    found = data.records(reader, (), goal="val/loss", direction="min")
    assert found["run_id"].tolist() == ["r1", "r3", "r5"]
    assert found["value"].tolist() == [0.5, 0.4, 0.3]
    np.testing.assert_equal(found["beaten"].to_numpy(dtype=float), [math.nan, 0.5, 0.4])
    assert found["step"].tolist() == [1, 1, 1]


def test_records_within_some_experiments_only_compare_these(reader, scores):
    assert data.records(reader, ("e2",), goal="val/loss", direction="min")["run_id"].tolist() == ["r2", "r3", "r5"]
    assert data.records(reader, ("e1",), goal="val/loss", direction="min")["run_id"].tolist() == ["r1", "r4"]


def test_the_other_direction_has_other_records(reader, scores):
    found = data.records(reader, (), goal="val/loss", direction="max")
    assert list(zip(found["run_id"], found["value"], strict=True)) == [("r1", 1.5), ("r2", 1.7)]


def test_progress_has_every_run_in_the_order_of_time(reader, scores):
    found = data.progress(reader, (), goal="val/loss", direction="min")
    assert found["run_id"].tolist() == ["r1", "r2", "r3", "r4", "r5"]
    assert found["reached_at"].iloc[0] == FIRST_DAY + dt.timedelta(minutes=60)


def test_the_leaderboard_is_best_first_with_the_params_that_differ(reader, scores):
    found = data.leaderboard(reader, (), goal="val/loss", direction="min", limit=3)
    assert found["run_id"].tolist() == ["r5", "r3", "r4"]
    assert [c for c in found.columns if c.startswith("params.")] == ["params.lr"]
    assert found["params.lr"].tolist() == ["0.4", "0.2", "0.3"]


def test_a_param_that_only_some_runs_have_differs(reader, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "a", params={"lr": "1", "extra": "x"})
    builder.run("r2", "e1", "b", params={"lr": "1"})
    builder.run("r3", "e1", "c")
    builder.write()
    found = data.varying_params(reader, ("r1", "r2"))
    assert found.columns.tolist() == ["extra"]
    assert data.varying_params(reader, ("r3",)).empty


def test_values_that_are_not_finite_set_no_record(reader, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "a", metrics={"acc": [math.inf, math.nan]})
    builder.run("r2", "e1", "b", FIRST_DAY + DAY, metrics={"acc": [0.5, math.nan]})
    builder.write()
    assert data.records(reader, (), goal="acc", direction="max")["run_id"].tolist() == ["r2"]
    assert data.goals(reader, ())["n_runs"].tolist() == [1]


def test_contexts_are_goals_of_their_own(reader, builder):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "a", metrics={"loss": [0.5]}, context={"subset": "val"})
    builder.write()
    assert data.goals(reader, ())["series"].tolist() == ['loss {"subset": "val"}']


def test_totals_count_outcomes_and_hours(reader, builder):
    builder.experiment("e1", "sentiment")
    for i, status in enumerate(["FINISHED", "FINISHED", "FAILED", "KILLED"]):
        builder.run(f"r{i}", "e1", "x", status=status, minutes=30)
    builder.run("alive", "e1", "x", status="RUNNING", heartbeat_due_at=FAR_AWAY)
    builder.run("lost", "e1", "x", status="RUNNING", heartbeat_due_at=FIRST_DAY + DAY)
    builder.run("gone", "e1", "x")
    builder.add("run_events", FIRST_DAY + DAY, run_id="gone", kind="deleted", attempt=0)
    builder.write()
    row = data.totals(reader, ()).iloc[0]
    counts = {c: row[c] for c in row.index if c.startswith("n_")}
    assert counts == {
        "n_runs": 6, "n_ended": 4, "n_finished": 2, "n_failed": 1, "n_killed": 1, "n_active": 1, "n_lost": 1,
    }  # fmt: skip
    assert row["duration_s"] == 4 * 30 * 60
    assert data.experiments(reader)["n_runs"].tolist() == [6]


def test_runs_of_a_deleted_experiment_do_not_count(reader, scores, builder):
    builder.add("experiment_events", FIRST_DAY + 9 * DAY, experiment_id="e2", kind="deleted")
    builder.write()
    assert data.experiments(reader)["name"].tolist() == ["sentiment"]
    assert data.totals(reader, ()).iloc[0]["n_runs"] == 2
    assert data.records(reader, (), goal="val/loss", direction="min")["run_id"].tolist() == ["r1", "r4"]


def test_activity_counts_per_week_and_group(reader, builder):
    builder.experiment("e1", "sentiment")
    for i, user in enumerate(["ana", "ana", "ben", None]):
        builder.run(f"r{i}", "e1", "x", FIRST_DAY + i * 3 * DAY, user=user)
    builder.write()
    found = data.activity(reader, (), group_by="user_id", unit="week")
    weeks = [(t.date().isoformat(), s, n) for t, s, n in found.itertuples(index=False)]
    assert weeks == [("2026-08-03", "ana", 2), ("2026-08-03", "ben", 1), ("2026-08-10", "unknown", 1)]


@pytest.mark.parametrize(("days", "unit"), [(3, "day"), (60, "week"), (900, "month")])
def test_bars_get_wider_with_the_span(reader, builder, days, unit):
    builder.experiment("e1", "sentiment")
    builder.run("r1", "e1", "x")
    builder.run("r2", "e1", "x", FIRST_DAY + days * DAY)
    builder.write()
    assert data.period(reader, ()) == unit


def test_words_for_sql_come_from_a_list(reader):
    for ask in (
        lambda: data.activity(reader, (), group_by="1; --", unit="day"),
        lambda: data.outcomes(reader, (), unit="') --"),
        lambda: data.progress(reader, (), goal="loss", direction="min; --"),
    ):
        with pytest.raises(ValueError, match="--"):
            ask()


def test_names_from_visitors_are_only_parameters(reader, scores):
    hostile = "e1' OR '1'='1"
    assert data.totals(reader, (hostile,)).iloc[0]["n_runs"] == 0
    assert data.progress(reader, (), goal=hostile, direction="min").empty


@pytest.mark.parametrize(
    ("series", "direction"),
    [
        ("val/loss", "min"),
        ("rmse", "min"),
        ("val_accuracy", "max"),
        ("f1", "max"),
        ("wall_time", "min"),
        ("bleu", "max"),
    ],
)
def test_the_direction_is_guessed_from_the_name(series, direction):
    assert data.default_direction(series) == direction


def test_the_default_goal_is_held_out_and_common(reader, scores):
    assert data.default_goal(["train/loss", "acc", "val/acc"]) == "val/acc"
    assert data.default_goal(["train/loss", "evaluator"]) == "train/loss"
    assert data.default_goal([]) is None
    assert data.resolve(reader, ProgressState()) == ProgressState((), "val/loss", "min")


def test_what_was_chosen_is_kept(reader, scores):
    state = ProgressState(("e1",), "no such metric", "max", "user_id")
    assert data.resolve(reader, state) == state
