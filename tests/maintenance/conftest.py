from __future__ import annotations

from pathlib import Path

import pytest

from mlwarehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path):
    """A warehouse that commits only when told to."""
    made = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    yield made
    made.close()


def log_runs(warehouse: Warehouse, n: int, *, steps: int = 10, experiment: str = "e", flush: bool = True) -> list[str]:
    """Log runs, each in a commit of its own; their ids."""
    ids = []
    for number in range(n):
        with warehouse.start_run(experiment=experiment, run_name=f"run-{number}") as run:
            for step in range(steps):
                run.log_metric("x", step / 4, step)
            run.log_param("p", number)
        ids.append(run.run_id)
        if flush:
            warehouse.flush()
    return ids


def facts(warehouse: Warehouse) -> dict[str, list[tuple]]:
    """What each table says, without its order."""
    from mlwarehouse.tables import TABLES

    return {
        t.name: sorted(
            tuple(map(str, r.values())) for r in warehouse.engine().query(f"SELECT * FROM {t.name}").to_pylist()
        )
        for t in TABLES
    }
