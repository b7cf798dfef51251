"""What *Runs* shows: pages of rows for the grid, names for the column chooser, curves to compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import ATTRIBUTES, METRIC_KINDS, GridColumn
from .data import among, is_held_out
from .downsample import downsample

if TYPE_CHECKING:
    import pandas as pd

    from .reader import Reader

DEFAULT_ATTRIBUTES = ("run_name", "experiment_name", "outcome", "started_at", "duration_s", "user_id")
N_NEWEST = 50
N_DEFAULT_METRICS = 2
N_DEFAULT_PARAMS = 2
_BUNDLE = 2_000
MAX_POINTS = 2_000
"""The most points a curve is drawn with."""


def default_columns(reader: Reader, experiment_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a grid nobody has chosen columns for.

    Args:
        reader: The warehouse.
        experiment_ids: The experiments; empty means all.

    Returns:
        Tokens of the attributes, then of the metrics and params that most of the newest runs have: held-out metrics
        (validation, test) and params that vary come first.
    """
    attributes = tuple(f"attributes.{name}" for name in DEFAULT_ATTRIBUTES)
    where, parameters = among("experiment_id", experiment_ids, "e")
    newest = reader.frame(
        f"SELECT run_id FROM project_runs WHERE TRUE{where} ORDER BY started_at DESC, run_id LIMIT {N_NEWEST}",
        parameters,
    )
    if newest.empty:
        return attributes
    where, parameters = among("run_id", tuple(newest["run_id"]), "r")

    series = reader.frame(
        f"SELECT series FROM metric_summaries WHERE TRUE{where} GROUP BY series ORDER BY COUNT(*) DESC, series",
        parameters,
    )
    # A param with one value tells no run from another.
    keys = reader.frame(
        f"SELECT key FROM params WHERE TRUE{where} GROUP BY key "
        "ORDER BY CASE WHEN COUNT(DISTINCT value) > 1 THEN 0 ELSE 1 END, COUNT(*) DESC, key",
        parameters,
    )
    metrics = sorted(map(str, series["series"]), key=is_held_out, reverse=True)[:N_DEFAULT_METRICS]
    params = list(map(str, keys["key"]))[:N_DEFAULT_PARAMS]
    return (*attributes, *[f"metrics.{m}" for m in metrics], *[f"params.{p}" for p in params])


def column_names(reader: Reader) -> pd.DataFrame:
    """Every metric, param and tag that a run has.

    Returns:
        kind (``metrics``, ``params`` or ``tags``), name (text); by kind, then name.
    """
    return reader.frame(
        """
        SELECT DISTINCT 'metrics' AS kind, CASE WHEN context IS NULL THEN key ELSE key || ' ' || context END AS name
        FROM metrics
        UNION ALL SELECT DISTINCT 'params' AS kind, key AS name FROM params
        UNION ALL SELECT DISTINCT 'tags' AS kind, key AS name FROM tags
        ORDER BY kind, name
        """
    )


def offered_columns(reader: Reader, match: str, *, limit: int = 60) -> list[GridColumn]:
    """The columns whose label contains a text, attributes first.

    Args:
        reader: The warehouse.
        match: What the visitor has typed; capitals don't matter.
        limit: The most columns to return; a warehouse may have thousands.
    """
    wanted = match.strip().lower()
    found = [GridColumn("attributes", name) for name in ATTRIBUTES]
    names = column_names(reader)
    for kind, name in zip(names["kind"], names["name"], strict=True):
        found.extend(GridColumn(k, str(name)) for k in (METRIC_KINDS if kind == "metrics" else (str(kind),)))
    return [c for c in found if wanted in c.label.lower() or wanted in c.token.lower()][:limit]


