"""A small warehouse in real tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.tables import TABLES, TABLES_BY_NAME
from tests.views.rows import tables

CASES = Path(__file__).parent.parent / "cases"


def fill(engine: EmbeddedEngine, given: dict[str, list[dict[str, Any]]]) -> None:
    """Append sparse rows."""
    for name, rows in tables(given).items():
        engine.append(TABLES_BY_NAME[name], rows)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    """The warehouse of ``cases/search.yml``; nobody adds to it."""
    engine = EmbeddedEngine(tmp_path_factory.mktemp("search") / "tables")
    engine.create_tables(TABLES)
    fill(engine, yaml.safe_load((CASES / "search.yml").read_text(encoding="utf-8"))["warehouse"])
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an empty store of MLflow's; making its tables takes seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("mlflow")
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def mlflow_client(mlflow_database: str) -> Iterator[Any]:
    """MLflow's client, on that store while the module runs."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_tracking_uri(mlflow_database)
        yield mlflow.MlflowClient()
        mlflow.set_tracking_uri(None)


@pytest.fixture
def empty_engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(tmp_path / "tables")
    engine.create_tables(TABLES)
    yield engine
    engine.close()
