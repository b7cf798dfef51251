"""Both engines on empty tables; a test's rows come as the reading's overlay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.tables import TABLES

Ask = Callable[[str, Mapping[str, pa.Table]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "tables"
    EmbeddedEngine(folder).create_tables(TABLES)
    return folder


@pytest.fixture(params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def ask(request: pytest.FixtureRequest, empty_tables: Path) -> Ask:
    """Answers a question over rows, on each engine."""
    engine: Engine
    if request.param == "spark":
        engine = SparkEngine(request.getfixturevalue("spark"), empty_tables)
    else:
        engine = EmbeddedEngine(empty_tables)

    def answer(sql: str, rows: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = engine.query(sql, reading=Reading(overlay=rows)).to_pylist()
        return result

    return answer
