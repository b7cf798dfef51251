"""What all parts of a warehouse share: its place, settings, engine and readings."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse import location
from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.config import Settings, load_settings
from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import (
    InvalidInputError,
    NotFoundError,
    SnapshotGoneError,
    StorageError,
)
from mlwarehouse.location import Location
from mlwarehouse.parts.engines import means_spark
from mlwarehouse.storage import LocalStorage, Storage, open_storage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.base import Reading
    from mlwarehouse.engines.embedded import EmbeddedEngine
    from mlwarehouse.engines.spark import SparkEngine
    from mlwarehouse.ingest.spool_folder import SpoolFolder

FLUSH_TIMEOUT_S = 60.0


class Base:
    """One warehouse, opened by its address. Opening touches nothing until something is asked or logged."""

    def __init__(self, uri: str | Path | None = None, **settings: str | float | bool) -> None:
        """Name a warehouse.

        Args:
            uri: Its folder: a path, or ``s3://bucket/prefix``. None means the setting ``uri``.
            **settings: Settings that win over the environment's.

        Raises:
            InvalidInputError: An unknown setting, or an address of another kind.
        """
        self.settings: Settings = load_settings(**({} if uri is None else {"uri": str(uri)}), **settings)
        self.storage: Storage = open_storage(self.settings.uri)
        self._location: Location | None = None
        self._engine: EmbeddedEngine | None = None
        self._engine_pid = 0
        self._engine_lock = threading.Lock()
        self._checked: set[str] = set()

    @property
    def uri(self) -> str:
        """The warehouse's address: an absolute path, or ``s3://bucket/prefix``."""
        return self.storage.uri

    @property
    def root(self) -> Path:
        """The warehouse's local folder.

        Raises:
            InvalidInputError: It is in an object store.
        """
        return self.storage.folder("This")

    @property
    def warehouse_id(self) -> str:
        """The id in the warehouse's marker.

        Raises:
            WarehouseNotFoundError: Nothing is there.
        """
        return self.place().warehouse_id

    def place(self, *, create: bool = False) -> Location:
        """The warehouse's location.

        Args:
            create: Make it where nothing is.

        Raises:
            WarehouseNotFoundError: Nothing is there, and it shan't be made.
            NotAWarehouseError: Something else is there.
        """
        if self._location is None or not self._location.is_there():
            self._location = (
                location.find_or_create(self.storage, _identity_of_tables) if create else location.find(self.storage)
            )
        return self._location

    def create(self) -> None:
        """Make the warehouse and its tables where they aren't there; bring older tables up to date.

        Raises:
            NotAWarehouseError: The folder holds something else.
            StorageError: The place can't be written.
        """
        self.place(create=True)
        self.engine()

    def engine(self) -> EmbeddedEngine:
        """The embedded engine of this process, loaded at its first use.

        Raises:
            WarehouseNotFoundError: There is no warehouse.
        """
        place = self.place()
        with self._engine_lock:
            # delta-rs doesn't survive a fork: a child that asks questions builds an engine of its own.
            if self._engine is None or self._engine_pid != os.getpid():
                from mlwarehouse.engines.embedded import EmbeddedEngine
                from mlwarehouse.tables import TABLES

                engine = EmbeddedEngine(place.tables)
                # Only what isn't there: a damaged table must not keep the others from being read.
                engine.create_tables([t for t in TABLES if not place.tables.child(t.name).exists("_delta_log")])
                self._engine, self._engine_pid = engine, os.getpid()
            return self._engine

    def spark_session(self, engine: str | SparkSession = "spark") -> SparkSession:
        """The session that an argument `engine` means: itself, or for ``spark`` one on this machine.

        Raises:
            InvalidInputError: The warehouse isn't in a local folder.
            MissingDependencyError: Spark isn't there; it says how to get it.
        """
        # Before a session is started.
        self.tables_for_spark()
        if not isinstance(engine, str):
            return engine
        from mlwarehouse.engines.spark_session import build_session

        return build_session(settings=self.settings)

    def engine_named(self, engine: str | SparkSession) -> EmbeddedEngine | SparkEngine:
        """The engine that an argument `engine` means.

        Raises:
            InvalidInputError: There is no such engine; or it is Spark, and the warehouse isn't in a local folder.
            MissingDependencyError: Spark isn't there; it says how to get it.
        """
        return self.engine_of(self.spark_session(engine)) if means_spark(engine) else self.engine()

    def engine_of(self, session: SparkSession) -> SparkEngine:
        """The Spark engine of a session.

        Raises:
            InvalidInputError: The warehouse isn't in a local folder.
        """
        from mlwarehouse.engines.spark import SparkEngine

        return SparkEngine(session, self.tables_for_spark())

    def artifact_store(self) -> ArtifactStore:
        """Where the bytes of artifacts are.

        Raises:
            InvalidInputError: The setting `artifacts_uri` names no store.
        """
        return ArtifactStore.at(self.settings.artifacts_uri or self.place(create=True).artifacts.uri)

    def webhooks_folder(self) -> Path:
        """The local folder of what webhooks keep to themselves.

        Raises:
            WarehouseNotFoundError: There is no warehouse.
        """
        given = self.settings.webhooks_dir
        return Path(given).absolute() if given else self.place().webhooks

    def tables_for_spark(self) -> Path:
        """The folder of the tables, for Spark on this machine.

        Raises:
            InvalidInputError: They are in an object store, for which Spark needs jars that aren't part of this package.
        """
        tables = self.place().tables
        if isinstance(tables, LocalStorage):
            return tables.folder("Spark")
        raise InvalidInputError(
            f"Spark reads warehouses in local folders, and `{tables.uri}` is in an object store, for which it needs "
            "the jars of hadoop-aws. In a session of your own that has them, and Delta, read the tables as they are: "
            f"spark.read.format('delta').load('{tables.uri.replace('s3://', 's3a://', 1)}/metrics'). Or use `sql`, "
            "`search_runs` and `maintain` without Spark; or copy the warehouse to a local folder."
        )

    def spool(self) -> SpoolFolder:
        """This machine's spool for the warehouse."""
        from mlwarehouse.ingest.spool_folder import SpoolFolder

        place = self.place()
        return SpoolFolder.of(place.spools, place.warehouse_id, self.settings)

    def reading(self, *, as_of: Any = None, at: Snapshot | str | None = None) -> Reading:
        """The state that a question looks at: fresh, or of a past moment, or pinned.

        Args:
            as_of: Only what was recorded by then: ``datetime``, ``date``, or ISO text; without a zone it is UTC, and a
                date means its first moment.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            The reading; without arguments everything logged on this machine and committed anywhere.

        Raises:
            InvalidInputError: Both were given, the text isn't a time, or the snapshot belongs to another warehouse.
            NotFoundError: No snapshot is kept under that name.
            SnapshotGoneError: The snapshot's versions aren't those that it was taken of.
        """
        from mlwarehouse.engines.base import Reading

        if self.engine().wants_folds:
            self._have_folded()
        if as_of is not None and at is not None:
            raise InvalidInputError("A question is asked `as_of` a time or `at` a snapshot, not both.")
        if at is not None:
            snapshot = self.find_snapshot(at)
            now = dt.datetime.fromtimestamp(snapshot.taken_at / 1000, dt.UTC)
            return self.engine().with_kept(Reading(versions=snapshot.versions, now=now))
        if as_of is not None:
            then = moment(as_of)
            return Reading(as_of=then, now=min(then, dt.datetime.now(dt.UTC)))
        from mlwarehouse.ingest.overlay import fresh_reading

        return self.engine().with_kept(fresh_reading(self.spool(), self.engine()))

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Have everything that was logged on this machine committed, for readers that read the tables without us.

        Args:
            timeout_s: How long to wait for the committer.

        Raises:
            StorageError: It took longer; what was logged is safe in the spool.
        """
        from mlwarehouse.ingest.flush import commit_all

        if not commit_all(self.spool(), self.engine(), timeout_s=timeout_s):
            raise StorageError(
                f"The committer hasn't committed everything within {timeout_s:g} s; what was logged is safe in the "
                f"spool `{self.spool().path}`. See `committer.log` there."
            )

    def versions(self) -> dict[str, int]:
        """The newest committed version of each table, by name: cheap to ask, and changes with every commit."""
        from mlwarehouse.tables import TABLES

        engine = self.engine()
        return {spec.name: engine.version(spec) for spec in TABLES}

    def close(self) -> None:
        """Let go of the engine; it is loaded again when needed."""
        with self._engine_lock:
            if self._engine is not None and self._engine_pid == os.getpid():
                self._engine.close()
            self._engine = None

    def _have_folded(self) -> None:
        """Have this machine's committer keep folds of a warehouse in an object store: questions are asked here."""
        self.engine().wants_folds = False
        if self.settings.committer != "auto" or self.settings.maintenance != "auto":
            return
        from mlwarehouse.engines.embedded_states import derived_folder
        from mlwarehouse.ingest.committer import start_committer

        # Where the cache folder can't be written, or no process be started, questions are answered from events.
        with contextlib.suppress(OSError, StorageError):
            derived_folder(self.engine().tables).mkdir(parents=True, exist_ok=True)
            self.spool().create()
            start_committer(
                self.uri,
                self.spool(),
                interval_s=self.settings.commit_interval_s,
                idle_s=self.settings.committer_idle_s,
                maintenance=self.settings.maintenance,
            )

    def find_snapshot(self, at: Snapshot | str) -> Snapshot:
        """A snapshot of this warehouse, with its table versions looked at.

        Args:
            at: A snapshot, its text, or the name of a kept one.

        Raises:
            InvalidInputError: It is neither, or belongs to another warehouse.
            NotFoundError: No snapshot is kept under that name.
            SnapshotGoneError: The tables aren't those that it was taken of: they were restored from a backup, or this
                copy of the warehouse went its own way.
        """
        if not isinstance(at, Snapshot | str):
            raise InvalidInputError(
                "A snapshot is what `snapshot()` returned, its text, or the name of a kept one; got "
                f"{type(at).__name__}."
            )
        if isinstance(at, Snapshot):
            snapshot = at
        elif at.lstrip().startswith("{"):
            snapshot = Snapshot.parse(at)
        else:
            from mlwarehouse.engines.pins import find_pin

            self.place()
            try:
                snapshot = find_pin(self.storage, at).kept.snapshot
            except NotFoundError as error:
                raise NotFoundError(f"{error}{self._said_of_purges()}") from None
        if snapshot.warehouse_id != self.warehouse_id:
            raise InvalidInputError(
                f"The snapshot belongs to warehouse `{snapshot.warehouse_id}`; this one, at `{self.uri}`, is "
                f"`{self.warehouse_id}`. Open the warehouse that it was taken of."
            )
        text = str(snapshot)
        if text not in self._checked:
            self.check_versions(snapshot.versions, snapshot.checks)
            self._checked.add(text)
        return snapshot

    def _said_of_purges(self) -> str:
        question = "SELECT max(recorded_at) AS at FROM audit WHERE action = 'purge'"
        at = self.engine().query(question).column("at")[0].as_py()
        return "" if at is None else f" A purge on {at:%Y-%m-%d %H:%M} UTC took all that were kept before it."

    def check_versions(self, versions: Mapping[str, int], checks: Mapping[str, int]) -> None:
        """Look whether the tables' versions are those that somebody has seen.

        Args:
            versions: Version by table name.
            checks: The check sum of that version's log entry, by table name; what has none isn't looked at.

        Raises:
            SnapshotGoneError: They aren't.
        """
        from mlwarehouse.engines.embedded_past import check_of
        from mlwarehouse.tables import TABLES_BY_NAME

        for name in sorted(checks.keys() & TABLES_BY_NAME.keys()):
            found = check_of(self.engine().tables.place(TABLES_BY_NAME[name]), versions[name])
            if found is not None and found != checks[name]:
                raise SnapshotGoneError(
                    f"Version {versions[name]} of table `{name}` isn't the one that was meant: the warehouse was "
                    "restored from a backup since, or this copy of it was written to by itself. Ask the original, or "
                    "start over with a new `snapshot()`."
                )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.uri}>"


def _identity_of_tables(storage: Storage) -> str:
    """An id for the warehouse in an object store, where of several that make it none can win a file: its first table's.

    delta-rs decides who makes a table, and the table then has one id for all.
    """
    from mlwarehouse.engines.embedded import EmbeddedEngine
    from mlwarehouse.tables import TABLES

    engine = EmbeddedEngine(storage.child("tables"))
    engine.create_tables(TABLES)
    return engine.tables.identity(TABLES[0])


def moment(when: Any) -> dt.datetime:
    """A moment as a UTC time.

    Args:
        when: ``datetime``, ``date``, or ISO text; without a zone it is UTC, and a date means its first moment.

    Raises:
        InvalidInputError: Something else.
    """
    if isinstance(when, str):
        try:
            when = dt.datetime.fromisoformat(when)
        except ValueError:
            raise InvalidInputError(
                f"`{when}` isn't a time; write it as 2026-11-01 or 2026-11-01T09:30:00+01:00."
            ) from None
    if isinstance(when, dt.datetime):
        return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    if isinstance(when, dt.date):
        return dt.datetime(when.year, when.month, when.day, tzinfo=dt.UTC)
    raise InvalidInputError(f"A time is a datetime, a date or ISO text; got {type(when).__name__}.")
