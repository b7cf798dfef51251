"""The change feed: what came into the tables between two states of them, as events in one order.

A page is bounded by table versions, not by times: a row is in exactly one version of its table, whenever it was logged
and whoever committed it late. So each event is in exactly one page, and a page read again is the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.query.change_kinds import COLUMNS, KINDS, KINDS_BY_NAME, NEW_BEST, ChangeKind, select
from mlwarehouse.query.frames import FRAME_FORMATS, check_format, to_frame

Direction = Literal["min", "max"]
"""Whether lower or higher values of a metric are better."""

ORDER = "recorded_at, writer_id, writer_seq, kind, run_id, model_name, model_version, key, value, number"
"""The order within a page: that of events, and then what makes it the same each time."""

FEW_RUNS = 500
"""The experiments of so many runs are looked up by their ids; of more, by reading those of all."""


@dataclass(frozen=True)
class Change:
    """Something that happened.

    Attributes:
        kind: What: an entry of the change kinds, see the docs.
        event_at: When it happened, by the clock of the process that logged it (UTC).
        recorded_at: When it was recorded (UTC).
        experiment_id: The experiment, or None where it concerns none, or its run's start isn't recorded yet.
        run_id: The run, or None.
        model_name: The registered model, or None.
        model_version: Its version, or None.
        key: What it is about, by kind: a param, a tag, a metric, a path, an alias, ...
        value: What it is now, as text, by kind.
        number: What it is now, as a number, by kind.
        step: The step, for metrics.
        n_rows: How many rows it stands for: more than one where rows that came in together are told as one.
        actor: Who did it, or None where that isn't recorded.
        comment: Why, in the actor's words, or more about it.
        writer_id: Who wrote the row.
        writer_seq: Its place among the writer's records.
    """

    kind: str
    event_at: dt.datetime
    recorded_at: dt.datetime
    experiment_id: str | None
    run_id: str | None
    model_name: str | None
    model_version: int | None
    key: str | None
    value: str | None
    number: float | None
    step: int | None
    n_rows: int
    actor: str | None
    comment: str | None
    writer_id: str
    writer_seq: int


class ChangePage(Sequence[Change]):
    """Changes in the order in which they count, and where to go on from.

    Attributes:
        cursor: Where the page ends: pass it as ``since=`` for what comes after it, now or in another process. It is the
            text of a snapshot, so ``at=cursor`` asks the state that these changes lead to. None when the page was cut
            at a moment.
        rows: The changes as an Arrow table, in the columns of `Change`.
    """

    def __init__(self, rows: pa.Table, cursor: str | None) -> None:
        """Hold changes."""
        self.rows = rows
        self.cursor = cursor

    def frame(self, output_format: str = "pandas") -> Any:
        """The changes as a frame.

        Args:
            output_format: ``pandas``, ``arrow`` or ``polars``.

        Returns:
            A row a change, in order, with the columns of `Change`; times are UTC microseconds.
        """
        check_format(output_format, FRAME_FORMATS)
        return to_frame(self.rows, output_format)

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __iter__(self) -> Iterator[Change]:
        for batch in self.rows.to_batches(max_chunksize=1000):
            for row in batch.to_pylist():
                yield Change(**row)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> list[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | list[Change]:
        """The change at a place, or those of a slice."""
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return Change(**self.rows.slice(numbers, 1).to_pylist()[0])
        return [Change(**row) for row in self.rows.take(pa.array(list(numbers), pa.int64())).to_pylist()]

    def __repr__(self) -> str:
        return f"<{len(self)} changes>"


def chosen_kinds(kinds: Sequence[str] | None, best: Mapping[str, str] | None) -> tuple[ChangeKind, ...]:
    """The kinds that are asked for.

    Raises:
        InvalidInputError: There is no such kind or direction, or a new best of no metric.
    """
    if isinstance(kinds, str):
        raise InvalidInputError(f"`kinds` must be a list; got the text `{kinds}`. Write [{kinds!r}].")
    if best is not None and not isinstance(best, Mapping):
        raise InvalidInputError(f"`best` is a mapping such as {{'val/loss': 'min'}}; got {type(best).__name__}.")
    for key, direction in (best or {}).items():
        if direction not in ("min", "max"):
            raise InvalidInputError(f"`best` says `{direction}` of `{key}`; say `min` or `max`, whichever is better.")
    for name in kinds or ():
        if name not in KINDS_BY_NAME:
            raise InvalidInputError(
                f"There is no kind of change `{name}`.{did_you_mean(name, KINDS_BY_NAME)} The kinds are "
                f"{', '.join(KINDS_BY_NAME)}."
            )
    if NEW_BEST.name in (kinds or ()) and not best:
        raise InvalidInputError("Say of which metrics a new best is told: `best={'val/loss': 'min'}`.")
    wanted = KINDS_BY_NAME.keys() if kinds is None else {*kinds, *([NEW_BEST.name] if best else [])}
    return tuple(k for k in KINDS if k.name in wanted and (best or k is not NEW_BEST))


def read_changes(
    engine: Engine,
    *,
    since: Reading,
    to: Mapping[str, int],
    present: Reading,
    kinds: tuple[ChangeKind, ...],
    experiment_ids: Sequence[str] | None = None,
    best: Mapping[str, str] | None = None,
    until: dt.datetime | None = None,
) -> pa.Table:
    """What came into the tables since a state of them.

    Args:
        engine: Answers the questions.
        since: The state behind which to look: by its versions, or, where it names none, by its ``as_of``; with neither,
            everything.
        to: The version of each table up to which to look.
        present: The newest state, for the experiments of runs.
        kinds: See `chosen_kinds`.
        experiment_ids: Only changes of these experiments and of their runs; None for all.
        best: The metrics whose new bests are told, and what is better: ``min`` or ``max``.
        until: Only what was recorded by then.

    Returns:
        A row a change, sorted by `ORDER`, with the columns `COLUMNS`.

    Raises:
        SnapshotGoneError: What came since can't be told any more.
    """
    between = Reading(versions=to, since=since.versions)
    parameters: dict[str, Any] = {}
    conditions = []
    for name, moment, sign in (("after", since.as_of if not since.versions else None, ">"), ("until", until, "<=")):
        if moment is not None:
            parameters[name] = moment
            conditions.append(f"t.recorded_at {sign} ${name}")
    condition = " AND ".join(conditions) or "TRUE"
    plain = [k for k in kinds if k is not NEW_BEST]
    by_table = {k.table: tuple(o for o in plain if o.table == k.table) for k in plain}
    parts = [select(table, of_table, condition) for table, of_table in by_table.items()]
    found = []
    if parts:
        question = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS changes"
        rows = engine.query(question, reading=between, parameters=parameters)
        found.append(_with_experiments(engine, present, rows))
    if best:
        found.append(_new_bests(engine, since, between, present, best, condition, parameters))
    changes = pa.concat_tables([table.select(list(COLUMNS)).cast(_SCHEMA) for table in found])
    if experiment_ids is not None:
        changes = changes.filter(pc.is_in(changes.column("experiment_id"), pa.array(experiment_ids, pa.string())))
    return changes.sort_by([(name.strip(), "ascending") for name in ORDER.split(",")])


_ARROW = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
}
_SCHEMA = pa.schema([pa.field(name, _ARROW[type_]) for name, type_ in COLUMNS.items()])


def _with_experiments(engine: Engine, present: Reading, rows: pa.Table) -> pa.Table:
    """The rows with the experiment of each run, where they don't say it themselves."""
    lacking = pc.and_(pc.is_null(rows.column("experiment_id")), pc.is_valid(rows.column("run_id")))
    ids = pc.unique(rows.filter(lacking).column("run_id"))
    found = _experiments(engine, present, ids.to_pylist())
    where = pc.index_in(rows.column("run_id"), value_set=pa.array(list(found), pa.string()))
    looked_up = pa.array(list(found.values()), pa.string()).take(where.combine_chunks())
    known = pc.coalesce(rows.column("experiment_id"), looked_up)
    return rows.set_column(rows.column_names.index("experiment_id"), "experiment_id", known)


