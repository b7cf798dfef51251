"""The engines under contract, and a table that has every type."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlwarehouse.engines.base import Appended, Engine, Reading, Txn
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.spark import SparkEngine
from mlwarehouse.tables import TABLES_BY_NAME, Column, TableSpec

NOON = dt.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(microseconds=1)

PROBE = TableSpec(
    name="probe",
    grain="One row of a test.",
    columns=(
        Column("name", "string", "Text.", nullable=False),
        Column("note", "string", "Text, or null."),
        Column("long_value", "long", "A whole number."),
        Column("integer_value", "integer", "A small whole number."),
        Column("double_value", "double", "A fraction."),
        Column("is_good", "boolean", "Yes or no."),
        Column("seen_at", "timestamp", "A moment."),
    ),
    sort_by=("name",),
)


def names(table: pa.Table) -> list[str]:
    """The column `name`."""
    return table.column("name").to_pylist()


def count(engine: Engine, **reading: Any) -> int:
    """How many rows `PROBE` has."""
    return engine.query("SELECT count(*) AS n FROM probe", reading=Reading(**reading)).column("n").to_pylist()[0]


@dataclass
class Subject:
    """One kind of engine, on one folder.

    Attributes:
        engine: The engine under test.
        another: Makes a second engine of the kind on the same folder.
        native: Turns an Arrow table into the engine's own frame.
        folder: The tables' folder.
    """

    engine: Engine
    another: Callable[[], Engine]
    native: Callable[[pa.Table], Any]
    folder: Path

    def append(self, rows: pa.Table, *txns: Txn, spec: TableSpec = PROBE) -> Appended:
        """Append rows in the engine's own form."""
        return self.engine.append(spec, self.native(rows), txns=txns)

    def files(self, spec: TableSpec = PROBE) -> set[str]:
        """The names of the Parquet files in the table's folder, committed or not."""
        return {path.name for path in (self.folder / spec.name).glob("*.parquet")}


def _embedded(folder: Path, request: pytest.FixtureRequest) -> Subject:
    return Subject(EmbeddedEngine(folder), lambda: EmbeddedEngine(folder), lambda rows: rows, folder)


def _spark(folder: Path, request: pytest.FixtureRequest) -> Subject:
    session = request.getfixturevalue("spark")
    return Subject(SparkEngine(session, folder), lambda: SparkEngine(session, folder), session.createDataFrame, folder)


ENGINES: dict[str, Callable[[Path, pytest.FixtureRequest], Subject]] = {"embedded": _embedded, "spark": _spark}
"""Every engine; a new one is one more entry, and everything in this folder applies to it."""

MARKS = {"spark": [pytest.mark.spark]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `subject` once for each engine."""
    if "subject" in metafunc.fixturenames:
        names = [pytest.param(name, marks=MARKS.get(name, [])) for name in ENGINES]
        metafunc.parametrize("subject", names, indirect=True)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> TableSpec:
    """The table with every type, known to SQL for one test."""
    monkeypatch.setitem(TABLES_BY_NAME, PROBE.name, PROBE)
    return PROBE


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path, probe: TableSpec) -> Subject:
    """An engine on a folder with an empty `probe` table."""
    made = ENGINES[request.param](tmp_path / "my warehouse" / "tables", request)
    made.engine.create_tables([probe])
    return made


@pytest.fixture
def rows() -> Callable[..., pa.Table]:
    """Makes rows of the probe table: ``rows(3)``, or ``rows(2, double_value=[nan, inf])``."""

    def make(n: int = 1, *, recorded_at: dt.datetime = NOON, **columns: Any) -> pa.Table:
        values = {
            "name": [f"row {i}" for i in range(n)],
            "event_at": [NOON] * n,
            "recorded_at": [recorded_at] * n,
            "writer_id": ["w"] * n,
            "writer_seq": list(range(n)),
            **columns,
        }
        schema = PROBE.arrow_schema()
        arrays = {
            name: value if isinstance(value, pa.Array) else pa.array(value, schema.field(name).type)
            for name, value in values.items()
        }
        return pa.table(arrays)

    return make


@pytest.fixture
def at_once() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Runs calls in threads that start together, and gives their results."""

    def run(calls: list[Callable[[], Any]]) -> list[Any]:
        gate = threading.Barrier(len(calls))
        results: list[Any] = [None] * len(calls)

        def one(number: int) -> None:
            gate.wait()
            results[number] = calls[number]()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run
