"""The main job, as `make demo` runs it: real sentences, real training, real Spark."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlwarehouse import Warehouse


@pytest.mark.spark
def test_the_demo_goes_the_whole_way(tmp_path):
    root = tmp_path / "demo-warehouse"
    done = subprocess.run(
        [sys.executable, "-m", "mlwarehouse", "demo", "--warehouse", str(root)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "SPARK_CONF_DIR"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "run 12/12" in done.stderr
    assert f"mlwarehouse dashboard --warehouse {root}" in done.stdout
    with_reader = Warehouse(root)
    board = with_reader.search_runs(order_by=["metrics.`val/accuracy`.max DESC"])
    assert len(board) == 12
    assert set(board.status) == {"FINISHED"}
    best = with_reader.get_model_version_by_alias("sentiment", "champion")
    assert best.run_id == board.run_id[0]
    answer = with_reader.sql(
        """
        SELECT count(*) AS n, count(DISTINCT p.row_key) AS n_keys,
               avg(CASE WHEN (p.value > 0.5) = (l.value > 0.5) THEN 1.0 ELSE 0.0 END) AS accuracy
        FROM predictions AS p JOIN labels AS l USING (dataset, row_key, output)
        WHERE p.model_name = 'sentiment' AND p.model_version = 1"""
    ).iloc[0]
    assert answer.n == answer.n_keys == 106_600
    # A coin gets 0.5; the best of published bags of words gets about 0.79 without words dropped.
    assert 0.65 < answer.accuracy < 0.85
    assert with_reader.doctor().problems == ()
    with_reader.close()
