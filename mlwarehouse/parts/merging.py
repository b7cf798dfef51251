"""The part of a warehouse that takes in another one, and hands itself out as a folder of files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base
from mlwarehouse.parts.modelling import Modelling

if TYPE_CHECKING:
    from mlwarehouse.exports import ExportReport
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

    def export(
        self,
        target: str | Path,
        *,
        experiment_names: Sequence[str] | None = None,
        on_progress: Told | None = None,
    ) -> ParquetExport | ExportReport:
        """Hand out what is here: as one folder of Parquet files, or to a server that speaks MLflow's REST API.

        `merge` brings a folder back. A server gets what it lacks: again sends only what came since.

        Args:
            target: A folder that isn't there; or a server's address, as ``http://…`` or ``https://…``.
            experiment_names: Of a server: the experiments whose runs are sent, without models; None sends everything.
            on_progress: Told what is done: each table, or how many of the runs.

        Returns:
            What was written, a `ParquetExport`; or what was sent, an `ExportReport`.

        Raises:
            InvalidInputError: Something is in the folder's place; or a folder was given and experiments.
            NotFoundError: There is no such experiment.
            WarehouseNotFoundError: There is no warehouse.
            StorageError: It couldn't be written, and nothing is there; or the server doesn't answer or let us, and what
                was sent by then stays.
        """
        from mlwarehouse.merging import export_parquet

        state = _committed(self)
        if str(target).startswith(("http://", "https://")):
            from mlwarehouse.exports import export_to
            from mlwarehouse.imports.rest_client import RestClient

            return export_to(
                RestClient(str(target)),
                engine=state.engine,
                reading=state.reading,
                store=state.store,
                registry=self.registry,
                warehouse_id=state.warehouse_id,
                experiment_names=experiment_names,
                on_progress=on_progress,
            )
        if experiment_names is not None:
            raise InvalidInputError("A folder of Parquet files gets all experiments; leave `experiment_names` out.")
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
