"""A warehouse in one folder of Parquet files, and back."""

from __future__ import annotations

import json
import math
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from mlwarehouse import Warehouse
from mlwarehouse.cli import app
from mlwarehouse.errors import InvalidInputError, WarehouseNotFoundError

from .mlruns_store import store


def frame(warehouse: Warehouse) -> pd.DataFrame:
    """All runs, as `search_runs` has them."""
    found = warehouse.search_runs(search_all_experiments=True, run_view_type=3).drop(columns=["artifact_uri"])
    return found.reindex(columns=sorted(found.columns)).sort_values("run_id", ignore_index=True)


def registry(warehouse: Warehouse) -> list[object]:
    """All models and versions."""
    return [*warehouse.search_registered_models(), *warehouse.search_model_versions()]


@pytest.fixture
def full(warehouse, tmp_path):
    """A warehouse with runs of its own, and imported ones, and models."""
    warehouse.import_(store(tmp_path / "mlruns"))
    with warehouse.start_run(experiment="ours", run_name="one") as run:
        run.log_param("lr", 0.1)
        run.log_metrics({"loss": math.nan, "acc": math.inf}, step=3)
        run.log_text("hi", "notes/x.txt")
    warehouse.flush()
    return warehouse


def test_all_there_is_goes_out_and_comes_back(full, tmp_path):
    written = full.export(tmp_path / "export")
    n_files = full.sql("SELECT COUNT(DISTINCT digest) AS n FROM artifacts")["n"].item()
    assert (written.rows["metrics"], written.files, written.oddities) == (11, n_files, [])
    # For whoever reads Parquet.
    runs = pd.read_parquet(tmp_path / "export" / "views" / "runs.parquet")
    points = pd.read_parquet(tmp_path / "export" / "metrics.parquet")
    assert (len(runs), set(points["run_id"]) <= set(runs["run_id"])) == (8, True)
    shutil.move(tmp_path / "export", tmp_path / "moved")
    back = Warehouse(tmp_path / "back", committer="off")
    assert back.merge(tmp_path / "moved").runs == 8
    pd.testing.assert_frame_equal(frame(back), frame(full))
    ids = list(frame(full)["run_id"])
    pd.testing.assert_frame_equal(*(w.metric_history(run_ids=ids) for w in (back, full)))
    assert registry(back) == registry(full)
    assert back.merge(tmp_path / "moved").rows["metrics"] == 0
    assert not sum(back.merge(full).rows.values())
    back.close()


def test_what_is_no_export_or_no_free_folder_is_refused(full, tmp_path):
    with pytest.raises(InvalidInputError, match="is there already"):
        full.export(tmp_path / "mlruns")
    folder = tmp_path / "export"
    full.export(folder)
    with pytest.raises(InvalidInputError, match="mlwarehouse merge"):
        full.import_(folder)
    marker = folder / "export.json"
    written = json.loads(marker.read_text())
    back = Warehouse(tmp_path / "back", committer="off")
    for change, said in (
        ({"format": 99}, "written by mlwarehouse"),
        ({"rows": {**written["rows"], "metrics": 99}}, "were written"),
        ({"rows": None}, "can't be read"),
    ):
        marker.write_text(json.dumps(written | change))
        with pytest.raises(InvalidInputError, match=said):
            back.merge(folder)
    marker.write_text(json.dumps(written))
    (folder / "metrics.parquet").write_bytes(b"no")
    with pytest.raises(InvalidInputError, match="can't be read"):
        back.merge(folder)
    with pytest.raises(WarehouseNotFoundError):
        back.engine()
    assert not list(tmp_path.glob(".*partial"))


def test_on_the_command_line(full, tmp_path):
    def called(*words: str) -> str:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == 0, result.output
        return result.stdout

    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert "metrics: 11 rows" in called("export", out, "-w", str(full.root))
    called("init", "-w", back)
    assert "would come" in called("merge", out, "-w", back, "--dry-run")
    report = json.loads(called("merge", out, "-w", back, "--json"))
    assert (report["runs"], report["rows"]["metrics"], report["oddities"]) == (8, 11, [])
