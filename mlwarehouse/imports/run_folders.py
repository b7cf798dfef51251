"""Loggers without a server, whose runs are folders: each is of the experiment that the folder around it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlwarehouse.imports.base import Oddity, SourceExperiment
from mlwarehouse.registry.importing import SourceModel


@dataclass
class RunFolders:
    """What sources have in common whose runs are folders below a place. See `Source`.

    Attributes:
        runs: The runs' folders, by their paths below the place.
    """

    place: str
    runs: Sequence[str]
    kind: str
    source_id: str = ""
    unit: str = "runs"
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the runs."""
        self.total = len(self.runs)

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        return [SourceExperiment(name, None, name) for name in sorted(set(map(self.experiment_of, self.runs)))]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def experiment_of(self, run: str) -> str:
        """The name of the folder that a run's folder is in."""
        return Path(self.place, run).parent.name
