"""The part of a warehouse that imports what other trackers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError, WarehouseNotFoundError, did_you_mean
from mlwarehouse.location import MARKER
from mlwarehouse.parts.modelling import Modelling

if TYPE_CHECKING:
    from mlwarehouse.imports import ImportReport, Progress

ARTIFACTS = ("copy", "leave")
"""What may become of artifacts."""


class Importing(Modelling):
    """Bringing in what other trackers have."""

    def import_(
        self,
        source: str | Path,
        *,
        kind: str | None = None,
        source_id: str | None = None,
        artifacts: str = "copy",
        columns: Mapping[str, str] | None = None,
        dry_run: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> ImportReport:
        """Import another tracker's runs and models: ids, times, statuses, steps and deleted state as they were.

        Importing again adds what is new there; after an import was killed it goes on where it was. What can't be read
        is told in the report and keeps nothing else from coming.

        Args:
            source: The place: a folder, a file, or an address.
            kind: The kind of source, as in the docs; None finds out.
            source_id: The source's name in the warehouse; None makes one of kind and place. Give the old one for a
                source that has moved.
            artifacts: ``copy`` stores the bytes of artifacts that are at hand; ``leave`` brings none.
            columns: What columns of a table are, by name or pattern: ``run_id``, ``run_name``, ``experiment``,
                ``user``, ``status``, ``started_at``, ``ended_at``, ``parent_run_id``, ``step``, ``timestamp``,
                ``param``, ``metric``, ``tag`` or ``ignore``. Of others their names tell, see the docs.
            dry_run: Only say what would come.
            on_progress: Told how far it is.

        Returns:
            What was found, what was added, and what wasn't as it should be.

        Raises:
            InvalidInputError: Nothing here can read the source, or an argument isn't one of those that there are.
            StorageError: A commit failed; what was added by then stays.
            StoreRefusedError: The artifact store takes no file.
        """
        from mlwarehouse.imports import find_source, import_from
        from mlwarehouse.imports.importer import Target
        from mlwarehouse.imports.mlflow_server import MlflowServer
        from mlwarehouse.imports.tables import Table
        from mlwarehouse.merging import is_parquet_export

        if artifacts not in ARTIFACTS:
            raise InvalidInputError(
                f"Artifacts are `copy` or `leave`; got `{artifacts}`.{did_you_mean(artifacts, ARTIFACTS)}"
            )
        if kind is None and (is_parquet_export(source) or Path(source, MARKER).is_file()):
            raise InvalidInputError(f"`{source}` is a warehouse; bring it in by `mlwarehouse merge`, or `merge`.")
        opened = find_source(str(source), kind)
        if columns is not None:
            if not isinstance(opened, Table):
                raise InvalidInputError(
                    f"Columns are named for tables; `{source}` is a source of kind `{opened.kind}`."
                )
            opened.columns = columns
            # Before anything is made.
            opened.experiments()
        if isinstance(opened, MlflowServer):
            opened.wants_files = artifacts == "copy"
        if not dry_run:
            self.create()
        try:
            engine = self.engine()
        except WarehouseNotFoundError:
            engine = None
        target = Target(
            engine=engine,
            registry=None if engine is None else self.registry,
            reading=self.reading,
            store=self.artifact_store() if artifacts == "copy" and engine is not None else None,
            copies=artifacts == "copy",
            writes=not dry_run,
        )
        opened.source_id = source_id or f"{opened.kind}:{opened.place}"
        return import_from(opened, target, on_progress=on_progress)
