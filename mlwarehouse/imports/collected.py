"""A batch as it grows, run by run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from mlwarehouse.imports.base import (
    FILE_COLUMNS,
    INPUT_COLUMNS,
    PARAM_COLUMNS,
    POINT_COLUMNS,
    RUN_COLUMNS,
    Batch,
    rows,
)

LAST_SECOND = 253_402_300_799.0
"""Of the year 9999."""


def run_id_of(source_id: str, place: str) -> str:
    """The id of a run that has none: the same whenever the source is read.

    Args:
        source_id: The source's name in the warehouse.
        place: What names the run within the source.
    """
    return hashlib.sha256(f"{source_id}\0{place}".encode()).hexdigest()[:32]


def microseconds(seconds: float) -> int:
    """A time in seconds since the epoch as whole microseconds, within what a table can hold; 0 for none."""
    return int(min(max(seconds, 0.0), LAST_SECOND) * 1e6) if math.isfinite(seconds) else 0


class Collected:
    """Columns of a batch.

    Attributes:
        n_points: Points so far.
        files: Columns as in `FILE_COLUMNS`, for `add_files`.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._runs: dict[str, list[Any]] = {name: [] for name in RUN_COLUMNS}
        self._params: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self._tags: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self._points: dict[str, list[Any]] = {name: [] for name in POINT_COLUMNS}
        self.files: dict[str, list[Any]] = {name: [] for name in FILE_COLUMNS}

    @property
    def n_points(self) -> int:
        """Points so far."""
        return len(self._points["run_id"])

    def run(
        self,
        run_id: str,
        experiment: str,
        *,
        name: str | None,
        status: str,
        started_at: int,
        ended_at: int | None,
        deleted_at: int | None = None,
        user: str | None = None,
        parent_run_id: str | None = None,
    ) -> None:
        """Add a run; times in microseconds since the epoch."""
        row = (run_id, experiment, name, user, status, started_at, ended_at, deleted_at, parent_run_id)
        _append(self._runs, row)

    def params(self, run_id: str, given: Mapping[str, str]) -> None:
        """Add params of a run."""
        for key, value in given.items():
            _append(self._params, (run_id, key, value))

    def tags(self, run_id: str, given: Mapping[str, str]) -> None:
        """Add tags of a run."""
        for key, value in given.items():
            _append(self._tags, (run_id, key, value))

    def point(self, run_id: str, key: str, step: int, value: float, at: int) -> None:
        """Add a point."""
        _append(self._points, (run_id, key, step, value, at))

    def batch(self, n_done: int) -> Batch:
        """The batch.

        Args:
            n_done: How much of the source it is.
        """
        return Batch(
            runs=rows(RUN_COLUMNS, self._runs),
            params=rows(PARAM_COLUMNS, self._params),
            points=rows(POINT_COLUMNS, self._points),
            tags=rows(PARAM_COLUMNS, self._tags),
            inputs=rows(INPUT_COLUMNS),
            files=rows(FILE_COLUMNS, self.files),
            n_done=n_done,
        )


def _append(columns: Mapping[str, list[Any]], row: tuple[Any, ...]) -> None:
    for column, value in zip(columns.values(), row, strict=True):
        column.append(value)
