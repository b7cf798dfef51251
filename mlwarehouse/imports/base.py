"""What a source is, and what it yields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.registry.importing import SourceModel

if TYPE_CHECKING:
    import pyarrow as pa

LOGGED_MODEL = "mlwarehouse.logged_model."
"""An experiment has a tag of this and the model's id for each model that its runs logged beside their files, as
MLflow 3 does; its value is what is known of it, as JSON."""

RUN_COLUMNS: Mapping[str, str] = {
    "run_id": "string",
    "experiment": "string",
    "name": "string",
    "user": "string",
    "status": "string",
    "started_at": "int64",
    "ended_at": "int64",
    "deleted_at": "int64",
    "parent_run_id": "string",
}
"""Of `Batch.runs`: ``experiment`` is a `SourceExperiment.key`; times are microseconds since the epoch, and a run
without ``deleted_at`` is active. Only ``run_id``, ``experiment``, ``status`` and ``started_at`` are never null."""

PARAM_COLUMNS: Mapping[str, str] = {"run_id": "string", "key": "string", "value": "string"}
"""Of `Batch.params` and `Batch.tags`."""

POINT_COLUMNS: Mapping[str, str] = {
    "run_id": "string",
    "key": "string",
    "step": "int64",
    "value": "double",
    "event_at": "int64",
}
"""Of `Batch.points`: all points that a series has so far, in the order logged. Texts may be dictionary-encoded."""

INPUT_COLUMNS: Mapping[str, str] = {
    "run_id": "string",
    "name": "string",
    "digest": "string",
    "context": "string",
    "source_type": "string",
    "source": "string",
    "schema": "string",
    "profile": "string",
}
"""Of `Batch.inputs`: as in the table `input_events`."""

FILE_COLUMNS: Mapping[str, str] = {
    "run_id": "string",
    "path": "string",
    "file": "string",
    "size_bytes": "int64",
    "changed_at": "int64",
}
"""Of `Batch.files`: ``path`` among the run's artifacts, and the local file that has the bytes, or what `Batch.fetch`
reads."""

Fetch = Callable[[str, BinaryIO], None]
"""Reads a file that isn't local: what names it, and what gets the bytes. Raises `StorageError`."""


@dataclass(frozen=True)
class Oddity:
    """Something in a source that isn't as it should be, and what became of it.

    Attributes:
        kind: A short name, the same for all of its kind.
        place: Where: a file, a run, an experiment.
        detail: What was found, and what was done.
    """

    kind: str
    place: str
    detail: str


def oddity_counts(oddities: Sequence[Oddity]) -> dict[str, int]:
    """How many oddities there are of each kind, the most first."""
    return dict(Counter(o.kind for o in oddities).most_common())


def oddity_lines(oddities: Sequence[Oddity]) -> list[str]:
    """A line for each kind of oddity, the most first, with the first one of it."""
    first = {o.kind: o for o in reversed(oddities)}
    return [
        f"  {n:,} × {kind}, the first in {first[kind].place}: {first[kind].detail}"
        for kind, n in oddity_counts(oddities).items()
    ]


@dataclass(frozen=True)
class SourceExperiment:
    """An experiment of a source.

    Attributes:
        key: Names it within the source, also where an id is there twice.
        experiment_id: Its id there; it is kept where it is free. None where the source has no ids.
        name: Its name there.
        is_deleted: Whether it was deleted.
        created_at: Microseconds since the epoch, if known.
        tags: Its tags.
    """

    key: str
    experiment_id: str | None
    name: str
    is_deleted: bool = False
    created_at: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Some runs with all that the source has of them.

    Attributes:
        runs: Columns as in `RUN_COLUMNS`.
        params: As in `PARAM_COLUMNS`.
        points: As in `POINT_COLUMNS`.
        tags: As in `PARAM_COLUMNS`.
        inputs: As in `INPUT_COLUMNS`.
        files: As in `FILE_COLUMNS`.
        n_done: How much of `Source.total` this batch is.
        continued: Runs of which more points come with the next batch, series going on where they are: a run with more
            points than fit into memory. What else there is of such a run, and the run itself, comes with its last one.
        are_distinct: That no two points of a run are alike, and that their order isn't the one in which they were
            logged: what is new of them is told by what they are, not by how many there are.
        fetch: Reads what the column ``file`` of `files` names; None where those are local files.
    """

    runs: pa.Table
    params: pa.Table
    points: pa.Table
    tags: pa.Table
    inputs: pa.Table
    files: pa.Table
    n_done: int
    continued: frozenset[str] = frozenset()
    are_distinct: bool = False
    fetch: Fetch | None = None


class Source(Protocol):
    """A place that things are imported from, opened for one import.

    Attributes:
        kind: The name of its kind.
        place: Where it is, in one form for all ways to write it.
        source_id: Its name in the warehouse; whoever opens it gives it one, before anything is asked. Ids that a source
            doesn't have are made of it.
        total: How much there is, in `unit`; the batches add up to it.
        unit: What is counted, such as ``runs``.
        oddities: What was found so far that isn't as it should be.
    """

    kind: str
    place: str
    source_id: str
    total: int
    unit: str
    oddities: list[Oddity]

    def experiments(self) -> Sequence[SourceExperiment]:
        """All experiments; an active one before deleted ones of its id or name."""
        ...

    def batches(self) -> Iterator[Batch]:
        """The runs."""
        ...

    def models(self) -> Sequence[SourceModel]:
        """The registered models."""
        ...


@dataclass(frozen=True)
class SourceKind:
    """A kind of source.

    Attributes:
        name: Its name, as in ``--kind``.
        what: What it reads, in a few words.
        claims: Whether a place looks like one.
        open: Opens a place. Raises `InvalidInputError` where it isn't one.
    """

    name: str
    what: str
    claims: Callable[[str], bool]
    open: Callable[[str], Source]


def local_kind(
    name: str, what: str, *, needs: str, claims: Callable[[str], bool], of: Callable[[str], Source]
) -> SourceKind:
    """A kind of source that is a file or a folder.

    Args:
        name: See `SourceKind`.
        what: See `SourceKind`.
        needs: What a place that isn't one lacks: a sentence from "isn't" on.
        claims: See `SourceKind`.
        of: The source of an absolute path.
    """

    def opened(place: str) -> Source:
        if not claims(place):
            raise InvalidInputError(f"`{place}` isn't {needs}")
        return of(str(Path(place).resolve()))

    return SourceKind(name, what, claims, opened)


def rows(columns: Mapping[str, str], values: Mapping[str, Sequence[object]] | None = None) -> pa.Table:
    """A table of the given columns from lists; a column that isn't given is null, and without lists there is no row."""
    import pyarrow as pa

    n = len(next(iter(values.values()))) if values else 0
    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64()}
    return pa.table(
        {
            name: pa.array(values[name], types[kind]) if values and name in values else pa.nulls(n, types[kind])
            for name, kind in columns.items()
        }
    )
