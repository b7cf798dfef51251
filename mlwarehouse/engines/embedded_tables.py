"""The tables of a warehouse through delta-rs: creating, evolving, checking, versions and files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake import Field as DeltaField
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from mlwarehouse.engines.embedded_cache import FileCache
from mlwarehouse.engines.embedded_commit import CHECKPOINT_INTERVAL, open_table, reason, sync_log
from mlwarehouse.engines.pins import read_pins
from mlwarehouse.errors import StorageError, UnsupportedTableError
from mlwarehouse.storage import LocalStorage, Storage, storage_of
from mlwarehouse.tables import TableSpec

CONFIGURATION: dict[str, str | None] = {
    "delta.appendOnly": "true",
    "delta.enableChangeDataFeed": "true",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
}
"""Properties of every table. Log entries expire after Delta's default of 30 days; transaction ids never do."""

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

    Attributes:
        storage: Where the tables are.
        is_remote: Whether they are in an object store, so that files are asked as copies.
        entries: What is known of log entries there, see `embedded_tail`.
        marks: Likewise, see `embedded_states.mark`.
    """

    def __init__(self, folder: Path | Storage) -> None:
        """Look at the tables under ``folder``; nothing is opened yet."""
        self.storage = storage_of(folder)
        # Files in a local folder are read where they are.
        self._cache = None if isinstance(self.storage, LocalStorage) else FileCache(self.storage)
        self._handles: dict[str, DeltaTable] = {}
        self._lock = threading.Lock()
        self.is_remote = self._cache is not None
        self.entries: dict[tuple[str, int], list[str]] = {}
        self.marks: dict[tuple[str, int], int] = {}

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
        """Create the tables that aren't there; add the columns that older ones lack.

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
            table = self._handles.get(spec.name)
            try:
                if table is None:
                    table = open_table(self.place(spec))
                    check_features(spec, table)
                    self._handles[spec.name] = table
                else:
                    checked = table.version()
                    table.update_incremental()
                    if table.version() != checked:
                        check_features(spec, table)
            except UnsupportedTableError:
                self._handles.pop(spec.name, None)
                raise
            except TableNotFoundError as error:
                raise StorageError(
                    f"Table `{spec.name}` isn't in `{self.storage.uri}`; run `mlwarehouse doctor`."
                ) from error
            except (DeltaError, OSError):
                # A handle so old that the log has been cleaned up behind it: open anew, once.
                self._handles.pop(spec.name, None)
                table = self._reopened(spec)
            return table

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
            StorageError: That version isn't there any more, or never was; or its files can't be fetched.
        """
        version, names = self.names_at(spec, version)
        try:
            return version, self.here(spec, names)
        except OSError as error:
            raise StorageError(f"Files of table `{spec.name}` can't be fetched: {reason(error)}") from error

    def names_at(self, spec: TableSpec, version: int | None) -> tuple[int, list[str]]:
        """One version of a table, and the names of its files in the table's folder; see `at`.

        Raises:
            StorageError: That version isn't there any more, or never was.
        """
        table = self.handle(spec)
        with self._lock:
            newest = table.version()
            if version is not None and version != newest:
                try:
                    table = open_table(self.place(spec), version=version)
                except (DeltaError, OSError) as error:
                    kept = self._pinned(spec, version)
                    if kept is not None:
                        return version, kept
                    raise StorageError(
                        f"Table `{spec.name}` can't be read at version {version}; its newest is {newest}: "
                        f"{reason(error)}"
                    ) from error
            # delta-rs gives paths as parts of addresses, where a space is %20.
            return table.version(), [unquote(uri.rpartition("/")[2]) for uri in table.file_uris()]

    def here(self, spec: TableSpec, names: Sequence[str]) -> list[str]:
        """Absolute local paths of files of a table, or of copies of them, in the same order.

        Raises:
            OSError: A file can't be fetched. (One in a local folder isn't looked for.)
        """
        if self._cache is None:
            folder = self.place(spec).uri
            return [f"{folder}/{name}" for name in names]
        return self._cache.fetch(spec.name, names)

    def note_purge(self) -> None:
        """Have every machine forget its copies of these files: they may hold what was purged.

        Raises:
            OSError: The storage can't be reached.
        """
        if self._cache is not None:
            self._cache.note_purge()

    def heed_purges(self, *, once: bool = False) -> None:
        """Forget copies of these files that were made before the last purge.

        Args:
            once: Only if this process hasn't looked yet.

        Raises:
            OSError: The storage can't be reached.
        """
        if self._cache is not None:
            self._cache.heed_purges(once=once)

    def _pinned(self, spec: TableSpec, version: int) -> list[str] | None:
        """The files of a version whose log is cleaned up, if a kept pin names them."""
        for pin in read_pins(self.storage.parent).values():
            if pin.snapshot.versions.get(spec.name) == version:
                return list(pin.files[spec.name])
        return None

    def _reopened(self, spec: TableSpec) -> DeltaTable:
        try:
            table = open_table(self.place(spec))
        except (DeltaError, OSError) as error:
            raise StorageError(
                f"Table `{spec.name}` in `{self.place(spec).uri}` can't be read: {reason(error)}"
            ) from error
        check_features(spec, table)
        self._handles[spec.name] = table
        return table

    def _evolve(self, spec: TableSpec) -> None:
        """Add declared columns that the table lacks; a column it has and we don't know stays and is null for us."""
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


def check_known(spec: TableSpec, table: DeltaTable) -> None:
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
