"""Asking reports over rows that come as a reading's overlay, on each engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.parts.base import moment
from mlwarehouse.query.reports import report
from mlwarehouse.tables import TABLES
from tests.views.rows import NOON, tables

Rows = list[dict[str, Any]]
AskReport = Callable[..., Rows]

LATER = NOON + dt.timedelta(days=40)


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "tables"
    EmbeddedEngine(folder).create_tables(TABLES)
    return folder


@pytest.fixture(scope="module", params=["embedded", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest, empty_tables: Path) -> Engine:
    if request.param == "spark":
        return SparkEngine(request.getfixturevalue("spark"), empty_tables)
    return EmbeddedEngine(empty_tables)


def asking(engine: Engine, answering: Engine | None = None) -> AskReport:
    """A function that answers a report over rows."""

    def ask(name: str, rows: Mapping[str, Iterable[Mapping[str, Any]]], **parameters: Any) -> Rows:
        reading = Reading(overlay=tables(rows))
        found = report(
            engine,
            reading,
            name,
            parameters,
            now=LATER,
            read_time=moment,
            output_format="arrow",
            answering=answering,
        )
        result: Rows = found.to_pylist()
        return result

    return ask


@pytest.fixture(scope="session")
def embedded(empty_tables: Path) -> AskReport:
    """Asks the embedded engine."""
    return asking(EmbeddedEngine(empty_tables))


@pytest.fixture
def ask(engine: Engine, empty_tables: Path) -> AskReport:
    """Asks each engine in turn."""
    return asking(EmbeddedEngine(empty_tables), engine)


def assert_same(found: Rows, expected: Rows, keys: tuple[str, ...]) -> None:
    """The rows are equal, floats but for rounding; NaN is a value like others."""

    def order(row: dict[str, Any]) -> str:
        return repr([row[k] for k in keys])

    assert [[r[k] for k in keys] for r in sorted(found, key=order)] == [
        [r[k] for k in keys] for r in sorted(expected, key=order)
    ]
    for got, wanted in zip(sorted(found, key=order), sorted(expected, key=order), strict=True):
        assert list(got) == list(wanted)
        assert got == {
            k: pytest.approx(v, rel=1e-9, abs=1e-9, nan_ok=True) if isinstance(v, float) else v
            for k, v in wanted.items()
        }
