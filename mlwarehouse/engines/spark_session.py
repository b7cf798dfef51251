"""Starting a Spark session that reads and writes Delta tables, on this machine or through Spark Connect.

Everything here and in `spark` uses the DataFrame API only, so a classic session and a Connect session serve alike.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.config import Settings
from mlwarehouse.engines.spark_jars import resolve_jars
from mlwarehouse.engines.spark_java import require_java
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DELTA_CONFIG: Mapping[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
"""What makes a session understand Delta tables."""

SESSION_CONFIG: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
"""What a session on somebody else's server is told."""

LOCAL_CONFIG: Mapping[str, str] = {
    # A laptop's tables make few and small partitions; the defaults are those of a cluster.
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # A local session is nobody else's: no port on the network, no dependence on how the host's name resolves.
    "spark.driver.host": "localhost",
    "spark.driver.bindAddress": "127.0.0.1",
}
"""What a session on this machine gets besides."""


def build_session(
    *,
    master: str | None = None,
    remote: str | None = None,
    app_name: str = "mlwarehouse",
    config: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> SparkSession:
    """Start a Spark session with Delta, or return the one that this process has.

    Args:
        master: A classic session's master; ``local[*]`` when neither it nor `remote` is given.
        remote: A Connect session instead: ``local[2]`` starts a server in this process's care, ``sc://host:port``
            goes to one that runs and has Delta.
        app_name: The application's name.
        config: Settings of Spark; they win over ours.
        settings: The settings in force; read from the environment when not given.

    Returns:
        The session; its time zone is UTC unless `config` says otherwise.

    Raises:
        InvalidInputError: Both `master` and `remote` are given.
        MissingDependencyError: pyspark, delta-spark, Java or Delta's jars are missing; the message says how to get
            them.
        StorageError: Spark didn't start, or this process has a session without Delta.
    """
    if master and remote:
        raise InvalidInputError("Either `master` or `remote` can be given; the call gives both.")
    try:
        from pyspark.errors import PySparkException
        from pyspark.logger import PySparkLogger
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise MissingDependencyError(
            f"Spark needs the Python package `pyspark`; install `mlwarehouse[spark]` ({error})."
        ) from error
    where = remote or master or "local[*]"
    is_here = where.startswith("local")
    options = dict(SESSION_CONFIG)
    if not where.startswith("sc://"):
        require_java()
        jars = [str(jar) for jar in resolve_jars(settings)]
        # On the class path too: a connection of the Thrift server looks for Delta there only.
        options |= {**DELTA_CONFIG, "spark.jars": ",".join(jars), "spark.driver.extraClassPath": os.pathsep.join(jars)}
        log4j = Path(__file__).with_name("spark_log4j2.properties").as_uri()
        options["spark.driver.extraJavaOptions"] = f"-Dlog4j2.configurationFile={log4j}"
        _use_this_python(only=is_here)
    if is_here:
        options |= LOCAL_CONFIG
    options |= config or {}
    builder = SparkSession.builder.appName(app_name)
    builder = builder.remote(remote) if remote else builder.master(where)
    for key, value in options.items():
        builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():
            if remote and is_here:
                # pyspark hands the server's settings to the server, and then in vain to the session too.
                warnings.filterwarnings("ignore", message="Failed to set spark", category=UserWarning)
            session = builder.getOrCreate()
        extensions = session.conf.get("spark.sql.extensions", "") or ""
        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            # pyspark prints each failure with its Java trace besides raising it.
            PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)
    except (PySparkException, RuntimeError, OSError) as error:
        raise StorageError(f"Spark didn't start on `{where}`: {str(error).strip().splitlines()[0]}") from error
    if "delta" not in extensions.lower():
        raise StorageError(
            f"The Spark session on `{where}` doesn't know Delta tables; stop the session that this process has, or "
            "start the server with Delta's extension and jars."
        )
    return session


@contextmanager
def settings_of(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Have settings of a session so for a while, and then as they were."""
    before = {name: spark.conf.get(name, None) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, old in before.items():
            if old is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, old)


def _use_this_python(*, only: bool) -> None:
    """Workers take the system's Python unless told; on this machine they must run the interpreter that runs us."""
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        if only or name not in os.environ:
            os.environ[name] = sys.executable
