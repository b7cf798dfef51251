"""The part of a warehouse that shows it in Spark's catalog, and to JDBC clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.spark_thrift import ThriftServer

NAMESPACE = "mlwarehouse"


class Sparking(Base):
    """Tables and views in Spark's catalog."""

    def spark(
        self,
        *,
        master: str | None = None,
        remote: str | None = None,
        config: Mapping[str, str] | None = None,
        namespace: str = NAMESPACE,
    ) -> SparkSession:
        """A Spark session in which every table and view stands under its plain name.

        The warehouse is registered as by `register`, and its namespace is the session's current one. In a catalog that
        only this Spark has, it replaces another warehouse that the namespace showed.

        Args:
            master: A classic session's master; None means all cores of this machine.
            remote: A session of Spark Connect instead: ``sc://host:port``, or ``local[2]``.
            config: Further settings of Spark.
            namespace: As for `register`.

        Returns:
            The session that this process has, or a new one.

        Raises:
            MissingDependencyError: pyspark, Java or Delta's jars are missing; it says how to get them.
            InvalidInputError: The warehouse is in an object store, and it says what can be done instead; or both
                `master` and `remote` are given.
            ConflictError: As for `register`.
        """
        from mlwarehouse.engines.spark_catalog import is_shared
        from mlwarehouse.engines.spark_session import build_session

        self.tables_for_spark()
        session = build_session(master=master, remote=remote, config=config, settings=self.settings)
        self.register(session, namespace, replace=not is_shared(session))
        session.catalog.setCurrentDatabase(namespace)
        return session

    def register(self, spark: SparkSession, namespace: str = NAMESPACE, *, replace: bool = False) -> tuple[str, ...]:
        """Show every table and view in the catalog of a Spark session, under one namespace: ``mlwarehouse.runs``.

        All sessions of the catalog see them, can only read them, and see later commits too; what this machine has
        logged is committed first. Registering again changes nothing, and other warehouses may stand beside it under
        other namespaces. They say the same in every session, whatever its time zone.

        Args:
            spark: The session, classic or Connect; it must know Delta.
            namespace: The database of the session's catalog; it is made where there is none.
            replace: Whether a namespace that shows another warehouse shall show this one.

        Returns:
            The names of the tables and views.

        Raises:
            InvalidInputError: The warehouse is in an object store; or the namespace's name has other characters than
                letters, digits and underscores.
            ConflictError: The namespace shows another warehouse, or holds other things.
            StorageError: Spark refuses, such as where the session doesn't know Delta.
        """
        from mlwarehouse.engines import spark_catalog

        tables = self.tables_for_spark()
        self.flush()
        return spark_catalog.register(
            spark, tables, warehouse_id=self.warehouse_id, namespace=namespace, replace=replace
        )

    def unregister(self, spark: SparkSession, namespace: str = NAMESPACE) -> None:
        """Take what `register` has put into a catalog out again; the tables themselves stay as they are.

        Args:
            spark: A session of that catalog.
            namespace: The namespace; it stays, with whatever else is in it.

        Raises:
            NotFoundError: It isn't there, or shows no warehouse.
            StorageError: Spark refuses.
        """
        from mlwarehouse.engines import spark_catalog

        spark_catalog.unregister(spark, namespace=namespace)

    def thrift_server(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 10_000,
        namespace: str = NAMESPACE,
        spark: SparkSession | None = None,
    ) -> ThriftServer:
        """Start Spark's Thrift server, at which JDBC and ODBC clients for Hive ask SQL of tables and views.

        Whoever reaches the port can do what this process can, on its files too, unless settings ``hive.server2.…`` of
        the session ask for more. The tables and views themselves can only be read.

        Args:
            host: The address to listen on.
            port: The port; 0 means a free one.
            namespace: As for `register`.
            spark: A classic session; None starts one on this machine.

        Returns:
            The server; ``url`` is what clients connect to, ``stop()`` ends it. It ends with the session too.

        Raises:
            InvalidInputError: As for `register`; or the session is one of Spark Connect.
            ConflictError: As for `register`.
            MissingDependencyError: pyspark, Java, Delta's jars or Spark's Thrift server are missing.
            StorageError: It didn't start, such as where the port is taken.
        """
        from mlwarehouse.engines.spark_thrift import ThriftServer

        if spark is None:
            session = self.spark(namespace=namespace)
        else:
            session = spark
            self.register(session, namespace)
        return ThriftServer(session, namespace=namespace, host=host, port=port)
