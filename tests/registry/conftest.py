from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pytest

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.registry import Registry
from mlwarehouse.tables import AUDIT, REGISTRY_EVENTS


@pytest.fixture
def engine(tmp_path: Path):
    engine = EmbeddedEngine(tmp_path / "tables")
    engine.create_tables([REGISTRY_EVENTS, AUDIT])
    yield engine
    engine.close()


@pytest.fixture
def registry(engine) -> Registry:
    seconds = itertools.count()
    start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    return Registry(engine, actor="ada", clock=lambda: start + dt.timedelta(seconds=next(seconds)))
