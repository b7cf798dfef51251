"""The plan of a batch: what it holds, decided and written down before it is committed.

A batch goes into several tables, one commit each, under one transaction number. Whoever finds a plan after a crash
builds the same rows from the same stretches and commits them to the tables that lack the number: never twice, never
not at all. Readers use the plan to know which stretches a table's version already holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.disk import replace
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.decode import rows_of
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.ingest.spool_reader import Slots

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Plan:
    """One batch.

    Attributes:
        batch: Its number: the transaction number of its commits.
        recorded_at: When it is recorded, microseconds since the epoch; grows with each batch.
        before: Index of the first slot in the batch, by segment file name; segments that aren't named start at 0.
        after: Index of the first slot behind the batch, likewise.
        experiments: Ids written instead of others, see `decode.rows_of`.
        rows: How many rows the batch has, by table: what was found again after a crash must be as many.
        floors: Sequence numbers that a table already has, by table and writer; only in the batch that follows the loss
            of a plan, see `recover`.
        spool_id: The spool whose plan it is: numbers of another one mean nothing.
    """

    batch: int = 0
    recorded_at: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    experiments: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    floors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    spool_id: str = ""

    def write(self, folder: SpoolFolder) -> None:
        """Make this the spool's plan, durably."""
        text = json.dumps(asdict(self))
        replace(folder.plan_path, text.encode())


def planned_rows(plan: Plan, stretches: Iterable[Slots]) -> dict[str, pa.Table]:
    """The rows of a plan's batch, by table, from the stretches that it names."""
    return rows_of(stretches, recorded_at=plan.recorded_at, experiments=plan.experiments, floors=plan.floors)


def read_plan(folder: SpoolFolder) -> Plan:
    """The spool's plan; batch 0, which holds nothing, where there is none yet.

    Raises:
        StorageError: The file is there and isn't a plan.
    """
    path: Path = folder.plan_path
    try:
        return Plan(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Plan()
    except (ValueError, TypeError) as error:
        raise StorageError(f"The spool's plan `{path}` is damaged: {error}. Run `mlwarehouse sync`.") from error
