"""``mlwarehouse report``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlwarehouse import Warehouse
from mlwarehouse.cli import app
from mlwarehouse.errors import WarehouseError
from mlwarehouse.tables.reports import PARAMETRIC


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLWAREHOUSE_COMMITTER", "off")
    warehouse = Warehouse(tmp_path / "wh")
    for seed in range(3):
        with warehouse.start_run(experiment="digits") as run:
            run.log_params({"lr": 0.1, "seed": seed, "fold": seed})
            run.log_metric("val=loss", seed)
    warehouse.close()
    return str(tmp_path / "wh")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_report_is_printed(place: str) -> None:
    given = ["seeds", "-w", place, "-p", "metric=val=loss", "-p", "seed_params=seed", "-p", "seed_params=fold"]
    (row,) = json.loads(said(*given, "--json"))
    assert (row["config"], row["n"], row["mean"], row["std"]) == ("lr=0.1", 3, 1.0, 1.0)
    assert "lr=0.1" in said(*given)
    assert said(*given, "--as-of", "2020-01-01") == "(no rows)\n"


def test_the_reports_are_listed() -> None:
    rows = {row["report"]: row for row in json.loads(said("--json"))}
    assert set(PARAMETRIC) < set(rows)
    assert rows["progress"]["parameters"] == "metric [direction=min] [experiments=all]"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["seed"], "Did you mean `seeds`"),
        (["seeds"], "needs `metric`"),
        (["seeds", "-p", "metric"], "NAME=VALUE"),
        (["seeds", "-p", "metric=a", "-p", "metric=b"], "takes one value"),
        (["seeds", "-p", "metric=loss"], r"Unknown metric `metrics\.loss`"),
    ],
)
def test_a_wrong_command_line_says_what_would_be_right(place: str, arguments: list[str], reason: str) -> None:
    with pytest.raises(WarehouseError, match=reason):
        CliRunner().invoke(app, ["report", *arguments, "-w", place], catch_exceptions=False)