def _experiments(engine: Engine, present: Reading, run_ids: Iterable[str]) -> dict[str, str]:
    """Experiment by run."""
    wanted = list(run_ids)
    if not wanted:
        return {}
    few = len(wanted) <= FEW_RUNS
    rows = engine.query(
        f"SELECT run_id, experiment_id FROM runs{' WHERE list_contains($ids, run_id)' if few else ''}",
        reading=present,
        parameters={"ids": wanted} if few else None,
    )
    return dict(zip(rows.column("run_id").to_pylist(), rows.column("experiment_id").to_pylist(), strict=True))


def _new_bests(
    engine: Engine,
    since: Reading,
    between: Reading,
    present: Reading,
    best: Mapping[str, str],
    condition: str,
    parameters: Mapping[str, Any],
) -> pa.Table:
    """Where a metric went beyond all that its experiment had before: at most once a commit, metric and experiment."""
    marks = {f"best_{n}": key for n, key in enumerate(best)}
    keys = ", ".join(f"${mark}" for mark in marks)
    extremes = " UNION ALL ".join(
        f"""
        SELECT t.run_id, t.key, '{direction}' AS direction, t._commit_version AS version, t.recorded_at,
            {direction.upper()}(t.value) AS number,
            ARG_{direction.upper()}({{'step': t.step, 'at': t.event_at, 'id': t.writer_id, 'seq': t.writer_seq}},
                {{'value': t.value, 'place': {_LATEST if direction == "max" else _EARLIEST}}}) AS place
        FROM metrics AS t
        WHERE t.key IN ({keys}) AND t.context IS NULL AND ABS(t.value) < CAST('Infinity' AS DOUBLE) AND {condition}
        GROUP BY t.run_id, t.key, t._commit_version, t.recorded_at"""
        for direction in ("min", "max")
        if direction in best.values()
    )
    rows = [
        r
        for r in engine.query(extremes, reading=between, parameters={**parameters, **marks}).to_pylist()
        if best[r["key"]] == r["direction"]
    ]
    if not rows:
        return _SCHEMA.empty_table()
    experiments = _experiments(engine, present, {r["run_id"] for r in rows})
    records = _records(engine, since, best, marks)
    signs = {"min": 1.0, "max": -1.0}
    rows.sort(key=lambda r: (r["version"], r["recorded_at"], signs[r["direction"]] * r["number"], r["run_id"]))
    told: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        series = experiments.get(row["run_id"]), row["key"]
        sign = signs[row["direction"]]
        if sign * row["number"] < sign * records.get(series, sign * math.inf):
            records[series] = row["number"]
            told[(*series, row["version"], row["recorded_at"])] = {
                "kind": NEW_BEST.name,
                "event_at": row["place"]["at"],
                "recorded_at": row["recorded_at"],
                "experiment_id": series[0],
                "run_id": row["run_id"],
                "key": row["key"],
                "value": row["direction"],
                "number": row["number"],
                "step": row["place"]["step"],
                "n_rows": 1,
                "writer_id": row["place"]["id"],
                "writer_seq": row["place"]["seq"],
            }
    return pa.Table.from_pylist(list(told.values()), schema=_SCHEMA)


