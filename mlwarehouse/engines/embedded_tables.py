"""The tables of a warehouse through delta-rs: creating, evolving, checking, versions and files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from deltalake import CommitProperties, DeltaTable
from deltalake import Field as DeltaField
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from mlwarehouse._version import __version__
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded_cache import FileCache
from mlwarehouse.engines.embedded_commit import reason, sync_log
from mlwarehouse.engines.embedded_follow import CHECKPOINT_INTERVAL, NewestTable, TableLog, has_reached, open_table
from mlwarehouse.engines.embedded_past import gone
from mlwarehouse.engines.embedded_tail import added_by_version
from mlwarehouse.engines.pins import read_pins
from mlwarehouse.errors import StorageError, UnsupportedTableError
from mlwarehouse.storage import LocalStorage, Storage, storage_of
from mlwarehouse.tables import TableSpec

CONFIGURATION: dict[str, str | None] = {
    "delta.appendOnly": "true",
    "delta.enableChangeDataFeed": "true",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
    "delta.logRetentionDuration": "interval 7 days",
}
"""Properties of every table. Log entries stay as long as the files that only older versions have; transaction ids never
expire."""

ADDED_LATER = frozenset({"delta.logRetentionDuration"})
"""Properties that tables of older releases lack, and get."""

ALLOWED_FEATURES = frozenset({"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"})
"""Table features that any reader and writer in use understands. (A legacy writer version implies some of them.)"""

DELTA_TYPES = {
    "string": "string",
    "long": "long",
    "integer": "integer",
    "double": "double",
    "boolean": "boolean",
    "timestamp": "timestamp",
}


class EmbeddedTables:
    """Handles of a warehouse's tables, one a table, brought up to date when asked.

    Threads may share it: the handles are guarded by one lock.
    """

    def __init__(self, folder: Path | Storage) -> None:
        """Look at the tables under ``folder``; nothing is opened yet."""
        self.storage = storage_of(folder)
        # Files in a local folder are read where they are.
        self._cache = None if isinstance(self.storage, LocalStorage) else FileCache(self.storage)
        self._handles: dict[str, NewestTable] = {}
        self._logs: dict[str, TableLog] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """The local folder of all tables.

        Raises:
            InvalidInputError: They are in an object store.
        """
        return self.storage.folder("This work on tables")

    def place(self, spec: TableSpec) -> Storage:
        """The folder of a table."""
        return self.storage.child(spec.name)

    def path(self, spec: TableSpec) -> Path:
        """The local folder of a table.

        Raises:
            InvalidInputError: The tables are in an object store.
        """
        return self.place(spec).folder(f"This work on table `{spec.name}`")

    def identity(self, spec: TableSpec) -> str:
        """The id that a new table got when it was made, 32 hexadecimal digits; of several who make it, one decides it.

        Raises:
            StorageError: The table isn't there or can't be read, or is so old that its first log entry is gone.
        """
        try:
            # The first log entry's: of several who make a table at once, another may write its own id behind it.
            return str(open_table(self.place(spec), version=0).metadata().id).replace("-", "")
        except (DeltaError, OSError) as error:
            raise StorageError(f"Table `{spec.name}` in `{self.storage.uri}` can't be read: {reason(error)}") from error

    def create(self, specs: Sequence[TableSpec]) -> None:
        """Create the tables that aren't there; add the columns and properties that older ones lack.

        Raises:
            UnsupportedTableError: A table has features that this release must not write.
            StorageError: delta-rs failed.
        """
        for spec in specs:
            place = self.place(spec)
            options = None if place.delta_options is None else dict(place.delta_options)
            try:
                if DeltaTable.is_deltatable(place.uri, storage_options=options):
                    self._evolve(spec)
                    continue
                place.make()
                self._make(spec, place, options)
            except (DeltaError, OSError) as error:
                raise StorageError(f"Table `{spec.name}` can't be created in `{place.uri}`: {reason(error)}") from error

    def _make(self, spec: TableSpec, place: Storage, options: dict[str, str] | None) -> None:
        try:
            DeltaTable.create(
                place.uri,
                schema=spec.arrow_schema(),
                mode="ignore",
                name=spec.name,
                description=spec.grain,
                configuration=CONFIGURATION,
                storage_options=options,
            )
        except CommitFailedError:
            # Another process has made it at this moment.
            if not DeltaTable.is_deltatable(place.uri, storage_options=options):
                raise
        log = place.child("_delta_log")
        log.sync(*log.names())
        place.sync()

    def handle(self, spec: TableSpec) -> DeltaTable:
        """The table at its newest version. Shared: don't load another version on it.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features that this release must not read.
        """
        with self._lock:
            if spec.name not in self._handles:
                self._handles[spec.name] = NewestTable(self.place(spec), lambda table: check_features(spec, table))
            handle = self._handles[spec.name]
            try:
                try:
                    return handle.get()
                except TableNotFoundError:
                    raise
                except (DeltaError, OSError):
                    # So old that the log has been cleaned up behind it, perhaps: open anew, once.
                    return handle.get()
            except (DeltaError, OSError) as error:
                raise self._unreadable(spec, error) from error

    def log(self, spec: TableSpec) -> TableLog | None:
        """The log of a table as commits know it, up to date; None for one in an object store.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features, or columns of a later release, that this one must not write.
        """
        if not isinstance(self.storage, LocalStorage):
            return None
        with self._lock:
            if spec.name not in self._logs:
                self._logs[spec.name] = TableLog(self.path(spec), lambda table: _check_writable(spec, table))
            log = self._logs[spec.name]
        try:
            log.follow()
        except (DeltaError, OSError) as error:
            raise self._unreadable(spec, error) from error
        return log

    def has_applied(self, spec: TableSpec, txns: Sequence[Txn]) -> bool:
        """Whether a table has the first of these transactions already, so that a commit with them adds nothing.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features, or columns of a later release, that this one must not write.
        """
        # The look at the table comes first also without transactions: it checks what may be written at all.
        log = self.log(spec)
        if log is not None:
            try:
                return bool(txns) and log.has(txns[0])
            except (DeltaError, OSError) as error:
                raise self._unreadable(spec, error) from error
        table = self.handle(spec)
        _check_known(spec, table)
        return bool(txns) and has_reached(table.transaction_version(txns[0].app_id), txns[0])

    def _unreadable(self, spec: TableSpec, error: DeltaError | OSError) -> StorageError:
        if isinstance(error, TableNotFoundError):
            return StorageError(f"Table `{spec.name}` isn't in `{self.storage.uri}`; run `mlwarehouse doctor`.")
        return StorageError(f"Table `{spec.name}` in `{self.place(spec).uri}` can't be read: {reason(error)}")

    def state(self, spec: TableSpec, app_id: str) -> tuple[int, int | None]:
        """The newest version of a table, and the last transaction number of ``app_id`` in it."""
        table = self.handle(spec)
        with self._lock:
            return table.version(), table.transaction_version(app_id)

    def at(self, spec: TableSpec, version: int | None) -> tuple[int, list[str]]:
        """One version of a table.

        Args:
            spec: The table.
            version: The version; None for the newest.

        Returns:
            The version, and the absolute local paths of its files, or of copies of them.

        Raises:
            SnapshotGoneError: That version can't be read any more, or never was there.
            StorageError: The table can't be read, or its files can't be fetched.
        """
        table = self.handle(spec)
        with self._lock:
            newest = table.version()
            if version is not None and version != newest:
                return version, self._older(spec, version, newest)
            return newest, self._local(spec, _paths(table))

    def added(self, spec: TableSpec, after: int, until: int) -> list[tuple[int, str]]:
        """The files that brought new rows between two versions.

        Args:
            spec: The table.
            after: The version behind which to look.
            until: The last version to look at.

        Returns:
            The version that a file came with, and its absolute local path or that of a copy; oldest version first.

        Raises:
            SnapshotGoneError: It can't be told any more.
            StorageError: The table can't be read, or its files can't be fetched.
        """
        newest = self.handle(spec).version()
        if max(after, until) > newest:
            raise gone(self.place(spec), spec, max(after, until), newest, "")
        found = added_by_version(self.place(spec), spec, after, until)
        root = self.place(spec).uri
        paths = self._local(spec, [f"{root}/{name}" for _, name in found])
        return [(version, path) for (version, _), path in zip(found, paths, strict=True)]

    def _older(self, spec: TableSpec, version: int, newest: int) -> list[str]:
        """The files of a version that isn't the newest."""
        try:
            files = _paths(open_table(self.place(spec), version=version))
        except (DeltaError, OSError) as error:
            kept = self._pinned(spec, version)
            if kept is None:
                raise gone(self.place(spec), spec, version, newest, reason(error).rstrip(".")) from error
            files = kept
        if self._cache is None:
            missing = [path for path in files if not Path(path).exists()]
            if missing:
                why = f"{len(missing)} of its {len(files)} files are gone"
                raise gone(self.place(spec), spec, version, newest, why)
        return self._local(spec, files)

    def _local(self, spec: TableSpec, files: list[str]) -> list[str]:
        if self._cache is None:
            return files
        names = [file.removeprefix(f"{self.place(spec).uri}/") for file in files]
        try:
            return self._cache.fetch(spec.name, names)
        except OSError as error:
            raise StorageError(f"Files of table `{spec.name}` can't be fetched: {reason(error)}") from error

    def _pinned(self, spec: TableSpec, version: int) -> list[str] | None:
        """The files of a version, if a kept snapshot names them: it outlives the log."""
        if not isinstance(self.storage, LocalStorage):
            return None
        folder = self.path(spec)
        for pin in read_pins(folder.parent.parent).values():
            if pin.kept.snapshot.versions.get(spec.name) == version:
                return [str(folder / name) for name in pin.files[spec.name]]
        return None

    def _evolve(self, spec: TableSpec) -> None:
        """Add what the table lacks; a column that it has and we don't know stays and is null for us."""
        place = self.place(spec)
        table = open_table(place)
        check_features(spec, table)
        there = {f.name for f in table.schema().fields}
        missing = [c for c in spec.all_columns if c.name not in there]
        for column in missing:
            if column.since == 1 or not column.nullable:
                raise UnsupportedTableError(
                    f"Table `{spec.name}` in `{place.uri}` lacks the column `{column.name}`, which each "
                    "release has had: it isn't a table of this package, or it is damaged."
                )
        if missing:
            table.alter.add_columns(
                [DeltaField(c.name, PrimitiveType(DELTA_TYPES[c.type]), nullable=True) for c in missing]
            )
            sync_log(place, table.version() - 1, table.version())
        self._add_properties(place)
        # A process that died may have committed what isn't on disk yet.
        place.child("_delta_log").sync()

    def _add_properties(self, place: Storage) -> None:
        for _ in range(10):
            table = open_table(place)
            lacking = ADDED_LATER - table.metadata().configuration.keys()
            if not lacking:
                return
            try:
                table.alter.set_table_properties(
                    {name: str(CONFIGURATION[name]) for name in lacking},
                    commit_properties=CommitProperties(
                        custom_metadata={"mlwarehouse": __version__, "purpose": "upgrade"}
                    ),
                )
            except CommitFailedError:
                # Another process is at it.
                continue
            sync_log(place, table.version() - 1, table.version())
            return


