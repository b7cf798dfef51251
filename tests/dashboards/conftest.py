"""A small real warehouse, an adapter with what the dashboards ask for, and a served app with a browser."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.tables import TABLES, TABLES_BY_NAME

CHROMIUM = "/usr/bin/chromium"
FIRST_DAY = dt.datetime(2026, 8, 3, 8, 0, tzinfo=dt.UTC)
FAR_AWAY = dt.datetime(2126, 1, 1, tzinfo=dt.UTC)


class Builder:
    """Collects rows by table and appends them, a batch a table."""

    def __init__(self, engine: EmbeddedEngine, writer: str = "seed") -> None:
        self._engine = engine
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._writer = writer
        self._seq = 0

    def add(self, table: str, at: dt.datetime, **values: Any) -> None:
        self._seq += 1
        row = {c.name: values.pop(c.name, None) for c in TABLES_BY_NAME[table].columns}
        assert not values, values
        self._rows.setdefault(table, []).append(
            row | {"event_at": at, "recorded_at": at, "writer_id": self._writer, "writer_seq": self._seq}
        )

    def experiment(self, experiment_id: str, name: str, at: dt.datetime = FIRST_DAY) -> None:
        self.add("experiment_events", at, experiment_id=experiment_id, kind="created", name=name)

    def run(
        self,
        run_id: str,
        experiment_id: str,
        name: str,
        at: dt.datetime = FIRST_DAY,
        *,
        status: str = "FINISHED",
        user: str = "ana",
        minutes: float = 30.0,
        heartbeat_due_at: dt.datetime | None = None,
        params: dict[str, str] | None = None,
        metrics: dict[str, list[float]] | None = None,
        tags: dict[str, str] | None = None,
        context: dict[str, str] | None = None,
    ) -> None:
        self.add(
            "run_events", at, run_id=run_id, kind="started", attempt=0, experiment_id=experiment_id, name=name,
            status="RUNNING", actor=user, heartbeat_due_at=heartbeat_due_at,
        )  # fmt: skip
        for key, text in (params or {}).items():
            try:
                value_number: float | None = float(text)
            except ValueError:
                value_number = None
            self.add("param_events", at, run_id=run_id, key=key, value=text, value_number=value_number, attempt=0)
        for key, text in (tags or {}).items():
            self.add("tag_events", at, run_id=run_id, key=key, value=text, attempt=0)
        packed = json.dumps(context, sort_keys=True) if context else None
        for key, values in (metrics or {}).items():
            for step, value in enumerate(values):
                moment = at + dt.timedelta(minutes=minutes * (step + 1) / len(values))
                self.add(
                    "metrics", moment, run_id=run_id, key=key, step=step, value=value, context=packed, attempt=0
                )  # fmt: skip
        if status != "RUNNING":
            end = at + dt.timedelta(minutes=minutes)
            self.add("run_events", end, run_id=run_id, kind="ended", attempt=0, status=status, actor=user)

    def write(self) -> None:
        for table, rows in self._rows.items():
            spec = TABLES_BY_NAME[table]
            self._engine.append(spec, pa.Table.from_pylist(rows, schema=spec.arrow_schema()))
        self._rows.clear()


class SmallWarehouse:
    """What the dashboards ask of a warehouse, straight over the engine; counts what it was asked."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.asked: list[str] = []

    def sql(self, text: str, *, parameters: Any = None) -> Any:
        self.asked.append(text)
        return self.engine.query(text, parameters=parameters).to_pandas()

    def search_runs(self, **question: Any) -> Any:
        from mlwarehouse import query

        self.asked.append("search_runs")
        return query.search_runs(self.engine, Reading(), **question)

    def metric_history(self, run_ids: Any, keys: Any) -> Any:
        from mlwarehouse import query

        self.asked.append("metric_history")
        return query.metric_history(self.engine, Reading(), run_ids=run_ids, keys=keys)

    def versions(self) -> dict[str, int]:
        return {spec.name: self.engine.version(spec) for spec in TABLES}


def fill_project(builder: Builder, n_runs: int = 72) -> None:
    """Two experiments over eleven weeks that get better, with failures, a lost run and two active ones."""
    chance = random.Random(7)
    builder.experiment("e1", "sentiment")
    builder.experiment("e2", "reranker")
    for i in range(n_runs):
        experiment = "e1" if i % 3 else "e2"
        at = FIRST_DAY + dt.timedelta(days=i * 77 / n_runs, hours=chance.random() * 9)
        lr = chance.choice(["0.0003", "0.001", "0.003"])
        dim = chance.choice(["64", "128", "256"])
        floor = 0.62 * math.exp(-i / 45) + 0.16 + abs(chance.gauss(0, 0.07)) + (0.05 if experiment == "e2" else 0)
        losses = [floor + 0.9 * math.exp(-s / 7) + chance.gauss(0, 0.008) for s in range(30)]
        accuracies = [max(0.0, 1 - 0.7 * loss) for loss in losses]
        status, due = chance.choices(["FINISHED", "FAILED", "KILLED"], [88, 9, 3])[0], None
        if i >= n_runs - 3:
            status, due = "RUNNING", FAR_AWAY if i > n_runs - 3 else at + dt.timedelta(minutes=1)
        if status == "FAILED":
            losses, accuracies = losses[:6], accuracies[:6]
        builder.run(
            f"{i:032x}",
            experiment,
            f"{chance.choice(['bag', 'gru', 'cnn'])}-{dim}-{i:03d}",
            at,
            status=status,
            heartbeat_due_at=due,
            user=chance.choice(["ana", "ben", "chen"]),
            minutes=20 + chance.random() * 100,
            params={
                "lr": lr,
                "dim": dim,
                "optimizer": chance.choice(["adam", "sgd"]),
                "seed": str(i % 5),
                "epochs": "30",
            },
            metrics={"train/loss": [v * 0.9 for v in losses], "val/loss": losses, "val/accuracy": accuracies},
            tags={"team": chance.choice(["nlp", "search"])},
        )
    builder.write()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(tmp_path / "tables")
    made.create_tables(TABLES)
    yield made
    made.close()


@pytest.fixture
def warehouse(engine: EmbeddedEngine) -> SmallWarehouse:
    return SmallWarehouse(engine)


@pytest.fixture
def builder(engine: EmbeddedEngine) -> Builder:
    return Builder(engine)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWarehouse]:
    """A filled warehouse that the tests of a module read together."""
    made = EmbeddedEngine(tmp_path_factory.mktemp("project") / "tables")
    made.create_tables(TABLES)
    fill_project(Builder(made))
    yield SmallWarehouse(made)
    made.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; without Chromium the test is skipped, except where CI says that it must be there."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing and CI is set: the browser tests must run here.")
        pytest.skip(f"{CHROMIUM} is missing.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves the dashboards over a warehouse on a loopback port until the test ends."""
    from werkzeug.serving import make_server

    from mlwarehouse.dashboards.app import create_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    servers = []

    def start(served: Any, **options: Any) -> str:
        server = make_server("127.0.0.1", 0, create_app(served, **options).server, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
