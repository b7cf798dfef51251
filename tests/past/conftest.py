from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlwarehouse import Warehouse


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], Warehouse]]:
    """Machines that share a warehouse, each with a spool of its own; they commit only when told to."""
    made: dict[str, Warehouse] = {}

    def named(name: str) -> Warehouse:
        if name not in made:
            made[name] = Warehouse(
                tmp_path / "wh", spool_dir=str(tmp_path / f"spool-{name}"), committer="off", capture_code=False
            )
            made[name].create()
        return made[name]

    yield named
    for warehouse in made.values():
        warehouse.close()


def log_run(warehouse: Warehouse, name: str, *, loss: float = 1.0, experiment: str = "e", flush: bool = True) -> str:
    """Log a small run; its id."""
    with warehouse.start_run(experiment=experiment, run_name=name) as run:
        run.log_metrics({"loss": loss, "steps": 1.0}, step=1)
        run.log_param("name", name)
        run.log_text(name, "name.txt")
    if flush:
        warehouse.flush()
    return run.run_id
