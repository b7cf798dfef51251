"""Views over kept folds: the tree of a view, changed so that it starts from what is folded already.

The common table expressions ``lifted``, ``merged`` and ``current`` are those that `mlwarehouse.tables.states` tells of.
Tables that the changed trees read, and that an engine provides under these names:

* ``tail_<table>``: the events that the kept fold doesn't have, with the run's number in ``run_id``
* ``state_<view>``: the kept fold; ``touched_<table>`` (``run_id``): the runs that have events in the tail
* ``run_numbers`` (``id``, ``number``): each run's id and number; ``tail_numbers``: those of runs in the tails

The kept fold of `runs` has the ids beside the numbers: every order of runs ends with the id, and no join is as fast.
"""

from __future__ import annotations

from functools import cache

from sqlglot import exp

from mlwarehouse.engines.parse import parse_select, view_tree
from mlwarehouse.tables.states import STATES_BY_VIEW, StateSpec
from mlwarehouse.tables.views import view

RUNS = "runs"


def fold_of_partition(spec: StateSpec) -> str:
    """The query that takes a kept fold up: rows of its table, from ``state_<view>`` and ``tail_<table>``.

    Returns:
        SQL in DuckDB's dialect; the result has the columns of ``merged`` and of ``current``, in the table's order.
    """
    tree = _on_tail(view_tree(spec.view), spec)
    ctes = _ctes(tree)
    _take_up(ctes["lifted"], spec, _columns(ctes["merged"]))
    ids = (
        " INNER JOIN (SELECT id, number AS run_id FROM run_numbers) AS ids USING (run_id)" if spec.view == RUNS else ""
    )
    return _state(tree, f"SELECT * FROM current{ids} ORDER BY {', '.join(spec.sort_by)}")


def nothing_kept(spec: StateSpec) -> str:
    """A query with a kept fold's columns and no rows, in place of one that isn't there yet; its tail has the types."""
    ids = ", CAST(NULL AS VARCHAR) AS id" if spec.view == RUNS else ""
    return _state(_on_tail(view_tree(spec.view), spec), f"SELECT *{ids} FROM current WHERE FALSE")


@cache
def over_state(name: str, *, is_settled: bool = False) -> exp.Query:
    """A view's tree over its kept fold, with the run's number as ``number``; `runs` has its id as well.

    Args:
        name: An entry of `STATES`.
        is_settled: Whether the tail has no events of its table, so that the kept fold is all there is.
    """
    spec = STATES_BY_VIEW[name]
    tree = _on_tail(view_tree(name), spec)
    ctes = _ctes(tree)
    columns = _columns(ctes["current"]) + (["id"] if name == RUNS else [])
    if is_settled:
        ctes["current"].set("this", parse_select(f"SELECT {', '.join(columns)} FROM state_{name}"))
        tree.args["with_"].set("expressions", [ctes["current"]])
    else:
        _with_tail(ctes, spec, columns)
    names = [c for c in view(name).columns if c != "run_id"]
    if name == RUNS:
        tree.append("expressions", exp.column("id", table="current"))
    ids = "id AS run_id, " if name == RUNS else ""
    whole = parse_select(f"SELECT {ids}run_id AS number, {_listed(names)} FROM numbered")
    inner = exp.CTE(this=tree, alias=exp.TableAlias(this=exp.to_identifier("numbered")))
    inner.set("materialized", False)
    whole.set("with_", exp.With(expressions=[inner]))
    return whole


def _with_tail(ctes: dict[str, exp.CTE], spec: StateSpec, columns: list[str]) -> None:
    """Let ``current`` have the runs with events in the tail merged with these, and all others as they are kept."""
    touched = f"JOIN touched_{spec.source} USING (run_id)"
    _take_up(ctes["lifted"], spec, _columns(ctes["merged"]), f"SEMI {touched}")
    if spec.view == RUNS:
        merged = ctes["current"].this
        merged.append("expressions", exp.column("id"))
        merged.join("tail_numbers", on="run_id = number", append=True, copy=False)
    # Joins of this kind in words: from IN and EXISTS the optimizer makes slower plans.
    untouched = parse_select(f"SELECT {', '.join(columns)} FROM state_{spec.view} ANTI {touched}")
    ctes["current"].set("this", exp.union(ctes["current"].this, untouched, distinct=False))


@cache
def over_numbered(name: str) -> exp.Query:
    """A view's tree over its ``numbered_`` one, for questions that want ids."""
    names = list(view(name).columns)
    if name == RUNS:
        return parse_select(f"SELECT {_listed(names)} FROM numbered_runs")
    rest = _listed([c for c in names if c != "run_id"], "numbered")
    return parse_select(
        f"SELECT run_numbers.id AS run_id, {rest} FROM numbered_{name} AS numbered "
        "INNER JOIN run_numbers ON numbered.number = run_numbers.number"
    )


@cache
def numbered_over_view(name: str) -> exp.Query:
    """A ``numbered_`` view's tree over the view itself, where the fold isn't kept: a run's number is its id."""
    names = view(name).columns
    columns = ["run_id AS number", *(quoted(c) for c in names if name == RUNS or c != "run_id")]
    return parse_select(f"SELECT {', '.join(columns)} FROM {name}")


def quoted(name: str) -> str:
    """A column's name, safe whatever words it consists of."""
    return f'"{name}"'


def _state(tree: exp.Query, question: str) -> str:
    """A question to ``current``, which gets the columns of ``merged`` as well."""
    ctes = _ctes(tree)
    there = _columns(ctes["current"])
    for name in _columns(ctes["merged"]):
        if name not in there:
            ctes["current"].this.append("expressions", exp.column(name))
    whole = parse_select(question)
    whole.set("with_", tree.args["with_"])
    return whole.sql(dialect="duckdb")


def _listed(names: list[str], table: str = "") -> str:
    return ", ".join(f"{table}.{quoted(n)}" if table else quoted(n) for n in names)


def _on_tail(tree: exp.Query, spec: StateSpec) -> exp.Query:
    """A copy that reads the tail where the view reads its event table."""
    copied = tree.copy()
    for table in copied.find_all(exp.Table):
        if table.name == spec.source:
            table.set("this", exp.to_identifier(f"tail_{spec.source}"))
            table.set("alias", exp.TableAlias(this=exp.to_identifier(spec.source)))
    return copied


def _take_up(lifted: exp.CTE, spec: StateSpec, columns: list[str], join: str = "") -> None:
    """Let ``lifted`` have, beside the tail's events, what is merged already."""
    kept = parse_select(f"SELECT {', '.join(columns)} FROM state_{spec.view} {join}")
    lifted.set("this", exp.union(lifted.this, kept, distinct=False))


def _ctes(tree: exp.Query) -> dict[str, exp.CTE]:
    return {cte.alias: cte for cte in tree.args["with_"].expressions}


def _columns(cte: exp.CTE) -> list[str]:
    return [e.alias_or_name for e in cte.this.selects]
