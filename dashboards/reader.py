"""How the pages reach the warehouse: questions, answered once per table versions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .memo import Memo

if TYPE_CHECKING:
    import pandas as pd

CLOCK_S = 60
"""How long an answer that depends on the present moment (whether a run is lost) is good for."""

LOOK_S = 1.0
"""How long the table versions last seen are taken for the newest: the panels of a page ask once for all."""

MAX_RUNS = 1_000_000
"""The most runs a grid scrolls over."""


class Warehouse(Protocol):
    """What the dashboards ask of a warehouse."""

    def sql(self, text: str, /, *, parameters: Mapping[str, Any] | None = None) -> Any:
        """Answer a `SELECT`; ``$name`` marks a parameter."""
        ...

    def search_runs(
        self,
        *,
        experiment_ids: Sequence[str] | None = None,
        filter_string: str = "",
        max_results: int = MAX_RUNS,
        order_by: Sequence[str] | None = None,
        search_all_experiments: bool = False,
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Find runs: a frame with the columns asked for."""
        ...

    def metric_history(self, run_ids: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
        """Every point of some metrics of some runs."""
        ...

    def versions(self) -> Mapping[str, int]:
        """The newest version of each table, by name."""
        ...


class Reader:
    """Asks a warehouse and remembers the answers; it holds no choices and any number of visitors share it."""

    def __init__(self, warehouse: Warehouse) -> None:
        """Read from `warehouse`."""
        self._warehouse = warehouse
        self._memo = Memo()
        self._seen: tuple[float, str] | None = None

    def versions(self) -> str:
        """A word that changes with every commit to any table, looked up at most once in `LOOK_S` seconds."""
        now, seen = time.monotonic(), self._seen
        if seen is None or now - seen[0] >= LOOK_S:
            versions = self._warehouse.versions()
            seen = (now, ",".join(f"{name}:{versions[name]}" for name in sorted(versions)))
            self._seen = seen
        return seen[1]

    def moment(self) -> str:
        """A word that changes with every commit and every `CLOCK_S` seconds."""
        return f"{self.versions()}@{self._moment()}"

    def frame(self, text: str, parameters: Mapping[str, Any] | None = None, *, is_timed: bool = False) -> pd.DataFrame:
        """Answer a `SELECT`.

        Args:
            text: The question; ``$name`` marks a parameter.
            parameters: Values of the marks.
            is_timed: Whether the answer depends on the present moment, and so ages by itself.

        Returns:
            The rows; columns may be added to the frame, its values may not be written to.

        Raises:
            SqlError: The engine refused the question.
        """
        given = dict(parameters or {})
        key = (text, tuple(sorted(given.items())), self._moment() if is_timed else None, self.versions())
        return self._shared(key, lambda: self._warehouse.sql(text, parameters=given or None))

    def run_ids(self, experiments: tuple[str, ...], filter_string: str, order_by: tuple[str, ...]) -> list[str]:
        """The runs that a filter lets through, in order.

        Args:
            experiments: Ids of the experiments to look at; empty means all.
            filter_string: A filter in the warehouse's filter language.
            order_by: Entries such as ``metrics.loss ASC``; the newest run comes first without one.

        Returns:
            Up to `MAX_RUNS` run ids.

        Raises:
            FilterError: The filter or an entry of the order can't be understood.
            NotFoundError: An experiment isn't there.
        """

        def search() -> list[str]:
            found = self._warehouse.search_runs(
                experiment_ids=list(experiments) or None,
                search_all_experiments=not experiments,
                filter_string=filter_string,
                order_by=list(order_by) or None,
                max_results=MAX_RUNS,
                columns=["run_id"],
            )
            return [str(run_id) for run_id in found["run_id"]] if len(found) else []

        answer: list[str] = self._memo.get(("runs", experiments, filter_string, order_by, self.versions()), search)
        return answer

    def points(self, run_ids: tuple[str, ...], key: str) -> pd.DataFrame:
        """Every point of one metric of some runs.

        Returns:
            Columns as of `Warehouse.metric_history`: run_id, key, step, value, timestamp, context, attempt.

        Raises:
            NotFoundError: No such run or metric.
        """
        return self._shared(
            ("points", run_ids, key, self.versions()),
            lambda: self._warehouse.metric_history(run_ids=list(run_ids), keys=[key]),
        )

    def _shared(self, key: Any, ask: Any) -> pd.DataFrame:
        answer: pd.DataFrame = self._memo.get(key, ask)
        # A shallow copy: columns that a caller adds stay its own.
        return answer.copy(deep=False)

    @staticmethod
    def _moment() -> int:
        return int(time.time() // CLOCK_S)
