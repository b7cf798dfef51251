"""Merging small files by Spark: for tables that outgrow one process's memory.

Workers read the files, sort and write new ones by the same staging as an append; the driver commits them in the place
of the old ones by the same commit as the embedded engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlwarehouse.engines.embedded_commit import StagedFile
from mlwarehouse.engines.embedded_replace import SmallFile
from mlwarehouse.engines.spark_staging import ROWS_PER_FILE, stage_frame
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TableSpec

GROUP_ROWS = 100_000_000
GROUP_BYTES = 4 << 30
"""At most this much is merged at once: what fails has to be done again."""


def merging(spark: Any) -> dict[str, Any]:
    """The options with which `embedded_maintain.maintain` merges on a Spark session.

    Args:
        spark: A `SparkSession` whose workers see the tables' folder.
    """

    def merge(place: Storage, spec: TableSpec, group: Sequence[SmallFile]) -> list[StagedFile]:
        path = place.folder("Spark")
        frame = spark.read.schema(_ddl(spec)).parquet(*(str(path / f.path) for f in group))
        n_files = -(-sum(f.n_rows for f in group) // ROWS_PER_FILE)
        # By range, so that files hold neighbours and their statistics prune; each worker sorts within its file.
        spread = frame.repartitionByRange(n_files, *spec.sort_by) if n_files > 1 else frame.coalesce(1)
        return stage_frame(path, spec, spread)

    return {"merge": merge, "group_rows": GROUP_ROWS, "group_bytes": GROUP_BYTES, "small_rows": ROWS_PER_FILE // 2}


_TYPES = {
    "string": "STRING",
    "long": "BIGINT",
    "integer": "INT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}


def _ddl(spec: TableSpec) -> str:
    """The declared columns; a file that is too old for one has null in it."""
    return ", ".join(f"`{c.name}` {_TYPES[c.type]}" for c in spec.all_columns)