# Of equal values the one at the smallest step counts.
_EARLIEST = "t.step"
_LATEST = "-1 - t.step"


def _records(
    engine: Engine, since: Reading, best: Mapping[str, str], marks: Mapping[str, str]
) -> dict[tuple[Any, ...], float]:
    """The best value of each metric in each experiment in a state, over the runs that weren't deleted then."""
    if not since.versions and since.as_of is None:
        return {}
    state = engine.with_kept(replace(since, since=None))
    rows = engine.query(_RECORDS.format(keys=", ".join(f"${mark}" for mark in marks)), reading=state, parameters=marks)
    if any(not finite for finite in rows.column("is_finite").to_pylist()):
        # The extreme of a run that has been infinite says nothing of its other values: look at its points.
        question = _RECORDS_OF_POINTS.format(keys=", ".join(f"${mark}" for mark in marks))
        rows = engine.query(question, reading=state, parameters=marks)
    return {
        (r["experiment_id"], r["key"]): r["lowest"] if best[r["key"]] == "min" else r["highest"]
        for r in rows.to_pylist()
        if r["lowest"] is not None
    }


_RECORDS = """
    SELECT
        r.experiment_id, s.key, MIN(s.min) AS lowest, MAX(s.max) AS highest,
        BOOL_AND(ABS(s.min) < CAST('Infinity' AS DOUBLE) AND ABS(s.max) < CAST('Infinity' AS DOUBLE)) AS is_finite
    FROM metric_summaries AS s INNER JOIN runs AS r ON r.run_id = s.run_id
    WHERE s.key IN ({keys}) AND s.context IS NULL AND s.min IS NOT NULL AND r.lifecycle_stage = 'active'
    GROUP BY r.experiment_id, s.key"""

_RECORDS_OF_POINTS = """
    SELECT r.experiment_id, m.key, MIN(m.value) AS lowest, MAX(m.value) AS highest
    FROM metrics AS m INNER JOIN runs AS r ON r.run_id = m.run_id
    WHERE m.key IN ({keys}) AND m.context IS NULL AND ABS(m.value) < CAST('Infinity' AS DOUBLE)
        AND r.lifecycle_stage = 'active'
    GROUP BY r.experiment_id, m.key"""
