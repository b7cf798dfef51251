"""Importing tables: any CSV, Parquet or JSON file of runs or of steps."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def test_a_table_of_runs_has_a_run_for_each_row(warehouse, tmp_path, ask):
    path = tmp_path / "sweep.csv"
    path.write_text(
        "Name,project,State,Created,hidden,kind,best,_private,Unnamed: 0\n"
        "one,digits,finished,2026-01-01T00:00:00Z,64,cnn,0.5,1,0\n"
        "one,digits,crashed,2026-01-01T01:00:00+01:00,128,mlp,nan,1,1\n"
        "two,text,odd,,256,,,1,2\n"
    )
    report = warehouse.import_(path, columns={"hid*": "param"})
    assert counts(report) == {"experiments": 2, "runs": 3, "params": 5, "points": 2}
    assert report.oddity_counts() == {"status unknown": 1}
    question = """
        SELECT experiment_name, run_name, status, EPOCH_MS(started_at) AS began
        FROM runs WHERE experiment_name = 'digits' ORDER BY status"""
    assert [tuple(row.values()) for row in ask(question)] == [
        ("digits", "one", "FAILED", 1_767_225_600_000),
        ("digits", "one", "FINISHED", 1_767_225_600_000),
    ]
    assert sorted(str(r["value"]) for r in ask("SELECT value FROM metrics WHERE key = 'best'")) == ["0.5", "nan"]
    assert sorted(r["value"] for r in ask("SELECT value FROM params WHERE key = 'hidden'")) == ["128", "256", "64"]
    assert counts(warehouse.import_(path, columns={"hid*": "param"})) == {}


def test_a_table_of_steps_has_a_row_for_each_step_and_grows(warehouse, tmp_path, ask):
    path = tmp_path / "history.csv"
    path.write_text(",_step,_timestamp,loss,val/loss,lr\n0,0,1767225600.5,0.5,,0.1\n1,1,1767225601,0.25,0.75,0.1\n")
    assert counts(warehouse.import_(path)) == {"experiments": 1, "runs": 1, "points": 5}
    with path.open("a") as file:
        file.write("2,2,1767225602,nan,,0.1\n")
    assert counts(warehouse.import_(path)) == {"points": 2}
    points = ask("SELECT step, value, EPOCH_MS(event_at) AS at FROM metrics WHERE key = 'loss' ORDER BY step")
    assert [(p["step"], str(p["value"]), p["at"]) for p in points] == [
        (0, "0.5", 1_767_225_600_500),
        (1, "0.25", 1_767_225_601_000),
        (2, "nan", 1_767_225_602_000),
    ]


def test_a_frame_of_search_runs_comes_back_as_it_was(warehouse, tmp_path):
    with warehouse.start_run(experiment="digits", run_name="first", tags={"team": "vision"}) as run:
        run.log_params({"lr": 0.1, "kind": "cnn"})
        run.log_metrics({"loss": 0.5, "acc": 0.75})
    frame = warehouse.search_runs(experiment_names=["digits"])
    warehouse.flush()
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"runs.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        other = Warehouse(tmp_path / f"wh-{suffix}", committer="off")
        other.import_(path)
        found = other.search_runs(search_all_experiments=True)
        same = [
            "run_id",
            "status",
            "start_time",
            "end_time",
            *(c for c in frame if c.startswith(("params.", "metrics."))),
        ]
        pd.testing.assert_frame_equal(found[same], frame[same], check_dtype=False)
        assert found.loc[0, "tags.team"] == "vision"
        assert found.loc[0, "tags.mlflow.runName"] == "first"
        other.close()


def test_nested_json_and_parquet_are_spread_over_names(warehouse, tmp_path, ask):
    report = {"path": "a/1", "config": {"model": {"layers": [1, 2], "kind": "cnn"}, "lr": 0.1}, "metrics": {"acc": 1}}
    lines = [report, {"path": "a/2", "config": {"lr": 2}, "metrics": {"acc": 0.5}}]
    with gzip.open(tmp_path / "reports.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, lines)) + "\n{no json\n[1]\n")
    (tmp_path / "reports.json").write_text(json.dumps(lines))
    table = pa.table({"path": ["a/3"], "config": [{"lr": 0.1, "model": {"layers": [1]}}], "metrics": [{"acc": 0.1}]})
    parquet.write_table(table, tmp_path / "reports.parquet")
    first = warehouse.import_(tmp_path / "reports.jsonl.gz", columns={"path": "run_id"})
    assert counts(first) == {"experiments": 1, "runs": 2, "params": 4, "points": 2}
    assert first.oddity_counts() == {"row unreadable": 2}
    assert counts(warehouse.import_(tmp_path / "reports.json", columns={"path": "run_id"})) == {}
    assert counts(warehouse.import_(tmp_path / "reports.parquet", columns={"path": "run_id"})) == {
        "runs": 1,
        "params": 2,
        "points": 1,
    }
    params = ask("SELECT key, value FROM params WHERE run_id = 'a/1' ORDER BY key")
    assert [(p["key"], p["value"]) for p in params] == [
        ("lr", "0.1"),
        ("model.kind", "cnn"),
        ("model.layers", "[1, 2]"),
    ]


def test_what_can_not_be_read_is_told_or_refused(warehouse, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_bytes("step,loss,naïve\n0,0.5,x\n1,high,y\n2,3\n,0.1,z\n".encode("latin-1"))
    report = warehouse.import_(path, columns={"loss": "metric"})
    assert report.oddity_counts() == {
        "not UTF-8": 1,
        "row unreadable": 1,
        "row without a step": 1,
        "metric unreadable": 1,
    }
    assert report.added["points"] == 1
    for columns, message in (
        ({"los": "metric"}, "has no column `los`.*Did you mean `loss`"),
        ({"loss": "metrics"}, "Did you mean `metric`"),
        ({"loss": "step", "step": "step"}, "can't both be the `step`"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            warehouse.import_(path, columns=columns)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(InvalidInputError, match="can't be read as parquet"):
        warehouse.import_(tmp_path / "bad.parquet")
    (tmp_path / "none.csv").touch()
    assert counts(warehouse.import_(tmp_path / "none.csv")) == {"experiments": 1}
    with pytest.raises(InvalidInputError, match="isn't a file whose name ends"):
        warehouse.import_(tmp_path / "x.txt", kind="table")


@pytest.mark.trial_data
def test_tables_of_others_come_with_exactly_what_is_in_them(trial_data, tmp_path):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]

    def imported(path, columns=None):
        warehouse = Warehouse(tmp_path / path.stem, committer="off")
        found = counts(warehouse.import_(trial_data / "dev" / path, columns=columns))
        assert counts(warehouse.import_(trial_data / "dev" / path, columns=columns)) == {}
        warehouse.close()
        return found

    folder = (trial_data / "dev" / "wandb_csv").relative_to(trial_data / "dev")
    (runs,) = truth["wandb_csv"]["gnn_runs_table"]["per_file"].values()
    found = imported(folder / "gnn_runs_table" / "wandb_export.csv")
    assert (found["runs"], found["points"]) == (runs["rows"], runs["numeric_cells"])
    (steps,) = truth["wandb_csv"]["tts_history"]["per_file"].values()
    found = imported(folder / "tts_history" / "wandb_history.csv")
    # The number of the row, its step and two times are in each row, and are no metrics.
    assert (found["runs"], found["points"]) == (1, steps["numeric_cells"] - 4 * steps["rows"])
    (chart,) = truth["wandb_csv"]["ucea"]["per_file"].values()
    other = tmp_path / "chart.csv"
    other.write_bytes((trial_data / "dev" / folder / "ucea" / "wandb_export.csv").read_bytes())
    warehouse = Warehouse(tmp_path / "chart", committer="off")
    added = warehouse.import_(other, columns={"evaluations": "step"}).added
    assert added["points"] == chart["numeric_cells"] - chart["rows"]
    warehouse.close()
    reports = truth["hpo"]["rtdl_num_embeddings"]
    named = {"path": "run_id", "n_parameters": "tag", "best_epoch": "tag"}
    found = imported((trial_data / reports["folder"]).relative_to(trial_data / "dev") / "trials.parquet", named)
    assert found["runs"] == reports["reports"]
    assert found["points"] == reports["metric_values"]
