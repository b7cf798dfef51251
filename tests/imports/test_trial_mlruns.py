"""Stores that others produced: each comes with exactly what is in its files, run by run."""

from __future__ import annotations

import csv
import gzip
import json
import math
import tarfile

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.imports.mlruns_runs import STATUSES

pytestmark = pytest.mark.trial_data

NAMES = (
    "bilevelrl_2024",
    "deeplearning_2019",
    "diplodatos_2021",
    "eolica_2025",
    "globalwheat_2020",
    "iforest_2023",
    "keras_2018",
    "packt_hpo_2022",
    "petrophysics_2021",
    "pycaret_nested_2023",
    "segformer_2021",
    "speechdefects_2026",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_store_comes_with_exactly_what_is_in_its_files(trial_data, tmp_path, name):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]["mlruns"][name]
    place = trial_data / truth["folder"]
    if (place / "mlruns.tar.xz").exists():
        with tarfile.open(place / "mlruns.tar.xz") as packed:
            packed.extractall(tmp_path, filter="data")
        place = tmp_path
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    report = warehouse.import_(place / "mlruns")
    # A folder of runs without a description of its experiment is one nevertheless.
    nameless = truth["oddities"].get("experiment_folder_no_meta", 0)
    assert report.added == {
        "experiments": truth["experiments"] + nameless,
        "runs": truth["runs"],
        "params": truth["params"],
        "points": truth["metric_points"],
        "tags": truth["tags"],
        "inputs": 0,
        "artifacts": truth["artifact_files"],
        "logged_models": truth.get("logged_models", 0),
        "models": truth.get("registered_models", 0),
        "model_versions": truth.get("model_versions", 0),
        "model_aliases": 0,
    }
    odd = report.oddity_counts()
    assert odd.get("experiment without meta.yaml", 0) == nameless
    assert odd.get("experiment id twice", 0) == truth["oddities"].get("experiment_id_both_active_and_in_trash", 0)
    assert odd.get("metric lines of two columns", 0) == truth["oddities"].get("two_column_metric_line", 0)
    assert odd.get("folder like a run", 0) == truth["oddities"].get("run_like_folder_no_meta_no_data", 0)
    assert not any(warehouse.import_(place / "mlruns").added.values())
    found = {row.pop("run_id"): row for row in warehouse.engine().query(_RUNS).to_pylist()}
    with gzip.open(trial_data / "dev" / "truth_runs" / f"mlruns_{name}.csv.gz", "rt") as file:
        expected = {row["run_id"]: row for row in csv.DictReader(file)}
    assert found.keys() == expected.keys()
    for run_id, row in expected.items():
        run = found[run_id]
        assert run["status"] == STATUSES[int(row["status"])]
        assert run["lifecycle_stage"] == row["lifecycle_stage"] or (row["lifecycle_stage"] == "" and run["is_old"])
        assert (run["began"], run["ended"]) == (
            int(row["start_time"]),
            int(row["end_time"]) if row["end_time"] not in ("", "null") else None,
        )
        assert (run["parent_run_id"] or "") == row["parent_run_id"]
        for name in ("params", "metric_keys", "metric_points", "non_finite_points", "tags", "artifact_files"):
            assert run[name] == int(row[name]), (run_id, name)
        assert math.isclose(run["total"], float(row["finite_value_sum"]), rel_tol=1e-9, abs_tol=1e-9)
    warehouse.close()


_RUNS = """
    SELECT
        run_id, status, lifecycle_stage, parent_run_id, EPOCH_MS(started_at) AS began, EPOCH_MS(ended_at) AS ended,
        run_name = 'Run 0' AS is_old,
        (SELECT COUNT(*) FROM params WHERE params.run_id = runs.run_id) AS params,
        (SELECT COUNT(*) FROM tags WHERE tags.run_id = runs.run_id) AS tags,
        (SELECT COUNT(*) FROM artifacts WHERE artifacts.run_id = runs.run_id) AS artifact_files,
        (SELECT COUNT(DISTINCT key) FROM metrics WHERE metrics.run_id = runs.run_id) AS metric_keys,
        (SELECT COUNT(*) FROM metrics WHERE metrics.run_id = runs.run_id) AS metric_points,
        (SELECT COUNT(*) FROM metrics WHERE metrics.run_id = runs.run_id AND NOT ISFINITE(value)) AS non_finite_points,
        (SELECT COALESCE(SUM(value), 0) FROM metrics WHERE metrics.run_id = runs.run_id AND ISFINITE(value)) AS total
    FROM runs"""
