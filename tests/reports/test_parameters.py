"""Asking for reports: what there is, values of parameters, and errors that say what would be right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

import mlwarehouse as mlw
from mlwarehouse import Warehouse
from mlwarehouse.engines.parse import free_tables, marks_of, parse_select
from mlwarehouse.engines.render import render
from mlwarehouse.errors import InvalidInputError, NotFoundError, WarehouseNotFoundError
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.reports import (
    DEFAULTS_OF_NOTHING,
    PARAMETRIC,
    PARTS,
    TYPES,
    ReportSpec,
    all_reports,
    parse_report,
    report_spec,
)
from mlwarehouse.tables.views import REPORTS, VIEWS
from tests.views.test_shape import ALLOWED

SPECS = [pytest.param(spec, id=spec.name) for spec in all_reports()]
NEEDED = {"metric": "loss", "since": "2026-01-01"}


def needed(spec: ReportSpec) -> dict[str, str]:
    return {p.name: NEEDED[p.name] for p in spec.parameters if p.default is None}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two experiments; the second got worse."""
    found = Warehouse(tmp_path_factory.mktemp("reports") / "wh", committer="off", system_metrics_s=0)
    for experiment, values in (("digits", [0.5, 0.25]), ("letters", [0.75])):
        for seed, value in enumerate(values):
            with found.start_run(experiment=experiment) as run:
                run.log_params({"lr": 0.1, "seed": seed})
                run.log_metric("loss", value)
                run.log_metric("loss", value, context={"subset": "val"})
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_a_report_is_what_its_header_says(spec: ReportSpec) -> None:
    tree = parse_select(spec.sql)
    assert free_tables(tree) == set(spec.depends)
    assert set(spec.depends) - {"predictions", "prediction_inputs"} <= {*VIEWS, *REPORTS}
    assert marks_of(tree) == {p.name for p in spec.parameters}
    assert {type(node).__name__ for node in tree.walk() if type(node) not in ALLOWED} == set()
    assert all(isinstance(node.this, str) for node in tree.find_all(exp.Placeholder))
    assert render(tree, dialect="spark")
    for parameter in spec.parameters:
        assert parameter.choices or parameter.type in TYPES
        assert parameter.doc.endswith(".")
        if parameter.choices and parameter.default is not None:
            assert parameter.default in parameter.choices


def test_reports_have_their_columns_also_without_a_row(tmp_path: Path) -> None:
    empty = Warehouse(tmp_path / "wh", committer="off")
    empty.create()
    for spec in all_reports():
        frame = empty.report(spec.name, **needed(spec))
        assert list(frame.columns) == list(spec.columns)
        assert len(frame) == 0


def test_each_file_is_in_the_list(warehouse: Warehouse) -> None:
    folder = resources.files("mlwarehouse") / "sql" / "parametric"
    assert {f.name for f in folder.iterdir() if f.is_file()} == {f"{name}.sql" for name in PARAMETRIC}
    assert {f.name for f in (folder / "parts").iterdir()} == {f"{name}.sql" for name in PARTS}
    assert {d for name in PARAMETRIC for d in report_spec(name).depends} <= {*TABLES_BY_NAME, *VIEWS, *REPORTS}
    assert [spec.name for spec in warehouse.reports()] == [*PARAMETRIC, *REPORTS]


def test_a_report_without_parameters_is_its_view(warehouse: Warehouse) -> None:
    assert (
        warehouse.report("project_runs")
        .sort_values("run_id", ignore_index=True)
        .equals(warehouse.sql("SELECT * FROM project_runs ORDER BY run_id"))
    )


def test_the_module_asks_the_chosen_warehouse(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlw.fluent, "_current", warehouse)
    assert mlw.report("progress", metric="loss", experiments=["digits"], output_format="arrow")["best"].to_pylist() == [
        0.25
    ]
    assert mlw.reports() == warehouse.reports()


def test_a_series_with_a_context_is_a_metric(warehouse: Warehouse) -> None:
    frame = warehouse.report("seeds", metric='loss {"subset":"val"}', experiments="digits")
    assert frame[["config", "n", "mean"]].to_numpy().tolist() == [["lr=0.1", 2, 0.375]]


