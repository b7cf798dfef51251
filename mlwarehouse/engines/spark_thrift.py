"""Spark's Thrift server over a session: what speaks JDBC or ODBC for Hive reads the session's catalog.

It is Spark's own `HiveThriftServer2`, started within the session's Java process. Each connection gets a session of its
own with the same catalog, so it sees what `spark_catalog.register` has put there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.engines.spark_session import settings_of
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, StorageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SERVER = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"

_NEEDED = {
    _SERVER: "This Spark has no Thrift server; install `mlwarehouse[spark]`, whose pyspark brings it, or add the "
    "jar `spark-hive-thriftserver`.",
    "org.apache.spark.sql.delta.catalog.DeltaCatalog": "Spark's Thrift server needs Delta's jars on the class path of "
    "the session's driver, where `spark()` puts them; start a session of your own with them in "
    "`spark.driver.extraClassPath`.",
}
"""Classes that the server needs, and what to say where one is missing."""


class ThriftServer:
    """A Thrift server that runs until it is stopped, or its session is.

    Attributes:
        host: The address that it listens on.
        port: The port.
        url: What a JDBC client connects to.
    """

    def __init__(self, spark: SparkSession, *, namespace: str, host: str, port: int) -> None:
        """Start it.

        Args:
            spark: A classic session; its settings ``hive.server2.…`` are the server's.
            namespace: The namespace that `url` names, which connections begin in.
            host: The address to listen on.
            port: The port; 0 means a free one.

        Raises:
            InvalidInputError: The session is one of Spark Connect, whose server is elsewhere.
            MissingDependencyError: Spark was installed without its Thrift server.
            StorageError: It didn't start, such as where the port is taken.
        """
        jvm = getattr(spark, "_jvm", None)
        if jvm is None:
            raise InvalidInputError(
                "A Thrift server runs within a classic session, and this is one of Spark Connect; start it where that "
                "session's server runs."
            )
        # A connection looks for classes on the class path of the Java process, and not among the session's jars.
        for name, words in _NEEDED.items():
            if not jvm.java.lang.ClassLoader.getSystemResource(f"{name.replace('.', '/')}.class"):
                raise MissingDependencyError(words)
        settings = {"hive.server2.thrift.bind.host": host, "hive.server2.thrift.port": str(port)}
        try:
            with settings_of(spark, settings), ThreadPoolExecutor(1) as pool:
                # Hive keeps the settings of a thread's first server for its next one; this thread has had none.
                self._server = pool.submit(_start, jvm, spark).result()
            services = {service.getName(): service for service in self._server.getServices()}
            port = services["ThriftBinaryCLIService"].getPortNumber()
        except spark_failures() as error:
            raise StorageError(f"Spark's Thrift server didn't start on {host}:{port}: {reason(error)}") from error
        self.host = host
        self.port = int(port)
        self.url = f"jdbc:hive2://{host}:{self.port}/{namespace}"

    def stop(self) -> None:
        """End it and its connections; the session stays."""
        self._server.stop()

    def __enter__(self) -> ThriftServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _start(jvm: Any, spark: SparkSession) -> Any:
    return getattr(jvm, _SERVER).startWithSparkSession(spark._jsparkSession, False)
