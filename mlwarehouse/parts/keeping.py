"""The part of a warehouse that looks after it: maintenance, health, repair, snapshots, purge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlwarehouse.parts.engines import means_spark
from mlwarehouse.parts.maintainer import maintainer_lock
from mlwarehouse.parts.pinning import Pinning
from mlwarehouse.parts.purging import Purging
from mlwarehouse.parts.repairing import Repairing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlwarehouse.engines.embedded_fold_parts import FoldParts
    from mlwarehouse.engines.embedded_maintain import Maintained


class Keeping(Repairing, Pinning, Purging):
    """Maintenance and health."""

    def maintain(
        self,
        progress: Callable[[Maintained], None] | None = None,
        *,
        engine: str | SparkSession = "embedded",
    ) -> list[Maintained]:
        """Merge small files, write checkpoints, take up kept folds, and remove files that no version needs any more.

        The committer does the same in the background, in small steps. Readers of older versions keep their files for a
        week, and those of a kept snapshot until it is released.

        Args:
            progress: Told of each table when it is done.
            engine: Who merges and folds: ``embedded``, within this process; or, for tables larger than its memory,
                ``spark`` or a Spark session.

        Returns:
            What was done, table by table.

        Raises:
            ConflictError: Another process is at it.
            InvalidInputError: There is no such engine; or it is Spark, and the warehouse isn't in a local folder.
            StorageError: A table couldn't be maintained; it is as it was.
        """
        from mlwarehouse.engines.embedded_fold_parts import fold_here
        from mlwarehouse.engines.embedded_maintain import maintain
        from mlwarehouse.engines.embedded_states import refresh
        from mlwarehouse.engines.pins import pinned_files
        from mlwarehouse.tables import TABLES

        session = self.spark_session(engine) if means_spark(engine) else None
        self.flush()
        tables = self.engine().tables
        options: dict[str, Any] = {}
        fold: FoldParts = fold_here
        if session is not None:
            from mlwarehouse.engines.spark_folding import folding
            from mlwarehouse.engines.spark_maintain import merging

            options, fold = merging(session), folding(session)
        with maintainer_lock(self.storage) as held:
            done = []
            for spec in TABLES:
                pinned = pinned_files(self.storage, spec.name)
                done.append(maintain(tables, spec, pinned=pinned, now=held.now, **options))
                if progress is not None:
                    progress(done[-1])
            refresh(tables, least_rows=1, fold=fold)
            return done
