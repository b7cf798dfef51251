"""A registry of a model for each device: registered in bulk, looked up, listed, promoted.

MLflow's registry in SQLite is asked at a smaller size: registering a million models takes it hours. Its figures say
what its API costs before size comes in.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.stores import store

VERSIONS = 3
"""Versions of each model; the alias is the last one's."""

MODELS_AT_ONCE = 250_000
PAGE = 100
Work = Callable[[Any, str], tuple[str, int]]
"""Asks a registry about the model of a name; returns a name and the newest version's number."""

ASKED = 15
"""Models that are asked for, one after the other; the first questions load libraries."""


def _versions(begin: int, end: int) -> Any:
    """Versions of some models, as a table."""
    import numpy as np
    import pyarrow as pa

    model = np.repeat(np.arange(begin, end), VERSIONS)
    number = np.tile(np.arange(1, VERSIONS + 1), end - begin)
    names = pa.array([_name(n) for n in range(begin, end)]).take(pa.array(model - begin))
    runs = pa.array([f"{n:032x}" for n in range(1000)]).take(pa.array((model * VERSIONS + number) % 1000))
    champion = pa.array(["champion"]).take(pa.array(np.zeros(len(model), np.int64), mask=number != VERSIONS))
    return pa.table({"name": names, "source": runs, "run_id": runs, "alias": champion})


def _name(n: int) -> str:
    return f"device-{n:07d}"


def _make(folder: Path, *, n_models: int) -> float:
    """Register so many models; returns how long it took in seconds."""
    from mlwarehouse.warehouse import Warehouse

    warehouse = Warehouse(folder, committer="off", maintenance="off")
    warehouse.create()
    took = 0.0
    for begin in range(0, n_models, MODELS_AT_ONCE):
        table = _versions(begin, min(n_models, begin + MODELS_AT_ONCE))
        started = time.perf_counter()
        warehouse.registry.bulk_register(table, source_id=f"bench-{begin}")
        took += time.perf_counter() - started
    warehouse.close()
    return took


