"""How many rows a model is given at once: as many as it answers in reasonable time and as fit into memory."""

from __future__ import annotations

import pyarrow as pa

FIRST_ROWS = 1024
"""Rows of a worker's first call: few enough for a large model, and soon more for a small one."""

MOST_BYTES = 64 << 20
"""Bytes of input of one call."""

LEAST_S, MOST_S = 0.1, 1.0
"""A call that took less is followed by one of twice as many rows, and one that took more by one of half as many: what a
call itself costs is small beside that, and what the model holds meanwhile stays small."""


class BatchSize:
    """Rows a call, from the time that the last calls took."""

    def __init__(self, rows: int | None = None) -> None:
        """Begin; a number of rows that is given stays as it is."""
        self._is_fixed = rows is not None
        self._rows = rows or FIRST_ROWS

    def of(self, rows: pa.Table) -> int:
        """How many of these rows to give at once; 1 at least."""
        if self._is_fixed or not rows.num_rows:
            return self._rows
        row_bytes = rows.nbytes / rows.num_rows
        return max(1, min(self._rows, int(MOST_BYTES / row_bytes) if row_bytes else self._rows))

    def took(self, n_rows: int, seconds: float) -> None:
        """Learn from a call of so many rows."""
        if self._is_fixed:
            return
        if seconds > MOST_S:
            self._rows = max(1, min(self._rows, n_rows) // 2)
        elif seconds < LEAST_S and n_rows >= self._rows:
            # A smaller call, such as the last of a batch, says nothing of a larger one.
            self._rows *= 2
