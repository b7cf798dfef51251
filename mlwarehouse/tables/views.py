"""The views: SQL files shipped with the package, read as text.

One view a file in ``sql/views``, in DuckDB's dialect, opening with a comment block that says what it is::

    -- purpose: The state of each run now.
    -- grain: One run.
    -- depends: run_events, experiments
    -- column run_id: The run.

A new view is one new file and one entry in `VIEWS`; the docs page and the tests follow from it. Reports for
dashboards and BI tools are views like any other, in ``sql/reports``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

VIEWS: tuple[str, ...] = (
    "experiments",
    "experiment_tags",
    "runs",
    "params",
    "metric_curves",
    "metric_summaries",
    "tags",
    "artifacts",
    "inputs",
    "datasets",
    "live_registry_events",
    "model_versions",
    "registered_models",
    "model_aliases",
    "model_tags",
    "model_comments",
    "transition_requests",
    "gate_results",
    "registry_policies",
    "webhooks",
    "access_rights",
    "lineage",
    "latest_labels",
    "labelled_predictions",
    "experiments_latest",
    "runs_latest",
    "run_metrics_history",
)
"""The views of the current state, each after those it depends on."""

REPORTS: tuple[str, ...] = ("project_runs", "runs_by_day", "goal_progress", "goal_records", "sweep_runs")
"""The views for dashboards and BI tools, each after those it depends on. Those with parameters are in
`mlwarehouse.tables.reports`."""


@dataclass(frozen=True)
class ViewSpec:
    """One view.

    Attributes:
        name: File name without suffix, and the name in SQL.
        purpose: What it answers.
        grain: What one row stands for.
        depends: Tables and views it reads.
        columns: Text of the docs by column name, in order.
        sql: The `SELECT`, in DuckDB's dialect, without the header.
    """

    name: str
    purpose: str
    grain: str
    depends: tuple[str, ...]
    columns: dict[str, str]
    sql: str


@cache
def view(name: str) -> ViewSpec:
    """Read one view by name.

    Args:
        name: An entry of `VIEWS` or `REPORTS`.

    Returns:
        The view with its header taken apart.

    Raises:
        KeyError: No view has this name.
        ValueError: The file's header lacks purpose, grain, depends or columns.
    """
    folder = "views" if name in VIEWS else "reports" if name in REPORTS else None
    if folder is None:
        raise KeyError(name)
    text = (resources.files("mlwarehouse") / "sql" / folder / f"{name}.sql").read_text(encoding="utf-8")
    return parse_view(name, text)


def all_views() -> tuple[ViewSpec, ...]:
    """All views and reports, each after those it depends on."""
    return tuple(view(name) for name in (*VIEWS, *REPORTS))


def parse_view(name: str, text: str) -> ViewSpec:
    """Take a view file's header and query apart; see the module's text for the form."""
    header: dict[str, str] = {}
    columns: dict[str, str] = {}
    lines = text.splitlines()
    body_from = 0
    for number, line in enumerate(lines):
        if not line.startswith("--"):
            body_from = number
            break
        word, _, rest = line[2:].strip().partition(":")
        if word.startswith("column "):
            columns[word.removeprefix("column ").strip()] = rest.strip()
        elif rest:
            header[word] = rest.strip()
    missing = [w for w in ("purpose", "grain", "depends") if w not in header]
    if missing or not columns:
        raise ValueError(f"View `{name}` lacks {', '.join(missing) or 'column lines'} in its header.")
    depends = tuple(d.strip() for d in header["depends"].split(",") if d.strip())
    sql = "\n".join(lines[body_from:]).strip().rstrip(";")
    return ViewSpec(name, header["purpose"], header["grain"], depends, columns, sql)