def test_a_past_moment_is_also_the_now_of_a_report(warehouse: Warehouse) -> None:
    assert len(warehouse.report("progress", metric="loss", as_of="2020-01-01")) == 0
    assert len(warehouse.report("changes", since="2020-01-01")) == 3
    pin = warehouse.snapshot()
    with warehouse.start_run(experiment="digits") as run:
        run.log_metric("loss", 0.1)
    assert len(warehouse.report("changes", since="2020-01-01", at=pin)) == 3
    assert len(warehouse.report("changes", since="2020-01-01")) == 4
    future = dt.datetime.now(dt.UTC) + dt.timedelta(days=365)
    warehouse.flush()
    spent = warehouse.report("cost", as_of=future, price_per_hour=2)
    assert spent["cost"].sum() == pytest.approx(2 * spent["hours"].sum())


REFUSED: list[tuple[Callable[[Warehouse], Any], type[Exception], str]] = [
    (lambda w: w.report("seed", metric="loss"), NotFoundError, "Did you mean `seeds`"),
    (lambda w: w.report("seeds"), InvalidInputError, "Report `seeds` needs `metric`"),
    (lambda w: w.report("seeds", metrics="loss"), InvalidInputError, "Did you mean `metric`"),
    (lambda w: w.report("goal_progress", metric="loss"), InvalidInputError, "it takes none"),
    (lambda w: w.report("seeds", metric="los"), NotFoundError, "Did you mean `loss`"),
    (lambda w: w.report("seeds", metric="acc", experiments=["letters"]), NotFoundError, "2 metric keys are known"),
    (lambda w: w.report("seeds", metric="loss", experiments=["digit"]), NotFoundError, "Did you mean `digits`"),
    (lambda w: w.report("seeds", metric=3), InvalidInputError, "is a text; got 3"),
    (lambda w: w.report("seeds", metric="loss", stat="best"), InvalidInputError, "is one of last, first, min"),
    (lambda w: w.report("progress", metric="loss", direction="mni"), InvalidInputError, "Did you mean `min`"),
    (lambda w: w.report("seeds", metric="loss", seed_params=[1]), InvalidInputError, "is a list of texts"),
    (lambda w: w.report("cost", price_per_hour="much"), InvalidInputError, "is a finite number; got 'much'"),
    (lambda w: w.report("cost", price_per_hour=float("nan")), InvalidInputError, "is a finite number"),
    (lambda w: w.report("cost", price_per_hour=True), InvalidInputError, "is a finite number"),
    (lambda w: w.report("changes", since="last week"), InvalidInputError, "isn't a time"),
    (lambda w: w.report("cost", output_format="csv"), InvalidInputError, "Unknown output format"),
    (lambda w: w.report("cost", engine="duckdb"), InvalidInputError, "There is no engine `duckdb`"),
    (lambda w: w.report("cost", as_of="2026-01-01", at="{}"), InvalidInputError, "not both"),
]


@pytest.mark.parametrize(("ask", "error", "reason"), REFUSED)
def test_what_can_not_be_meant_is_refused(
    warehouse: Warehouse, ask: Callable[[Warehouse], Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        ask(warehouse)


def test_where_nothing_is_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(WarehouseNotFoundError):
        Warehouse(tmp_path / "none").report("cost")


def test_a_parameter_line_must_be_one() -> None:
    head = "-- purpose: p\n-- grain: g\n-- depends: runs\n-- column a: b\n"
    spec = parse_report("r", f"{head}-- parameter x number = 0: How many.\n-- parameter y a|b: Which.\nSELECT 1 AS a")
    assert [(p.name, p.type, p.default, p.doc) for p in spec.parameters] == [
        ("x", "number", "0", "How many."),
        ("y", "a|b", None, "Which."),
    ]
    for line in ("-- parameter x: How many.", "-- parameter x sort: How many."):
        with pytest.raises(ValueError, match="parameter line"):
            parse_report("r", f"{head}{line}\nSELECT 1 AS a")


def test_each_default_of_nothing_is_used() -> None:
    assert {p.default for spec in all_reports() for p in spec.parameters} >= DEFAULTS_OF_NOTHING.keys()


@pytest.mark.spark
def test_spark_answers_a_report_alike(warehouse: Warehouse, spark: Any) -> None:
    asked = {"metric": "loss", "output_format": "arrow"}
    assert warehouse.report("seeds", engine=spark, **asked).to_pylist() == (
        warehouse.report("seeds", **asked).to_pylist()
    )
