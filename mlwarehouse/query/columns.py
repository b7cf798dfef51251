"""Which columns a search's frame has, and what must be loaded for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlwarehouse.errors import FilterError, NotFoundError
from mlwarehouse.query.fields import FRAME_ATTRIBUTES, Kind
from mlwarehouse.query.names import Name, WrittenName, read_column

WILDCARDS: dict[str, Kind] = {"metrics.*": "metric", "params.*": "param", "tags.*": "tag"}
"""Columns that stand for all of a kind, in the order they have in a frame."""


@dataclass(frozen=True)
class WrittenColumns:
    """The columns as asked for: each an entry of `WILDCARDS`, or a title with its name."""

    entries: tuple[tuple[str, WrittenName | None], ...]

    @property
    def doubtful_keys(self) -> list[str]:
        """The series whose existence decides what a column means."""
        return [name.doubtful_key for _, name in self.entries if name is not None and name.doubtful_key is not None]

    def meaning(self, known_series: Collection[str]) -> Columns:
        """What the columns mean, given which of the doubtful series exist."""
        return Columns(
            tuple((title, None if name is None else name.meaning(known_series)) for title, name in self.entries)
        )


@dataclass(frozen=True)
class Columns:
    """The columns of a frame: each an entry of `WILDCARDS` (with None), or a title with what it means."""

    entries: tuple[tuple[str, Name | None], ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that are needed; always with the run's id."""
        names = [name.key for _, name in self.entries if name is not None and name.kind == "attribute"]
        return tuple(dict.fromkeys(["run_id", *names]))

    def keys(self, kind: Kind) -> list[str] | None:
        """The keys to load of a kind; None for all."""
        if any(WILDCARDS.get(title) == kind for title, name in self.entries if name is None):
            return None
        names = [name for _, name in self.entries if name is not None and name.kind == kind and name.step is None]
        return list(dict.fromkeys(name.key for name in names))

    @property
    def at_steps(self) -> dict[int, list[str]]:
        """The series whose values at a step are to be loaded, by step."""
        result: dict[int, list[str]] = {}
        for _, name in self.entries:
            if name is not None and name.step is not None:
                result.setdefault(name.step, []).append(name.key)
        return result

    @property
    def stats(self) -> list[str]:
        """The statistics of metrics to load."""
        metrics = [name for _, name in self.entries if name is not None and name.kind == "metric"]
        asked = {name.stat for name in metrics if name.step is None}
        return sorted(asked | ({"last"} if self.keys("metric") is None else set()))


def read_columns(columns: Sequence[str] | None) -> WrittenColumns:
    """Read the columns asked for.

    Args:
        columns: Titles; None for MLflow's: the attributes, then all metrics, params and tags.

    Raises:
        NotFoundError: An unknown attribute or prefix.
    """
    titles = (*FRAME_ATTRIBUTES, *WILDCARDS) if columns is None else tuple(dict.fromkeys(columns))
    try:
        return WrittenColumns(tuple((title, None if title in WILDCARDS else read_column(title)) for title in titles))
    except FilterError as error:
        raise NotFoundError(str(error)) from error
