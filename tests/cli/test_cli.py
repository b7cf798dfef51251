"""The command line, as a shell runs it: real processes, their output, their exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.tables import TABLES


def run(*arguments: str, ok: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "mlwarehouse", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> str:
    """A warehouse with two runs, a registered model and a table to score."""
    import torch

    place = tmp_path_factory.mktemp("cli")
    warehouse = Warehouse(place / "wh", committer="off", capture_code=False)
    for number in range(2):
        with warehouse.start_run(experiment="e", run_name=f"run-{number}") as run_:
            run_.log_metric("loss", 0.5 - number / 10, 1)
            run_.log_param("lr", 0.1 * (number + 1))
            run_.set_tag("note", "\x1b[31mred\x1b[0m\nsecond line")
            if number == 1:
                example = pd.DataFrame({"a": [1.0], "b": [2.0]})
                warehouse.log_model(
                    torch.nn.Linear(2, 1),
                    init_args={"in_features": 2, "out_features": 1},
                    input_example=example,
                    run=run_,
                )
    warehouse.register_model(f"runs:/{run_.run_id}/model", "linear")
    pd.DataFrame({"id": range(50), "a": 1.0, "b": range(50)}).astype({"b": float}).to_parquet(place / "rows.parquet")
    warehouse.close()
    return str(place / "wh")


def test_init_makes_a_warehouse_and_refuses_another_folder(tmp_path):
    made = json.loads(run("init", "-w", str(tmp_path / "wh"), "--json").stdout)
    again = json.loads(run("init", "-w", str(tmp_path / "wh"), "--json").stdout)
    assert made == again
    assert made["uri"] == str(tmp_path / "wh")
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    refused = run("init", "-w", str(tmp_path / "other"), ok=False)
    assert "isn't a warehouse" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_runs_are_listed_filtered_and_ordered(filled):
    rows = json.loads(run("runs", "-w", filled, "--json", "--order-by", "metrics.loss ASC").stdout)
    assert [r["metrics.loss"] for r in rows] == [0.4, 0.5]
    one = run("runs", "-w", filled, "--filter", "params.lr < 0.15", "--columns", "run_id,params.lr,tags.note")
    assert one.stdout.count("\n") == 3
    assert "0.1" in one.stdout
    # What comes from data doesn't steer the terminal.
    assert "\x1b" not in one.stdout
    wrong = run("runs", "-w", filled, "--filter", "metrics.los < 1", ok=False)
    assert "Did you mean" in wrong.stderr
    assert "loss" in wrong.stderr


def test_sql_answers_and_says_what_is_wrong(filled):
    rows = json.loads(run("sql", "-w", filled, "--json", "SELECT count(*) AS n FROM metrics").stdout)
    assert rows == [{"n": 2}]
    assert "Did you mean `metrics`" in run("sql", "-w", filled, "SELECT * FROM metricz", ok=False).stderr
    wrong = run("sql", "-w", filled, "SELECT run_idd FROM runs", ok=False)
    assert "Did you mean" in wrong.stderr
    assert "`run_id`" in wrong.stderr
    assert "Only SELECT" in run("sql", "-w", filled, "DROP TABLE metrics", ok=False).stderr


def test_models_are_listed_moved_and_told_of(filled):
    assert (
        "models:/linear@champion is version 1" in run("models", "alias", "linear", "champion", "1", "-w", filled).stdout
    )
    moved = json.loads(run("models", "stage", "linear", "1", "Staging", "-w", filled, "--json").stdout)
    assert moved["current_stage"] == "Staging"
    (row,) = json.loads(run("models", "list", "-w", filled, "--json").stdout)
    assert (row["name"], row["version"], row["stage"], row["aliases"]) == ("linear", 1, "Staging", "champion")
    kinds = [e["kind"] for e in json.loads(run("models", "history", "linear", "-w", filled, "--json").stdout)]
    assert kinds[-2:] == ["alias_set", "stage_set"]
    registered = json.loads(run("models", "register", row_source(filled), "linear", "-w", filled, "--json").stdout)
    assert registered["version"] == 2
    assert "linaer" in run("models", "history", "linaer", "-w", filled, ok=False).stderr


def row_source(uri: str) -> str:
    (row,) = json.loads(run("sql", "-w", uri, "--json", "SELECT source FROM model_versions WHERE version = 1").stdout)
    return row["source"]


def test_score_writes_predictions(filled):
    table = filled.removesuffix("wh") + "rows.parquet"
    arguments = ("score", table, "models:/linear/1", "--key", "id", "--dataset", "rows", "-w", filled)
    assert json.loads(run(*arguments, "--json").stdout)["n_rows"] == 50
    rows = json.loads(run("sql", "-w", filled, "--json", "SELECT count(*) AS n FROM predictions").stdout)
    assert rows == [{"n": 50}]
    assert "there is no such file" in run("score", "nowhere.parquet", *arguments[2:], ok=False).stderr


def test_score_takes_every_kind_of_rows_and_label_the_truth(filled):
    question = "SELECT run_id AS id, value AS a, value AS b FROM metrics WHERE key = 'loss'"
    arguments = ("models:/linear/1", "--key", "id", "--dataset", "asked", "-w", filled)
    options = ("--keep-all", "--on-error", "null", "--batch-rows", "1", "--source-id", "once")
    assert (
        "2 predictions by models:/linear/1 for dataset `asked`" in run("score", question, *arguments, *options).stdout
    )
    told = ("--key", "id", "--dataset", "asked", "--label", "a", "-w", filled)
    assert "2 labels for dataset `asked`" in run("label", question, *told).stdout
    asked = run("report", "regression_quality", "--param", "datasets=asked", "-w", filled, "--json").stdout
    (row,) = json.loads(asked)
    assert (row["n"], row["n_labelled"]) == (2, 2)
    refused = run("report", "drift", "--param", "reference=aksed", "-w", filled, ok=False).stderr
    assert "Did you mean `asked`" in refused


def test_maintain_sync_and_doctor(filled):
    assert "0 rows wait" in run("sync", "-w", filled).stdout
    done = run("maintain", "-w", filled, "--json")
    assert {r["name"] for r in json.loads(done.stdout)} >= {"metrics", "run_events"}
    assert f"table {len(TABLES)}/{len(TABLES)}" in done.stderr
    health = json.loads(run("doctor", "-w", filled, "--json").stdout)
    assert health["problems"] == []
    assert "no problems found" in run("doctor", "-w", filled).stdout


def test_a_warehouse_that_is_not_there(tmp_path):
    for command in (["runs"], ["sql", "SELECT 1"], ["doctor"], ["models", "list"], ["dashboard"], ["maintain"]):
        done = run(*command, "-w", str(tmp_path / "nothing"), ok=False)
        assert "There is no warehouse at" in done.stderr
        assert "Traceback" not in done.stderr


def test_every_command_has_help_with_an_example():
    from typer.main import get_command

    from mlwarehouse.cli import app

    def commands(group, path=()):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, (*path, name))
            else:
                yield (*path, name), command

    found = dict(commands(get_command(app)))
    assert len(found) >= 14
    for path, command in found.items():
        assert f"Example: mlwarehouse {' '.join(path)}" in command.help, path
