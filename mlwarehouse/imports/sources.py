"""The sources there are, and finding the one that a place is."""

from __future__ import annotations

from importlib.metadata import entry_points

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.imports.base import Source, SourceKind
from mlwarehouse.imports.csv_logger import CSV_LOGGER
from mlwarehouse.imports.dvclive import DVCLIVE
from mlwarehouse.imports.mlflow_db import MLFLOW_DB
from mlwarehouse.imports.mlflow_server import MLFLOW_SERVER
from mlwarehouse.imports.mlruns import MLRUNS
from mlwarehouse.imports.neptune import NEPTUNE
from mlwarehouse.imports.optuna import OPTUNA
from mlwarehouse.imports.tables import TABLE
from mlwarehouse.imports.tensorboard import TENSORBOARD
from mlwarehouse.imports.wandb import WANDB

SOURCES: tuple[SourceKind, ...] = (
    MLFLOW_SERVER,
    MLFLOW_DB,
    OPTUNA,
    MLRUNS,
    TENSORBOARD,
    WANDB,
    NEPTUNE,
    DVCLIVE,
    CSV_LOGGER,
    TABLE,
)
"""The kinds of sources, those first that are surest of what is theirs."""

ENTRY_POINTS = "mlwarehouse.import_sources"
"""The entry-point group of other packages' sources; the object is a `SourceKind`."""


def find_source(place: str, kind: str | None = None) -> Source:
    """Open a place.

    Args:
        place: A path or an address.
        kind: The kind of source; None finds out.

    Raises:
        InvalidInputError: There is no such kind, or nothing here can read the place.
    """
    kinds: dict[str, SourceKind] = {
        k.name: k for k in (*SOURCES, *(point.load() for point in entry_points(group=ENTRY_POINTS)))
    }
    if kind is not None:
        if kind not in kinds:
            raise InvalidInputError(
                f"There is no kind of source `{kind}`; it must be one of {', '.join(kinds)}.{did_you_mean(kind, kinds)}"
            )
        return kinds[kind].open(place)
    for each in kinds.values():
        if each.claims(place):
            return each.open(place)
    known = "; ".join(f"`{k.name}`: {k.what}" for k in kinds.values())
    raise InvalidInputError(
        f"`{place}` doesn't look like anything that can be imported. What can be: {known}. Name the kind if it is one."
    )
