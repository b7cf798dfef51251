"""Forked runs: whose points their curves begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import FORK_RUN_TAG, FORK_STEP_TAG
from mlwarehouse.query.references import References
from mlwarehouse.query.scoping import run_condition

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Line:
    """A run whose curves begin with another run's.

    Attributes:
        run_id: The forked run.
        source: The run it was forked from, or one further back.
        last_step: The last step that it has of it.
    """

    run_id: str
    source: str
    last_step: int


def lines_of(engine: Engine, reading: Reading | None, run_ids: Sequence[str] | None) -> list[Line]:
    """The lines of forked runs, back to the first.

    Args:
        engine: Answers the questions, one for each fork of a fork.
        reading: The state to look at.
        run_ids: The runs; None for all.
    """
    lines: dict[tuple[str, str], Line] = {}
    parents = _parents(engine, reading, run_ids)
    fresh = [Line(run_id, *parent) for run_id, parent in parents.items()]
    while fresh:
        for line in fresh:
            lines.setdefault((line.run_id, line.source), line)
        unknown = {line.source for line in fresh} - parents.keys()
        parents |= _parents(engine, reading, sorted(unknown))
        further = (
            Line(line.run_id, parents[line.source][0], min(line.last_step, parents[line.source][1]))
            for line in fresh
            if line.source in parents
        )
        # Tags may say anything, also that a run comes from itself.
        fresh = [line for line in further if line.source != line.run_id and (line.run_id, line.source) not in lines]
    return list(lines.values())


def _parents(engine: Engine, reading: Reading | None, run_ids: Sequence[str] | None) -> dict[str, tuple[str, int]]:
    """The run that each forked run was forked from, and the step."""
    if run_ids is not None and not run_ids:
        return {}
    references = References()
    condition = "" if run_ids is None else f" AND {run_condition(list(run_ids), references, column='f.run_id')}"
    rows = engine.query(
        "SELECT f.run_id, f.value AS source, CAST(s.value AS BIGINT) AS step FROM tags AS f "
        "INNER JOIN tags AS s ON f.run_id = s.run_id "
        f"WHERE f.key = {references.mark(FORK_RUN_TAG)} AND s.key = {references.mark(FORK_STEP_TAG)}{condition}",
        reading=reading,
        parameters=references.parameters,
    ).to_pylist()
    return {row["run_id"]: (row["source"], row["step"]) for row in rows}


def continued(points: pa.Table, run_ids: Sequence[str] | None, lines: Sequence[Line]) -> pa.Table:
    """Points with those that forked runs have from others.

    Args:
        points: Points of the runs and of the sources of lines, with ``run_id`` and ``step``.
        run_ids: The runs that were asked for; None for all.
        lines: Which run continues which.

    Returns:
        The points of the runs asked for, each also under the runs that continue it, with ``source_run_id`` as the run
        that logged it; sorted as a history is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    own = points.append_column("source_run_id", points.column("run_id"))
    if run_ids is not None:
        own = own.filter(pc.is_in(own.column("run_id"), pa.array(list(run_ids), pa.string())))
    if not lines:
        return own
    sources = pa.table(
        {
            "source_run_id": pa.array([line.source for line in lines], pa.string()),
            "forked_run_id": pa.array([line.run_id for line in lines], pa.string()),
            "last_step": pa.array([line.last_step for line in lines], pa.int64()),
        }
    )
    inherited = points.rename_columns({"run_id": "source_run_id"}).join(
        sources, keys="source_run_id", join_type="inner"
    )
    inherited = inherited.filter(pc.less_equal(inherited.column("step"), inherited.column("last_step")))
    inherited = inherited.drop_columns(["last_step"]).rename_columns({"forked_run_id": "run_id"})
    both = pa.concat_tables([own, inherited.select(own.column_names)])
    return both.sort_by([(name, "ascending") for name in ("run_id", "key", "step", "timestamp")])
