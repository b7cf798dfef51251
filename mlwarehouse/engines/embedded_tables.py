"""The tables of a warehouse folder through delta-rs: creating, evolving, checking, versions and files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake import Field as DeltaField
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType

from mlwarehouse.disk import sync_path
from mlwarehouse.engines.embedded_commit import reason, sync_log
from mlwarehouse.errors import StorageError, UnsupportedTableError
from mlwarehouse.tables import TableSpec

CONFIGURATION: dict[str, str | None] = {
    "delta.appendOnly": "true",
    "delta.enableChangeDataFeed": "true",
    "delta.checkpointInterval": "50",
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
    """

    def __init__(self, folder: Path) -> None:
        """Look at the tables under ``folder``; nothing is opened yet."""
        self.folder = folder
        self._handles: dict[str, DeltaTable] = {}
        self._lock = threading.Lock()

    def path(self, spec: TableSpec) -> Path:
        """The folder of a table."""
        return self.folder / spec.name

    def create(self, specs: Sequence[TableSpec]) -> None:
        """Create the tables that aren't there; add the columns that older ones lack.

        Raises:
            UnsupportedTableError: A table has features that this release must not write.
            StorageError: delta-rs failed.
        """
        for spec in specs:
            path = self.path(spec)
            try:
                if not DeltaTable.is_deltatable(str(path)):
                    path.mkdir(parents=True, exist_ok=True)
                    DeltaTable.create(
                        path,
                        schema=spec.arrow_schema(),
                        mode="ignore",
                        name=spec.name,
                        description=spec.grain,
                        configuration=CONFIGURATION,
                    )
                    for file in (path / "_delta_log").iterdir():
                        sync_path(file)
                    sync_path(path / "_delta_log")
                    sync_path(path)
                    sync_path(path.parent)
                else:
                    self._evolve(spec)
            except DeltaError as error:
                raise StorageError(f"Table `{spec.name}` can't be created in `{path}`: {reason(error)}") from error

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
                    table = DeltaTable(self.path(spec))
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
                    f"Table `{spec.name}` isn't in `{self.folder}`; run `mlwarehouse doctor`."
                ) from error
            except DeltaError:
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
            The version, and the absolute paths of its files.

        Raises:
            StorageError: That version isn't there any more, or never was.
        """
        table = self.handle(spec)
        with self._lock:
            newest = table.version()
            if version is not None and version != newest:
                try:
                    table = DeltaTable(self.path(spec), version=version)
                except (DeltaError, OSError) as error:
                    raise StorageError(
                        f"Table `{spec.name}` can't be read at version {version}; its newest is {newest}: "
                        f"{reason(error)}"
                    ) from error
            # delta-rs gives paths as parts of addresses, where a space is %20.
            return table.version(), [unquote(uri.removeprefix("file://")) for uri in table.file_uris()]

    def _reopened(self, spec: TableSpec) -> DeltaTable:
        try:
            table = DeltaTable(self.path(spec))
        except DeltaError as error:
            raise StorageError(f"Table `{spec.name}` in `{self.path(spec)}` can't be read: {reason(error)}") from error
        check_features(spec, table)
        self._handles[spec.name] = table
        return table

    def _evolve(self, spec: TableSpec) -> None:
        """Add declared columns that the table lacks; a column it has and we don't know stays and is null for us."""
        table = DeltaTable(self.path(spec))
        check_features(spec, table)
        there = {f.name for f in table.schema().fields}
        missing = [c for c in spec.all_columns if c.name not in there]
        for column in missing:
            if column.since == 1 or not column.nullable:
                raise UnsupportedTableError(
                    f"Table `{spec.name}` in `{self.path(spec)}` lacks the column `{column.name}`, which each "
                    "release has had: it isn't a table of this package, or it is damaged."
                )
        if missing:
            table.alter.add_columns(
                [DeltaField(c.name, PrimitiveType(DELTA_TYPES[c.type]), nullable=True) for c in missing]
            )
            sync_log(self.path(spec), table.version() - 1, table.version())


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
