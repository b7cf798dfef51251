"""The tables of a warehouse through delta-rs: creating, evolving, checking, versions and files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded_cache import FileCache
from mlwarehouse.engines.embedded_commit import reason
from mlwarehouse.engines.embedded_follow import NewestTable, TableLog, has_reached, open_table
from mlwarehouse.engines.embedded_past import gone
from mlwarehouse.engines.embedded_schema import check_features, check_known, check_writable, evolve_table, make_table
from mlwarehouse.engines.embedded_tail import Known, added_by_version, added_names, feed_gone
from mlwarehouse.engines.pins import read_pins
from mlwarehouse.errors import StorageError
from mlwarehouse.storage import LocalStorage, Storage, storage_of
from mlwarehouse.tables import TableSpec

T = TypeVar("T")


class EmbeddedTables:
    """Handles of a warehouse's tables, one a table, brought up to date when asked.

    Threads may share it: the handles are guarded by one lock.

    Attributes:
        storage: Where the tables are.
        is_remote: Whether they are in an object store, so that files are asked as copies.
        entries: What is known of log entries there, see `embedded_tail`.
        marks: Likewise, see `embedded_covers.mark`.
    """

    def __init__(self, folder: Path | Storage) -> None:
        """Look at the tables under ``folder``; nothing is opened yet."""
        self.storage = storage_of(folder)
        # Files in a local folder are read where they are.
        self._cache = None if isinstance(self.storage, LocalStorage) else FileCache(self.storage)
        self._handles: dict[str, NewestTable] = {}
        self._logs: dict[str, TableLog] = {}
        self._lock = threading.Lock()
        self.is_remote = self._cache is not None
        self.entries: Known = {}
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
                    evolve_table(place, spec)
                else:
                    make_table(place, spec)
            except (DeltaError, OSError) as error:
                raise StorageError(f"Table `{spec.name}` can't be created in `{place.uri}`: {reason(error)}") from error

    def handle(self, spec: TableSpec) -> DeltaTable:
        """The table at its newest version. Shared: don't load another version on it.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features that this release must not read.
        """
        return self._newest(spec, NewestTable.get)

    def version(self, spec: TableSpec) -> int:
        """The newest version of a table; raises as `handle` does."""
        return self._newest(spec, NewestTable.version)

    def _newest(self, spec: TableSpec, ask: Callable[[NewestTable], T]) -> T:
        with self._lock:
            if spec.name not in self._handles:
                self._handles[spec.name] = NewestTable(self.place(spec), lambda table: check_features(spec, table))
            handle = self._handles[spec.name]
            try:
                try:
                    return ask(handle)
                except TableNotFoundError:
                    raise
                except (DeltaError, OSError):
                    # So old that the log has been cleaned up behind it, perhaps: open anew, once.
                    return ask(handle)
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
                self._logs[spec.name] = TableLog(self.path(spec), lambda table: check_writable(spec, table))
            log = self._logs[spec.name]
        try:
            log.follow()
        except (DeltaError, OSError) as error:
            raise self._unreadable(spec, error) from error
        return log

    def has_applied(self, spec: TableSpec, txns: Sequence[Txn]) -> bool:
        """Whether a table has one of these transactions already, so that a commit with them adds nothing.

        Raises:
            StorageError: The table isn't there or can't be read.
            UnsupportedTableError: It has features, or columns of a later release, that this one must not write.
        """
        # The look at the table comes first also without transactions: it checks what may be written at all.
        log = self.log(spec)
        if log is not None:
            try:
                return any(log.has(txn) for txn in txns)
            except (DeltaError, OSError) as error:
                raise self._unreadable(spec, error) from error
        table = self.handle(spec)
        check_known(spec, table)
        return any(has_reached(table.transaction_version(txn.app_id), txn) for txn in txns)

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
        found, names, newest = self._names(spec, version)
        try:
            return found, self.here(spec, names)
        except FileNotFoundError as error:
            if found != newest:
                raise gone(self.place(spec), spec, found, newest, "files of it are gone") from error
            raise self._unfetched(spec, error) from error
        except OSError as error:
            raise self._unfetched(spec, error) from error

    def names_at(self, spec: TableSpec, version: int) -> list[str]:
        """The names of a version's files in the table's folder, which are all there.

        Raises:
            SnapshotGoneError: That version can't be read any more, or never was there.
            StorageError: The table can't be read.
        """
        _, names, newest = self._names(spec, version)
        if self.is_remote and version != newest:
            try:
                there = set(self.place(spec).names())
            except OSError as error:
                raise self._unreadable(spec, error) from error
            self._refuse_missing(spec, version, newest, names, sum(name not in there for name in names))
        return [name.rpartition("/")[2] for name in names]

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
        try:
            found = added_by_version(self.place(spec), spec, after, until, self.entries)
            paths = self.here(spec, [name for _, name in found])
        except FileNotFoundError as error:
            raise feed_gone(spec, after, "a file was replaced by maintenance long ago and is removed") from error
        except OSError as error:
            raise self._unfetched(spec, error) from error
        return [(version, path) for (version, _), path in zip(found, paths, strict=True)]

    def added_files(self, spec: TableSpec, after: int | None, until: int) -> list[str] | None:
        """As `added`, for those who can start over from all that there is.

        Args:
            spec: The table.
            after: The version behind which to look; None for all from the first on.
            until: The last version to look at.

        Returns:
            Absolute paths of the files, or of copies of them; None when it can't be told any more: a log entry or a
            file is gone, or rows were removed.

        Raises:
            OSError: The storage can't be reached.
        """
        try:
            found = added_names(self.place(spec), spec, -1 if after is None else after, until, self.entries)
            paths = self.here(spec, [name for _, name in found])
        except (LookupError, FileNotFoundError):
            return None
        return paths if self.is_remote or all(Path(path).exists() for path in paths) else None

    def _names(self, spec: TableSpec, version: int | None) -> tuple[int, list[str], int]:
        """One version of a table, the names of its files, and the newest version.

        Files of an older version in a local folder are there; in an object store they aren't looked for.
        """
        place, table = self.place(spec), self.handle(spec)
        with self._lock:
            newest = table.version()
            if version is None or version == newest:
                return newest, _names_of(place, table), newest
        try:
            names = _names_of(place, open_table(place, version=version))
        except (DeltaError, OSError) as error:
            kept = self._pinned(spec, version)
            if kept is None:
                raise gone(place, spec, version, newest, reason(error).rstrip(".")) from error
            names = kept
        if not self.is_remote:
            n_missing = sum(not Path(path).exists() for path in self.here(spec, names))
            self._refuse_missing(spec, version, newest, names, n_missing)
        return version, names, newest

    def _refuse_missing(self, spec: TableSpec, version: int, newest: int, names: Sequence[str], n_missing: int) -> None:
        if n_missing:
            why = f"{n_missing} of its {len(names)} files are gone"
            raise gone(self.place(spec), spec, version, newest, why)

    def _unfetched(self, spec: TableSpec, error: OSError) -> StorageError:
        return StorageError(f"Files of table `{spec.name}` can't be fetched: {reason(error)}")

    def here(self, spec: TableSpec, names: Sequence[str]) -> list[str]:
        """Absolute local paths of files of a table, or of copies of them, in the same order.

        Raises:
            OSError: A file can't be fetched. (One in a local folder isn't looked for.)
        """
        if self._cache is None:
            folder = self.place(spec).uri
            # delta-rs resolves links: files of a table behind one have names of their own.
            return [name if name.startswith("/") else f"{folder}/{name}" for name in names]
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
        """The files of a version, if a kept snapshot names them: it outlives the log."""
        for pin in read_pins(self.storage.parent).values():
            if pin.kept.snapshot.versions.get(spec.name) == version:
                return list(pin.files[spec.name])
        return None


def _names_of(place: Storage, table: DeltaTable) -> list[str]:
    # delta-rs gives paths as parts of addresses, where a space is %20.
    root = f"{place.uri}/"
    return [unquote(uri.removeprefix("file://")).removeprefix(root) for uri in table.file_uris()]
