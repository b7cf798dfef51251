"""The Spark engine: Spark answers and computes, on the same tables and views, with the embedded engine's commits."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from mlwarehouse.engines import embedded_commit
from mlwarehouse.engines.base import Appended, Late, Reading, RunRows, Txn
from mlwarehouse.engines.casting import plain_types
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_sql import COMMIT_VERSION
from mlwarehouse.engines.parse import check_parameters, parse_select
from mlwarehouse.engines.render import needed, render, with_views
from mlwarehouse.engines.render_for_spark import for_spark
from mlwarehouse.engines.running import Running, Watch, answered
from mlwarehouse.engines.spark_errors import reason, spark_failures
from mlwarehouse.engines.spark_literals import bound
from mlwarehouse.engines.spark_staging import MadeByWorkers, stage_frame, stage_made
from mlwarehouse.errors import CastError, SqlError
from mlwarehouse.tables import TABLES_BY_NAME, TableSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NEWEST = Reading()

_SPARK_TYPES = {
    "string": "STRING",
    "long": "BIGINT",
    "integer": "INT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}


class SparkEngine:
    """Reads and writes the tables of a warehouse folder through a Spark session, classic or Connect.

    The session must know Delta (`build_session` makes one that does) and its workers must see the folder.
    """

    name = "spark"

    def __init__(self, spark: SparkSession, tables_folder: Path) -> None:
        """Work on the tables under ``tables_folder``; nothing is opened yet, and the session stays the caller's."""
        self.spark = spark
        self._embedded = EmbeddedEngine(tables_folder)

    def create_tables(self, specs: Sequence[TableSpec]) -> None:
        """See `Engine.create_tables`."""
        self._embedded.create_tables(specs)

    def append(self, spec: TableSpec, rows: Any, *, txns: Sequence[Txn] = (), holding: Sequence[Txn] = ()) -> Appended:
        """See `Engine.append`; ``rows`` is a `pyarrow.Table`, or a Spark `DataFrame`, batch or of `foreachBatch`.

        A frame is computed once, by the tasks that write it. When a task fails nothing is added.
        """
        from pyspark.sql import DataFrame

        if isinstance(rows, pa.Table):
            return self._embedded.append(spec, rows, txns=txns, holding=holding)
        if not isinstance(rows, DataFrame):
            raise CastError(
                f"Rows for table `{spec.name}` must be a pyarrow.Table or a Spark DataFrame; got {type(rows).__name__}."
            )
        if self._embedded.has_applied(spec, txns):
            return Appended(self.version(spec), applied=False, n_rows=0)
        folder = self._embedded.tables.path(spec)
        files = stage_frame(folder, spec, rows)
        log = self._embedded.tables.log(spec)
        return embedded_commit.commit(folder, spec, files, txns, holding=holding, log=log)

    def append_made(
        self, specs: Sequence[TableSpec], made: MadeByWorkers, *, txns: Sequence[Txn] = ()
    ) -> tuple[Appended, Mapping[str, int]]:
        """Append rows of several tables that Spark's workers make, in one pass over what they are told.

        Args:
            specs: The tables, each committed on its own in this order. With the last it is done: what ends before that
                is done anew, and adds to the tables before only what isn't there.
            made: What makes the rows.
            txns: As for `append`, of each table.

        Returns:
            What became of the last table, and what the workers have counted.

        Raises:
            WarehouseError: As for `stage_made`, or a commit failed; nothing was added to the last table.
        """
        if self._embedded.has_applied(specs[-1], txns):
            return Appended(self.version(specs[-1]), applied=False, n_rows=0), {}
        tables = self._embedded.tables
        staged = stage_made([(spec, tables.path(spec)) for spec in specs], made)
        done = [
            embedded_commit.commit(tables.path(spec), spec, staged.files[spec.name], txns, log=tables.log(spec))
            for spec in specs
        ]
        return done[-1], staged.counts

    def append_late(self, spec: TableSpec, rows: Any, decide: Callable[[], Late | None]) -> Appended:
        """See `Engine.append_late`; ``rows`` is a `pyarrow.Table`."""
        return self._embedded.append_late(spec, rows, decide)

    def version(self, spec: TableSpec) -> int:
        """See `Engine.version`."""
        return self._embedded.version(spec)

    def transaction_version(self, spec: TableSpec, app_id: str) -> int | None:
        """See `Engine.transaction_version`."""
        return self._embedded.transaction_version(spec, app_id)

    def state(self, spec: TableSpec, app_id: str) -> tuple[int, int | None]:
        """See `Engine.state`."""
        return self._embedded.state(spec, app_id)

    def query(
        self,
        sql: str | exp.Query,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> pa.Table:
        """See `WatchedEngine.query`; a tree is asked as it is. Spark doesn't say how much is done."""

        def work(running: Running) -> pa.Table:
            with running.on(_Tagged(self.spark)) as tagged, tagged.tag():
                return self.frame(sql, reading=reading, parameters=parameters).toArrow()

        try:
            # Ctrl-C is heard by pyspark itself.
            rows = work(Running()) if watch is None or watch.is_idle else answered(work, watch)
        except spark_failures() as error:
            raise SqlError(f"The question failed: {reason(error)}") from error
        return plain_types(rows)

    def batches(
        self,
        sql: str,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> pa.RecordBatchReader:
        """See `WatchedEngine.batches`; Spark's answer is collected first."""
        return self.query(sql, reading=reading, parameters=parameters, watch=watch).to_reader()

    def frame(
        self,
        sql: str | exp.Query,
        *,
        reading: Reading | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> DataFrame:
        """The answer to a question as a Spark `DataFrame`, which is computed when it is used.

        Args:
            sql: A question in DuckDB's dialect; or a tree in Spark's own meaning, which is only rendered.
            reading: The state to look at. Rows that aren't committed go to Spark with the plan.
            parameters: Values for the marks.

        Raises:
            SqlError: As for `query`.
        """
        tree = for_spark(parse_select(sql)) if isinstance(sql, str) else sql
        check_parameters(tree, parameters)
        _, tables = needed(tree)
        # Frames are named in the text as pyspark wants them: no view is left in the session, and none is needed later.
        call = uuid.uuid4().hex
        leaves = {table: f"mlw_{call}_{table}" for table in tables}
        now = f"TIMESTAMPTZ '{_moment(reading.now)}'" if reading is not None and reading.now is not None else None
        whole = with_views(bound(tree, parameters or {}), leaves=leaves, dialect="spark", now=now)
        text = render(whole, dialect="spark").replace("{", "{{").replace("}", "}}")
        for leaf in leaves.values():
            text = text.replace(leaf, f"{{{leaf}}}")
        try:
            frames: dict[str, Any] = {
                leaf: self._rows(TABLES_BY_NAME[t], reading or _NEWEST) for t, leaf in leaves.items()
            }
            frame = self.spark.sql(text, **frames)
            _ = frame.schema  # a Connect session looks at a question only when asked about it
        except spark_failures() as error:
            raise SqlError(f"The question failed: {reason(error).replace(f'mlw_{call}_', '')}") from error
        return frame

    def with_kept(self, reading: Reading) -> Reading:
        """See `Engine.with_kept`: this engine folds events."""
        return reading

    def keeps_rows(self, reading: Reading) -> bool:  # noqa: ARG002
        """See `Engine.keeps_rows`."""
        return False

    def rows_of_runs(self, reading: Reading, numbers: pa.Array, kinds: Sequence[str]) -> RunRows:
        """See `Engine.rows_of_runs`; nothing is kept for Spark."""
        raise NotImplementedError

    def row_of_run(self, reading: Reading, run_id: str) -> Mapping[str, Any] | None:  # noqa: ARG002
        """See `Engine.row_of_run`; nothing is kept for Spark."""
        return None

    def close(self) -> None:
        """See `Engine.close`; the session is the caller's and stays."""
        self._embedded.close()

    def _rows(self, spec: TableSpec, reading: Reading) -> DataFrame:
        """A table as the reading has it, in the declared columns."""
        instead = reading.instead.get(spec.name)
        if instead is not None:
            return self.spark.createDataFrame(instead.select([c.name for c in spec.all_columns]))
        version = reading.versions.get(spec.name)
        if reading.since is not None:
            return self._since(spec, reading.since.get(spec.name, -1), version)
        # Opened here too, for its checks: that the table and this version are there, with no foreign features.
        self._embedded.tables.at(spec, version)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        frame = reader.load(str(self._embedded.tables.path(spec)))
        rows = frame.selectExpr(*declared(spec, frozenset(frame.columns)))
        if reading.as_of is not None:
            return rows.where(f"recorded_at <= TIMESTAMP '{_moment(reading.as_of)}'")
        overlay = reading.overlay.get(spec.name)
        if overlay is not None and overlay.num_rows:
            rows = rows.unionAll(self.spark.createDataFrame(overlay.select([c.name for c in spec.all_columns])))
        return rows

    def _since(self, spec: TableSpec, after: int, version: int | None) -> DataFrame:
        """The rows that came after a version, with the version that each came with; -1 means all."""
        until = self.version(spec) if version is None else version
        if after < 0 or after >= until:
            rows = self._rows(spec, Reading(versions={spec.name: until}))
            return rows.where("true" if after < 0 else "false").selectExpr("*", f"{until}L AS {COMMIT_VERSION}")
        # Opened here too, for its words about what is gone.
        self._embedded.tables.added(spec, after, until)
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        reader = reader.option("startingVersion", after + 1).option("endingVersion", until)
        frame = reader.load(str(self._embedded.tables.path(spec)))
        return frame.selectExpr(*declared(spec, frozenset(frame.columns)), f"{COMMIT_VERSION}")


class _Tagged:
    """The jobs of one question in a session, by a tag of their own."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._tag = f"mlwarehouse-{uuid.uuid4().hex}"

    @contextmanager
    def tag(self) -> Iterator[None]:
        """Tag what this thread starts meanwhile."""
        self._spark.addTag(self._tag)
        try:
            yield
        finally:
            self._spark.removeTag(self._tag)

    def interrupt(self) -> None:
        """See `Stoppable.interrupt`."""
        self._spark.interruptTag(self._tag)

    def query_progress(self) -> float:
        """Spark doesn't say."""
        return -1.0


def frame_of(spark: SparkSession, rows: pa.Table) -> DataFrame:
    """Rows as a frame of a session, with the same columns."""
    return spark.createDataFrame(rows)


def _moment(when: dt.datetime) -> str:
    return f"{when.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def declared(spec: TableSpec, there: frozenset[str]) -> list[str]:
    """The declared columns as select expressions; null for those that an older table lacks."""
    return [
        f"`{c.name}`" if c.name in there else f"CAST(NULL AS {_SPARK_TYPES[c.type]}) AS `{c.name}`"
        for c in spec.all_columns
    ]
