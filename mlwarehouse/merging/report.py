"""What a merge says afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlwarehouse.imports.base import Oddity, oddity_counts


@dataclass(frozen=True)
class MergeReport:
    """What a merge brought.

    Attributes:
        place: The other warehouse, or the folder.
        is_dry_run: Whether nothing was written; then the numbers are what would have come.
        experiments: Experiments that weren't here.
        runs: Runs that weren't here.
        models: Registered models that were new or had more to them.
        files: Artifacts' files that were copied.
        rows: Rows added, by table.
        oddities: What couldn't come as it was, and what became of each.
    """

    place: str
    is_dry_run: bool
    experiments: int
    runs: int
    models: int
    files: int
    rows: Mapping[str, int]
    oddities: Sequence[Oddity]

    def oddity_counts(self) -> dict[str, int]:
        """How many oddities there are of each kind, the most first."""
        return oddity_counts(self.oddities)

    def __str__(self) -> str:
        will = "would come" if self.is_dry_run else "came"
        counted = {"experiments": self.experiments, "runs": self.runs, "models": self.models, "files": self.files}
        came = ", ".join(f"{n:,} {name}" for name, n in counted.items())
        lines = [f"{self.place}: {came} {will}, {sum(self.rows.values()):,} rows"]
        lines += [f"  {name}: {n:,} rows" for name, n in self.rows.items() if n]
        lines += [f"  {o.kind}, {o.place}: {o.detail}" for o in self.oddities]
        return "\n".join(lines)
