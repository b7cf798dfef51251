"""The part of a warehouse that takes in another one, and hands itself out as a folder of files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base
from mlwarehouse.parts.modelling import Modelling

if TYPE_CHECKING:
    from mlwarehouse.merging import MergeReport, Other, ParquetExport

Told = Callable[[str, int, int], None]
"""Told a table that is done, and the how-manieth of how many it is."""


class Merging(Modelling):
    """Merging warehouses."""

    def merge(self, other: str | Path | Base, *, dry_run: bool = False, on_progress: Told | None = None) -> MergeReport:
        """Bring what another warehouse has and this one lacks; the other one stays as it is.

        All comes as it was: ids, times, who wrote it and when it was recorded. Merging again brings what was logged
        there since, and where nothing was, nothing; after a merge was killed it goes on where it was.

        Args:
            other: A warehouse, its address, or a folder that `export` wrote.
            dry_run: Only say what would come.
            on_progress: Told each table that is done, and the how-manieth of how many it is.

        Returns:
            What came, and what couldn't come as it was.

        Raises:
            InvalidInputError: It is this warehouse; or the folder is an export that can't be read.
            WarehouseNotFoundError: Nothing is there; or, on a dry run, here.
            StorageError: A commit failed; what was brought by then stays.
            StoreRefusedError: The artifact store takes no file.
            ConcurrentChangeError: Others changed models all the time; what was brought by then stays.
        """
        from mlwarehouse.merging import merge_from

        with self._opened(other) as found:
            if not dry_run:
                self.create()
            return merge_from(
                found,
                engine=self.engine(),
                registry=self.registry,
                store=self.artifact_store(),
                reading=self.reading,
                writes=not dry_run,
                on_progress=on_progress,
            )

    def export(self, target: str | Path, *, on_progress: Told | None = None) -> ParquetExport:
        """Write all there is into one folder of Parquet files, from which `merge` brings it back.

        Args:
            target: A folder that isn't there.
            on_progress: Told each table that is done, and the how-manieth of how many it is.

        Returns:
            What was written.

        Raises:
            InvalidInputError: Something is there.
            WarehouseNotFoundError: There is no warehouse.
            StorageError: It couldn't be written; then nothing is there.
        """
        from mlwarehouse.merging import export_parquet

        state = _committed(self)
        return export_parquet(
            Path(target).expanduser(),
            engine=self.engine(),
            store=state.store,
            warehouse_id=state.warehouse_id,
            reading=state.reading,
            on_progress=on_progress,
        )

    @contextmanager
    def _opened(self, other: str | Path | Base) -> Iterator[Other]:
        from mlwarehouse.merging import is_parquet_export, open_parquet_export

        if not isinstance(other, Base) and is_parquet_export(other):
            from mlwarehouse.engines.embedded import EmbeddedEngine

            with tempfile.TemporaryDirectory(prefix="mlwarehouse-export-") as scratch:
                engine = EmbeddedEngine(Path(scratch))
                try:
                    yield open_parquet_export(Path(other).absolute(), engine)
                finally:
                    engine.close()
            return
        found = other if isinstance(other, Base) else Base(other)
        if found.uri == self.uri:
            raise InvalidInputError(f"`{self.uri}` is this warehouse itself; merge another one into it.")
        yield _committed(found)


def _committed(warehouse: Base) -> Other:
    """A warehouse at the state that it has now, with all that was logged to it on this machine."""
    from mlwarehouse.engines.base import Reading
    from mlwarehouse.merging import Other

    warehouse.flush()
    return Other(
        uri=warehouse.uri,
        warehouse_id=warehouse.warehouse_id,
        engine=warehouse.engine(),
        store=warehouse.artifact_store(),
        reading=Reading(versions=warehouse.versions()),
    )