def bulk(place: Path, n: int) -> Measured:
    """`Registry.bulk_register`, a quarter of a million models a commit."""
    took = _make(place / "wh", n_models=n // VERSIONS)
    from mlwarehouse.warehouse import Warehouse

    warehouse = Warehouse(place / "wh")
    found = warehouse.sql("SELECT count(*) FROM registry_events WHERE kind = 'version_created'", output_format="arrow")
    log = sum(p.stat().st_size for p in (place / "wh" / "tables" / "registry_events" / "_delta_log").iterdir())
    data = sum(p.stat().st_size for p in (place / "wh" / "tables" / "registry_events").glob("*.parquet"))
    warehouse.close()
    (answer,) = found.column(0).to_pylist()
    return Measured(n / took, answer, extra={"bytes a version": data / n, "log kB": log / 1000})


def mlflow_bulk(place: Path, n: int) -> Measured:
    """`MlflowClient.create_model_version`, one after the other."""
    client = _mlflow(place)
    started = time.perf_counter()
    _fill_mlflow(client, n // VERSIONS)
    took = time.perf_counter() - started
    return Measured(n / took, VERSIONS * len(client.search_registered_models(max_results=1000)))


def ours(place: Path, n: int, *, work: Work) -> Measured:
    """A question about one model of many, asked of a warehouse of its own."""
    from mlwarehouse.warehouse import Warehouse

    shutil.copytree(store(f"models-{n}", place, partial(_make, n_models=n)), place / "wh")
    warehouse = Warehouse(place / "wh", committer="off", maintenance="off")
    measured = Measured(*_timed(partial(work, warehouse.registry), n))
    warehouse.close()
    started = time.perf_counter()
    Warehouse(place / "wh").engine().version(_table())
    return replace(measured, extra={"opening the table ms": 1000 * (time.perf_counter() - started)})


def theirs(place: Path, n: int, *, work: Work) -> Measured:
    """The same question asked of MLflow."""
    client = _mlflow(place)
    _fill_mlflow(client, n)
    return Measured(*_timed(partial(work, client), n))


def _table() -> Any:
    from mlwarehouse.tables import REGISTRY_EVENTS

    return REGISTRY_EVENTS


def _timed(work: Callable[[str], Any], n: int) -> tuple[float, Any]:
    """The median milliseconds of some questions behind the first few, and whether all answers were right."""
    took, answers = [], []
    for i in range(ASKED):
        name = _name((i + 1) * n // (ASKED + 2))
        started = time.perf_counter()
        answers.append(work(name) == (name, VERSIONS))
        took.append(1000 * (time.perf_counter() - started))
    return statistics.median(took[3:]), all(answers)


def _mlflow(place: Path) -> Any:
    import mlflow

    return mlflow.MlflowClient(registry_uri=f"sqlite:///{place}/mlflow.db", tracking_uri=f"sqlite:///{place}/mlflow.db")


def _fill_mlflow(client: Any, n_models: int) -> None:
    for n in range(n_models):
        client.create_registered_model(_name(n))
        for _ in range(VERSIONS):
            client.create_model_version(_name(n), source=f"/models/{n}")
        client.set_registered_model_alias(_name(n), "champion", str(VERSIONS))


def _by_alias(registry: Any, name: str) -> tuple[str, int]:
    found = registry.get_model_version_by_alias(name, "champion")
    return found.name, int(found.version)


def _page(registry: Any, name: str) -> tuple[str, int]:
    from mlwarehouse.registry import Search

    search = Search(on_names="model_name >= $name", parameters={"name": name})
    page = registry.search_registered_models(search, max_results=PAGE)
    return page[0].name, int(page[0].aliases["champion"])


def _mlflow_page(client: Any, name: str) -> tuple[str, int]:
    page = client.search_registered_models(f"name ILIKE '{name[:-2]}%'", max_results=PAGE)
    found = next(m for m in page if m.name == name)
    return found.name, int(found.aliases["champion"])


def _searched(registry: Any, name: str) -> tuple[str, int]:
    registry.set_model_version_tag(name, VERSIONS, "checked", name)
    from mlwarehouse.query.registered import registered_question
    from mlwarehouse.registry import Search

    found = Search(**vars(registered_question("versions", f"tags.checked = '{name}'")))
    page = registry.search_model_versions(found, max_results=PAGE)
    return page[0].name, page[0].version


def _mlflow_searched(client: Any, name: str) -> tuple[str, int]:
    client.set_model_version_tag(name, str(VERSIONS), "checked", name)
    page = client.search_model_versions(f"tags.checked = '{name}'", max_results=PAGE)
    return page[0].name, int(page[0].version)


def _promote(registry: Any, name: str) -> tuple[str, int]:
    moved = registry.transition_model_version_stage(name, VERSIONS, "Production", archive_existing_versions=True)
    return moved.name, int(moved.version)


def _mlflow_promote(client: Any, name: str) -> tuple[str, int]:
    moved = client.transition_model_version_stage(name, str(VERSIONS), "Production", archive_existing_versions=True)
    return moved.name, int(moved.version)


def _question(name: str, what: str, our_work: Work, their_work: Work, bar_ms: float) -> Benchmark:
    return Benchmark(
        name=name,
        what=f"1 M registered models of {VERSIONS} versions: {what}",
        unit="ms",
        is_better_low=True,
        us=Side("mlwarehouse registry", partial(ours, work=our_work), 1_000_000),
        others=(Side("MLflow registry, SQLite, 500 models", partial(theirs, work=their_work), 500),),
        bar=Bar(f"≤ {bar_ms:g} ms", lambda value, _: value <= bar_ms),
        expected=lambda _: True,
    )


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        name="models-bulk",
        what=f"versions of registered models, {VERSIONS} a model, in bulk",
        unit="versions/s",
        is_better_low=False,
        us=Side("mlwarehouse `bulk_register`", bulk, 3_000_000),
        others=(Side("MLflow `create_model_version`, SQLite", mlflow_bulk, 900),),
        bar=Bar("≥ 50,000 versions/s", lambda value, _: value >= 50_000),
        expected=lambda n: n // VERSIONS * VERSIONS,
    ),
    _question("models-alias", "the version that a model's alias points at", _by_alias, _by_alias, 30),
    _question("models-page", f"a page of {PAGE} models by name", _page, _mlflow_page, 300),
    _question("models-search", "a tag set, and versions searched by it", _searched, _mlflow_searched, 500),
    _question("models-promote", "a version moved to Production, others archived", _promote, _mlflow_promote, 150),
)
