"""A warehouse in Spark's catalog: one namespace with a view for each of its tables and views.

Whoever shares the catalog sees them: other sessions of the same Spark, clients of a Thrift server, and with a Hive
metastore everybody. The tables are views too, so the namespace can only be read: what Spark commits by itself to a
Delta table on a local disk may overwrite another writer's commit. And a view has what a Delta table of an older release
lacks: columns of a later schema, and the text of each column.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.parse import is_bound, view_tree
from mlwarehouse.engines.render import render
from mlwarehouse.engines.spark import declared
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.engines.spark_session import settings_of
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError
from mlwarehouse.tables import TABLES
from mlwarehouse.tables.views import all_views

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMESPACE = "mlwarehouse"
"""The namespace unless another one is named."""

MEANING: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
}
"""Settings that views are made under and keep, so that they say the same in every session, whatever it is set to."""

_SHOWS = "mlwarehouse.shows"
_VIEWS = "mlwarehouse.views"


def register(
    spark: SparkSession,
    tables_folder: Path,
    *,
    warehouse_id: str,
    namespace: str = NAMESPACE,
    replace: bool = False,
) -> tuple[str, ...]:
    """Make every table and view of a warehouse a view in a namespace of the session's catalog.

    They are read anew by each query, so later commits are seen. Doing it again changes nothing.

    Args:
        spark: A session that knows Delta, classic or Connect.
        tables_folder: The warehouse's ``tables`` folder.
        warehouse_id: The warehouse's id.
        namespace: The database of the session's catalog; it is made where there is none.
        replace: Whether a namespace that shows another warehouse shall show this one.

    Returns:
        The names in the namespace.

    Raises:
        InvalidInputError: The namespace's name has other characters than letters, digits and underscores.
        ConflictError: The namespace shows another warehouse, or holds what isn't of a warehouse.
        StorageError: A table isn't there, or Spark refuses.
        UnsupportedTableError: A table has features that this release must not read.
    """
    _check_name(namespace)
    views = _definitions(tables_folder, namespace)
    shown = f"{warehouse_id} at {tables_folder}"
    shows, digest = _digest(shown), _digest(*views.values())
    try:
        there = _properties(spark, namespace)
        names = _names(spark, namespace) if there is not None else frozenset()
        if there is None:
            spark.sql(f"CREATE DATABASE `{namespace}` COMMENT {_text(_title(shown))}")
        elif there.get(_SHOWS, "") == "" and names:
            raise ConflictError(
                f"The namespace `{namespace}` holds other things, such as `{min(names)}`; register the warehouse under "
                "a name of its own, by `namespace=`."
            )
        elif there.get(_SHOWS, "") not in ("", shows) and not replace:
            raise ConflictError(
                f"The namespace `{namespace}` shows another warehouse ({_comment(spark, namespace)}); choose another "
                "by `namespace=`, or have it replaced by `replace=True`."
            )
        elif there.get(_VIEWS) == digest and views.keys() <= names:
            return tuple(views)
        # Marked before the views are made and after it: one that was broken off is known to be ours, and not whole.
        _mark(spark, namespace, shows, "")
        spark.sql(f"COMMENT ON DATABASE `{namespace}` IS {_text(_title(shown))}")
        with settings_of(spark, MEANING):
            for text in views.values():
                spark.sql(text)
        _mark(spark, namespace, shows, digest)
    except spark_failures() as error:
        raise StorageError(f"The warehouse can't be registered as `{namespace}` in Spark: {reason(error)}") from error
    return tuple(views)


def unregister(spark: SparkSession, *, namespace: str = NAMESPACE) -> None:
    """Take a warehouse's views out of the catalog. Whatever else is in the namespace stays, and so does it, empty.

    Dropping it would delete its folder, which catalogs in memory share with those of other processes.

    Args:
        spark: A session of that catalog.
        namespace: The namespace.

    Raises:
        NotFoundError: It isn't there, or shows no warehouse.
        StorageError: Spark refuses.
    """
    _check_name(namespace)
    try:
        if not (_properties(spark, namespace) or {}).get(_SHOWS):
            raise NotFoundError(f"There is no namespace `{namespace}` in Spark's catalog that shows a warehouse.")
        for name in (*(t.name for t in TABLES), *(v.name for v in all_views())):
            spark.sql(f"DROP VIEW IF EXISTS `{namespace}`.`{name}`")
        _mark(spark, namespace, "", "")
    except spark_failures() as error:
        raise StorageError(f"`{namespace}` can't be taken out of Spark's catalog: {reason(error)}") from error


def is_shared(spark: SparkSession) -> bool:
    """Whether the session's catalog outlives it and is seen by others: that of a Hive metastore."""
    return spark.conf.get("spark.sql.catalogImplementation", "in-memory") != "in-memory"