def rows(reader: Reader, run_ids: tuple[str, ...], columns: tuple[GridColumn, ...]) -> pd.DataFrame:
    """The values of some columns of some runs; only what the columns need is read.

    Returns:
        A row per run in the given order: run_id, then a column per token. Attributes have the types of the report
        `project_runs`, metrics are floats, params and tags text; what a run lacks is null.
    """
    import pandas as pd

    where, parameters = among("run_id", run_ids, "r")
    result = pd.DataFrame(index=pd.Index(list(run_ids), name="run_id"))
    if not run_ids:
        return result.reset_index().reindex(columns=["run_id", *(c.token for c in columns)])
    attributes = reader.frame(f"SELECT * FROM project_runs WHERE TRUE{where}", parameters, is_timed=True)
    attributes = attributes.set_index("run_id", drop=False).reindex(list(run_ids))
    wide: dict[str, pd.DataFrame] = {}
    kinds = {"metrics": ("metric_summaries", "series"), "params": ("params", "key"), "tags": ("tags", "key")}
    for kind, (view, name) in kinds.items():
        names = tuple(dict.fromkeys(c.name for c in columns if (c.is_metric and kind == "metrics") or c.kind == kind))
        if names:
            value = ", ".join(METRIC_KINDS.values()) if kind == "metrics" else "value"
            named, more = among(name, names, "n")
            wide[kind] = reader.frame(
                f"SELECT run_id, {name} AS name, {value} FROM {view} WHERE TRUE{where}{named}", {**parameters, **more}
            )
    found = {}
    for column in columns:
        if column.kind == "attributes":
            found[column.token] = attributes[column.name]
        else:
            long = wide["metrics" if column.is_metric else column.kind]
            values = long[long["name"] == column.name].set_index("run_id")
            found[column.token] = values[METRIC_KINDS.get(column.kind, "value")].reindex(list(run_ids))
    return result.assign(**found).reset_index()


def all_rows(reader: Reader, run_ids: list[str], columns: tuple[GridColumn, ...]) -> pd.DataFrame:
    """As `rows`, for any number of runs, read in bundles."""
    import pandas as pd

    bundles = [tuple(run_ids[i : i + _BUNDLE]) for i in range(0, len(run_ids), _BUNDLE)] or [()]
    return pd.concat([rows(reader, bundle, columns) for bundle in bundles], ignore_index=True)


def metric_keys(reader: Reader, run_ids: tuple[str, ...]) -> list[str]:
    """The metrics that some runs have, those with most points first."""
    if not run_ids:
        return []
    where, parameters = among("run_id", run_ids, "r")
    found = reader.frame(
        f"SELECT key, SUM(count) AS n_points FROM metric_summaries WHERE TRUE{where} GROUP BY key "
        "ORDER BY n_points DESC, key",
        parameters,
    )
    return [str(key) for key in found["key"]]


def curves(reader: Reader, run_ids: tuple[str, ...], key: str) -> pd.DataFrame:
    """One metric of some runs, with at most `MAX_POINTS` points a curve, its extremes among them.

    Returns:
        run_id, run_name, series (text: the run's name and the context, the legend's entry), step (integer),
        value (float); runs in the given order, then by step.
    """
    import pandas as pd

    points = reader.points(run_ids, key)
    where, parameters = among("run_id", run_ids, "r")
    names = reader.frame(f"SELECT run_id, run_name FROM project_runs WHERE TRUE{where}", parameters, is_timed=True)
    points = names.merge(points, on="run_id", how="right")
    points = points.sort_values(["step", "timestamp"], kind="stable")
    points = points.sort_values("run_id", kind="stable", key=lambda ids: ids.map({r: i for i, r in enumerate(run_ids)}))
    parts = []
    for (run_id, name, context), curve in points.groupby(["run_id", "run_name", "context"], dropna=False, sort=False):
        curve = curve.iloc[downsample(curve["value"].to_numpy(), MAX_POINTS)]
        title = str(name) if isinstance(name, str) and name else str(run_id)[:8]
        series = f"{title} {context}" if isinstance(context, str) else title
        parts.append(curve.assign(series=series)[["run_id", "run_name", "series", "step", "value"]])
    if not parts:
        return pd.DataFrame({c: [] for c in ("run_id", "run_name", "series", "step", "value")})
    return pd.concat(parts, ignore_index=True)
