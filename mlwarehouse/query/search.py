"""Searching runs: from a filter and an order to a frame, without a loop over runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ViewType
from mlwarehouse.errors import FilterError, InvalidInputError, NotFoundError, within_depth
from mlwarehouse.query.columns import WILDCARDS, Columns, read_columns
from mlwarehouse.query.experiments import resolve_experiments
from mlwarehouse.query.fields import AT_STEP, Kind
from mlwarehouse.query.frames import FRAME_FORMATS, check_format, spread, to_frame, with_nanoseconds
from mlwarehouse.query.loading import LIST_ATTRIBUTES, load_at_step, load_metrics, load_pages, load_pairs, load_runs
from mlwarehouse.query.names import Name
from mlwarehouse.query.pages import KINDS, Page, load_page
from mlwarehouse.query.paging import READ_STEPS, run_steps
from mlwarehouse.query.question import Question, Scope
from mlwarehouse.query.unknown import doubtful_keys, existing_series, refuse_unknown

UnknownKeys = Literal["error", "ignore"]
"""What to do about a metric or param that no searched run has."""


_PAIRS: tuple[Kind, ...] = ("param", "tag")
_SINGULAR: dict[str, Kind] = {"metrics": "metric", "params": "param", "tags": "tag"}

TOO_DEEP = "The filter is too long or nested too deeply; write the values of one name as a list, as in IN ('a', 'b')."


@within_depth(FilterError, TOO_DEEP)
def search_runs(
    engine: Engine,
    reading: Reading | None = None,
    *,
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    experiment_names: Sequence[str] | None = None,
    search_all_experiments: bool = False,
    columns: Sequence[str] | None = None,
    output_format: str = "pandas",
    offset: int = 0,
    unknown_keys: UnknownKeys = "error",
) -> Any:
    """Find runs; the arguments and the frame are those of `mlflow.search_runs`.

    Args:
        engine: Answers the questions.
        reading: The state to look at; None means the newest committed one.
        experiment_ids: Experiments to search. An empty list finds nothing; with neither ids nor names, all active
            experiments are searched.
        filter_string: A filter; see ``docs/querying.md``.
        run_view_type: Whether active runs, deleted ones, or both; an entry of `ViewType` or its number.
        max_results: The most runs to find.
        order_by: Names, each with ``ASC`` or ``DESC`` after it or nothing. Missing values come last in either
            direction, NaN before them; then the latest start comes first.
        experiment_names: Experiments to search, by name.
        search_all_experiments: Says expressly that all active experiments are searched.
        columns: Titles of the frame's columns, such as ``["run_id", "metrics.loss", "params.lr"]``; only what they
            need is loaded. ``metrics.*``, ``params.*`` and ``tags.*`` stand for all. None means MLflow's columns.
        output_format: ``pandas``, ``arrow``, ``polars``, or ``list`` for `mlwarehouse.entities.Run` objects.
        offset: How many of the first runs to leave out.
        unknown_keys: ``error`` refuses a metric or param that none of the searched runs has, where they have others;
            ``ignore`` takes it as missing everywhere.

    Returns:
        A frame with a row per run, in order. Columns: ``run_id``, ``experiment_id``, ``status``, ``artifact_uri``
        (text), ``start_time``, ``end_time`` (UTC; `datetime64[ns, UTC]` in pandas), then sorted by name
        ``metrics.<series>`` (float; the latest value), ``params.<key>`` and ``tags.<key>`` (text). What a run doesn't
        have is NaN, None, or null. Or a list of runs.

    Raises:
        FilterError: A filter or order that can't be understood, or an unknown metric or param in it.
        NotFoundError: An unknown experiment or column.
        InvalidInputError: Arguments that contradict each other or are out of range.
        MissingDependencyError: The library of the output format isn't installed.
    """
    check_format(output_format, (*FRAME_FORMATS, "list"))
    if output_format == "list" and columns is not None:
        raise InvalidInputError("`columns` picks the columns of a frame; leave it out with output_format `list`.")
    reading = engine.with_kept(reading or Reading())
    question = Question(
        scope=_scope(engine, reading, experiment_ids, experiment_names, search_all_experiments, run_view_type),
        filter_string=filter_string or "",
        order_by=_order_list(order_by),
        limit=_count(max_results, "max_results"),
        offset=_count(offset, "offset"),
    )
    question = run_steps(question, READ_STEPS)
    written = read_columns(columns)
    known = existing_series(engine, reading, question.scope, [*doubtful_keys(question), *written.doubtful_keys])
    wanted = written.meaning(known)
    attributes = LIST_ATTRIBUTES if output_format == "list" else wanted.attributes
    kinds = KINDS if output_format == "list" else _whole(wanted)
    page = load_page(engine, reading, replace(question, known_series=known, attributes=attributes), kinds)
    if unknown_keys == "error":
        refuse_unknown(engine, reading, question.scope, _unseen(page), FilterError)
    if output_format == "list":
        return load_runs(engine, reading, page)
    table, empty = _wide(engine, reading, page, wanted)
    if unknown_keys == "error" and columns is not None:
        refuse_unknown(engine, reading, question.scope, empty, NotFoundError)
    return to_frame(with_nanoseconds(table) if output_format == "pandas" else table, output_format)


def _scope(
    engine: Engine,
    reading: Reading | None,
    experiment_ids: Sequence[str] | None,
    experiment_names: Sequence[str] | None,
    search_all_experiments: bool,
    run_view_type: int,
) -> Scope:
    try:
        view_type = ViewType(run_view_type)
    except ValueError:
        raise InvalidInputError(
            f"`run_view_type` is {run_view_type!r}; it must be ViewType.ACTIVE_ONLY, DELETED_ONLY or ALL."
        ) from None
    ids = resolve_experiments(engine, reading, experiment_ids=experiment_ids, experiment_names=experiment_names)
    if search_all_experiments and ids:
        raise InvalidInputError("`search_all_experiments` was given together with experiments; leave one of them out.")
    return Scope(experiment_ids=None if search_all_experiments else ids, view_type=view_type)


def _order_list(order_by: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(order_by, str):
        raise InvalidInputError(f"`order_by` must be a list; got the text `{order_by}`. Write [{order_by!r}].")
    return tuple(order_by or ())


def _count(value: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidInputError(f"`{what}` is {value!r}; it must be a whole number that isn't negative.")
    return value


def _unseen(page: Page) -> list[Name]:
    """What the filter or the order refers to and no run of the page has: perhaps a slip of the pen."""
    return [
        Name(r.kind, r.key)
        for r in page.question.references.by_name.values()
        if r.must_exist and not pc.any(page.table.column(f"has_{r.alias}")).as_py()
    ]


def _whole(wanted: Columns) -> list[str]:
    """Of what all keys are wanted, each with its last value: what is kept by run."""
    by_stat = wanted.stats != ["last"]
    kinds = [kind for kind in WILDCARDS.values() if wanted.keys(kind) is None]
    return [f"{kind}s" for kind in kinds if kind != "metric" or not by_stat]


def _wide(engine: Engine, reading: Reading, page: Page, wanted: Columns) -> tuple[pa.Table, list[Name]]:
    """The frame of a page of runs, and the metrics and params asked for by name that none of them has."""
    numbers = one_array(page.table.column("number"))
    found = _found(engine, reading, page, numbers, wanted) if len(numbers) else {}
    result: dict[str, pa.Array | pa.ChunkedArray] = {}
    empty: list[Name] = []
    for title, name in wanted.entries:
        if name is None:
            for key, values in found.get((WILDCARDS[title], "last", None), {}).items():
                result.setdefault(f"{title[:-1]}{key}", values)
        elif name.kind == "attribute":
            result[title] = page.table.column(name.key)
        else:
            column = found.get((name.kind, name.stat, name.step), {}).get(name.key)
            if column is None:
                empty.append(name)
                column = pa.nulls(len(numbers), _column_type(name))
            result[title] = column
    return pa.table(result), empty


def _found(
    engine: Engine, reading: Reading, page: Page, numbers: pa.Array, wanted: Columns
) -> dict[tuple[Kind, str, int | None], dict[str, pa.Array]]:
    """The columns of a page by kind, statistic and step, and key."""
    found: dict[tuple[Kind, str, int | None], dict[str, pa.Array]] = {}
    pages = load_pages(engine, reading, page, _whole(wanted))
    for kind, rows in pages.items():
        found[_SINGULAR[kind], "last", None] = spread(rows, key="key", value="value", numbers=numbers)
    series = wanted.keys("metric")
    if "metrics" not in pages and series != []:
        rows = load_metrics(engine, reading, numbers.to_pylist(), series=series, stats=wanted.stats)
        for stat in wanted.stats:
            found["metric", stat, None] = spread(rows, key="series", value=stat, numbers=numbers)
    for step, at_step in wanted.at_steps.items():
        run_ids = one_array(page.table.column("run_id"))
        rows = load_at_step(engine, reading, run_ids.to_pylist(), series=at_step, step=step)
        found["metric", AT_STEP, step] = spread(rows, key="series", value=AT_STEP, numbers=run_ids)
    for kind in _PAIRS:
        keys = wanted.keys(kind)
        if keys:
            rows = load_pairs(engine, reading, f"{kind}s", numbers.to_pylist(), keys=keys)
            found[kind, "last", None] = spread(rows, key="key", value="value", numbers=numbers)
    return found


def _column_type(name: Name) -> pa.DataType:
    if name.kind != "metric":
        return pa.string()
    return pa.int64() if name.stat == "count" else pa.float64()