def _definitions(tables_folder: Path, namespace: str) -> dict[str, str]:
    """The statement that makes each view, by name, each after those it reads."""
    tables = EmbeddedEngine(tables_folder).tables
    result = {}
    for spec in TABLES:
        there = frozenset(field.name for field in tables.handle(spec).schema().fields)
        path = str(tables.path(spec).resolve()).replace("`", "``")
        result[spec.name] = _definition(
            f"`{namespace}`.`{spec.name}`",
            {c.name: c.doc for c in spec.all_columns},
            spec.grain,
            f"SELECT {', '.join(declared(spec, there))} FROM delta.`{path}`",
        )
    for view in all_views():
        tree = view_tree(view.name).copy()
        for table in list(tree.find_all(exp.Table)):
            if isinstance(table.this, exp.Identifier) and not table.args.get("db") and not is_bound(table):
                table.set("db", exp.to_identifier(namespace, quoted=True))
        query = render(tree, dialect="spark")
        result[view.name] = _definition(f"`{namespace}`.`{view.name}`", view.columns, view.purpose, query)
    return result


def _definition(name: str, columns: Mapping[str, str], comment: str, query: str) -> str:
    described = ", ".join(f"`{column}` COMMENT {_text(doc)}" for column, doc in columns.items())
    return f"CREATE OR REPLACE VIEW {name} ({described}) COMMENT {_text(comment)} AS {query}"


def _properties(spark: SparkSession, namespace: str) -> dict[str, str] | None:
    """What a namespace says of itself; None where there is none."""
    if not spark.catalog.databaseExists(namespace):
        return None
    described = {r[0]: r[1] for r in spark.sql(f"DESCRIBE DATABASE EXTENDED `{namespace}`").collect()}
    # Spark prints all properties as one text; ours are words without brackets or commas.
    return dict(re.findall(rf"\(({re.escape(_SHOWS)}|{re.escape(_VIEWS)}),(\w*)\)", described.get("Properties", "")))


def _comment(spark: SparkSession, namespace: str) -> str:
    described = {r[0]: r[1] for r in spark.sql(f"DESCRIBE DATABASE `{namespace}`").collect()}
    return str(described.get("Comment", ""))


def _names(spark: SparkSession, namespace: str) -> frozenset[str]:
    """The tables and views in a namespace; temporary views are in none."""
    rows = spark.sql(f"SHOW TABLES IN `{namespace}`").collect()
    return frozenset(row.tableName for row in rows if not row.isTemporary)


def _mark(spark: SparkSession, namespace: str, shows: str, views: str) -> None:
    spark.sql(f"ALTER DATABASE `{namespace}` SET DBPROPERTIES ('{_SHOWS}' = '{shows}', '{_VIEWS}' = '{views}')")


def _check_name(namespace: str) -> None:
    if not re.fullmatch(r"[A-Za-z]\w*", namespace, re.ASCII):
        raise InvalidInputError(
            f"`{namespace}` can't be a namespace in Spark's catalog; use letters, digits and underscores."
        )


def _title(shown: str) -> str:
    return f"Tables and views of the warehouse {shown}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _text(text: str) -> str:
    """A text as a literal of Spark's."""
    return exp.Literal.string(text).sql(dialect="spark")
