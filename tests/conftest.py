"""What suites of several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlwarehouse.errors import MissingDependencyError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# On a slow day a test's run takes longer than the first look at the machine; its points would be more than it logged.
os.environ.setdefault("MLWAREHOUSE_SYSTEM_METRICS_S", "0")
os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "spark_conf"))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One Spark session for the whole run; without Java its tests are skipped, but never where `CI` is set."""
    from mlwarehouse.engines.spark_session import build_session

    try:
        session = build_session(master="local[2]", app_name="mlwarehouse-tests")
    except MissingDependencyError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield session
    session.stop()
