"""What all predictions of one scoring have in common."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scoring:
    """What is the same for every prediction of one scoring.

    Attributes:
        source_id: Names the scoring. Used as the application id of the append's transaction, it makes a repeated
            scoring add nothing.
        dataset: The name of what is scored; labels of the same name join to it.
        model_name: The registered model, or None for a model scored straight from a run.
        model_version: Its version, or None.
        run_id: The run that made the model.
        input_table: The table or query that is scored, where it has a name.
        input_version: The scored Delta table's version, where it is one.
    """

    source_id: str
    dataset: str
    model_name: str | None = None
    model_version: int | None = None
    run_id: str | None = None
    input_table: str | None = None
    input_version: int | None = None

    @property
    def writer_id(self) -> str:
        """The `writer_id` of its rows."""
        return f"score:{self.source_id}"

    def constants(self, digest: str, now: dt.datetime) -> dict[str, Any]:
        """The columns whose values are the same in each row, by name."""
        return {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "model_digest": digest,
            "run_id": self.run_id,
            "dataset": self.dataset,
            "input_table": self.input_table,
            "input_version": self.input_version,
            "latency_us": None,
            "event_at": now,
            "recorded_at": now,
            "writer_id": self.writer_id,
        }
