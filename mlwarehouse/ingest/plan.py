"""The plan of a batch: what it holds, decided and written down before it is committed.

A batch goes into several tables, one commit each, under one transaction number. Whoever finds a plan after a crash
builds the same rows from the same stretches and commits them to the tables that lack the number: never twice, never
not at all. Readers use the plan to know which stretches a table's version already holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.spool_folder import SpoolFolder, replace


@dataclass(frozen=True)
class Plan:
    """One batch.

    Attributes:
        batch: Its number: the transaction number of its commits.
        recorded_at: When it is recorded, microseconds since the epoch; grows with each batch.
        before: Index of the first slot in the batch, by segment file name; segments that aren't named start at 0.
        after: Index of the first slot behind the batch, likewise.
        experiments: Ids written instead of others, see `decode.rows_of`.
    """

    batch: int = 0
    recorded_at: int = 0
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    experiments: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: SpoolFolder) -> None:
        """Make this the spool's plan, durably."""
        text = json.dumps(
            {
                "batch": self.batch,
                "recorded_at": self.recorded_at,
                "before": dict(self.before),
                "after": dict(self.after),
                "experiments": dict(self.experiments),
            }
        )
        replace(folder.plan_path, text)


def read_plan(folder: SpoolFolder) -> Plan:
    """The spool's plan; batch 0, which holds nothing, where there is none yet.

    Raises:
        StorageError: The file is there and isn't a plan.
    """
    path: Path = folder.plan_path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Plan(
            batch=int(values["batch"]),
            recorded_at=int(values["recorded_at"]),
            before=values["before"],
            after=values["after"],
            experiments=values["experiments"],
        )
    except FileNotFoundError:
        return Plan()
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"The spool's plan `{path}` is damaged: {error}. Run `mlwarehouse doctor`.") from error