def _paths(table: DeltaTable) -> list[str]:
    # delta-rs gives paths as parts of addresses, where a space is %20.
    return [unquote(uri.removeprefix("file://")) for uri in table.file_uris()]


def check_features(spec: TableSpec, table: DeltaTable) -> None:
    """Refuse a table with features that not every reader understands.

    Raises:
        UnsupportedTableError: Names the features.
    """
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    configuration = table.metadata().configuration
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        features.add("columnMapping")
    unknown = sorted(features - ALLOWED_FEATURES)
    if unknown:
        raise UnsupportedTableError(
            f"Table `{spec.name}` uses the Delta features {', '.join(unknown)}, which not every reader understands; "
            "mlwarehouse neither reads nor writes it. Rewrite it without them."
        )


def _check_writable(spec: TableSpec, table: DeltaTable) -> None:
    check_features(spec, table)
    _check_known(spec, table)


def _check_known(spec: TableSpec, table: DeltaTable) -> None:
    """Refuse to write a table that has columns of a later schema version: its rows would lack what others rely on.

    Raises:
        UnsupportedTableError: Names the columns.
    """
    unknown = sorted({f.name for f in table.schema().fields} - {c.name for c in spec.all_columns})
    if unknown:
        raise UnsupportedTableError(
            f"Table `{spec.name}` has the columns {', '.join(unknown)} of a later schema version than "
            f"{spec.version}, which this release knows: it is read and not written. Upgrade mlwarehouse."
        )
