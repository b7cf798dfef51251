"""The columns a grid of runs can have, and the words for them in the URL.

A column's token is its kind and its name: ``attributes.status``, ``metrics.val/loss`` (the latest value),
``min.val/loss`` and ``max.val/loss`` (the extremes), ``params.lr``, ``tags.team``.
"""

from __future__ import annotations

from dataclasses import dataclass

METRIC_KINDS = {"metrics": "last", "min": "min", "max": "max"}
"""The kinds that show a metric, with the column of `metric_summaries` that each shows."""

ATTRIBUTES: dict[str, str] = {
    "run_name": "Run",
    "experiment_name": "Experiment",
    "outcome": "Status",
    "started_at": "Started",
    "duration_s": "Duration",
    "user_id": "User",
    "run_id": "Run id",
}
"""The columns every run has, with their headers."""

_ORDER_FIELDS = {"outcome": "status", "started_at": "start_time"}


@dataclass(frozen=True)
class GridColumn:
    """One column of the grid.

    Attributes:
        kind: ``attributes``, ``metrics``, ``min``, ``max``, ``params`` or ``tags``.
        name: The attribute, the metric series, or the key of the param or tag.
    """

    kind: str
    name: str

    @property
    def token(self) -> str:
        """Its word in the URL, in the chooser and as the grid's field."""
        return f"{self.kind}.{self.name}"

    @property
    def label(self) -> str:
        """Its header."""
        if self.kind == "attributes":
            return ATTRIBUTES[self.name]
        return f"{self.name} ({self.kind})" if self.kind in ("min", "max") else self.name

    @property
    def is_metric(self) -> bool:
        """Whether it shows a number of `metric_summaries`."""
        return self.kind in METRIC_KINDS

    def order_by(self, direction: str) -> str | None:
        """An `order_by` entry for `search_runs`.

        Args:
            direction: ``asc`` or ``desc``.

        Returns:
            The entry, or None where the filter language has no word for the column.
        """
        if self.kind == "attributes":
            field = f"attributes.{_ORDER_FIELDS.get(self.name, self.name)}"
        elif "`" in self.name:
            return None
        elif self.is_metric:
            suffix = "" if self.kind == "metrics" else f".{self.kind}"
            field = f"metrics.`{self.name}`{suffix}"
        else:
            field = f"{self.kind}.`{self.name}`"
        return f"{field} {direction.upper()}"


def parse_column(token: str) -> GridColumn | None:
    """The column a token stands for, or None when it stands for none."""
    kind, _, name = token.partition(".")
    if not name or kind not in ("attributes", "params", "tags", *METRIC_KINDS):
        return None
    if kind == "attributes" and name not in ATTRIBUTES:
        return None
    return GridColumn(kind, name)
