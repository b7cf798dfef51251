"""Kept folds made by Spark: the same rows as without it, from files that its workers read themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlwarehouse.engines import spark_folding
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded_fold_parts import fold_here
from mlwarehouse.engines.embedded_states import derived_folder, kept_files, refresh
from mlwarehouse.engines.spark_folding import folding
from mlwarehouse.errors import StorageError
from mlwarehouse.tables.states import STATES
from tests.spark.conftest import made_of_runs

pytestmark = pytest.mark.spark


def test_spark_makes_the_folds_that_are_made_without_it(spark, tmp_path, monkeypatch):
    warehouse = made_of_runs(tmp_path / "a b" / "wh", 2)
    tables = warehouse.engine().tables
    asked = []

    def spied(jobs):
        asked.append((jobs, fold_here(jobs)))
        return asked[-1][1]

    refresh(tables, least_rows=1, fold=spied)
    frame = warehouse.search_runs(search_all_experiments=True)
    jobs = [job for some, _ in asked for job in some]
    assert {job.view for job in jobs} == {spec.view for spec in STATES}
    # All at once, each in a task of its own, as the parts of one large fold are.
    here = [Path(job.folder) / part.path for some, made in asked for job, part in zip(some, made, strict=True)]
    there = [Path(job.folder) / part.path for job, part in zip(jobs, folding(spark)(jobs), strict=True)]
    assert not set(here) & set(there)
    for one, other in zip(here, there, strict=True):
        assert pq.read_table(one).equals(pq.read_table(other))

    # Taken up again where the other has left it, and by `maintain`.
    with warehouse.start_run(experiment="e0", run_name="late") as run:
        run.log_params({"lr": 7})
        run.log_metric("loss", 0.25, step=3)
    warehouse.flush()
    before = kept_files(tables)
    by_spark = []

    def told(jobs):
        by_spark.extend(job.view for job in jobs)
        return folding(spark)(jobs)

    monkeypatch.setattr(spark_folding, "folding", lambda session: told)
    warehouse.maintain(engine=spark)
    assert set(by_spark) == {spec.view for spec in STATES}
    assert all(set(files) != set(before[view]) for view, files in kept_files(tables).items())
    assert warehouse.engine().keeps_rows(warehouse.engine().with_kept(Reading()))
    found = warehouse.search_runs(search_all_experiments=True)
    assert found.set_index("run_id").loc[frame.run_id, frame.columns[1:]].equals(frame.set_index("run_id"))
    assert found.iloc[0][["metrics.loss", "params.lr"]].tolist() == [0.25, "7"]

    # What can't be read ends it, and what is kept stays.
    kept = kept_files(tables)
    lost = replace(jobs[0], sources=(str(tmp_path / "gone.parquet"),))
    with pytest.raises(StorageError, match=r"On a Spark worker the fold of `runs` couldn't be written.*gone\.parquet"):
        folding(spark)([*jobs[1:], lost])
    assert kept_files(tables) == kept
    assert derived_folder(tables).is_dir()
    warehouse.close()
