import csv
import io

import pandas as pd
import pytest

from mlwarehouse.dashboards import grid
from mlwarehouse.dashboards.columns import ATTRIBUTES, GridColumn, parse_column
from mlwarehouse.dashboards.state import RunsState

STARTED = pd.Timestamp("2026-08-03T08:05:00Z")


@pytest.mark.parametrize(
    ("token", "order"),
    [
        ("attributes.started_at", "attributes.start_time DESC"),
        ("attributes.outcome", "attributes.status DESC"),
        ("attributes.duration_s", "attributes.duration_s DESC"),
        ("metrics.val/loss", "metrics.`val/loss` DESC"),
        ("min.val/loss", "metrics.`val/loss`.min DESC"),
        ("params.lr.decay", "params.`lr.decay` DESC"),
        ("tags.mlflow.user", "tags.`mlflow.user` DESC"),
        ("metrics.a`b", None),
    ],
)
def test_a_column_is_ordered_by_in_the_filter_language(token, order):
    column = parse_column(token)
    assert column.token == token
    assert column.order_by("desc") == order


@pytest.mark.parametrize("token", ["", "metrics", "metrics.", "attributes.shoe_size", "secrets.key"])
def test_an_unknown_token_is_no_column(token):
    assert parse_column(token) is None


def test_every_attribute_has_a_header_and_a_column():
    assert [parse_column(f"attributes.{name}").label for name in ATTRIBUTES] == list(ATTRIBUTES.values())


def test_columns_it_is_ordered_by_are_shown():
    state = RunsState(columns=("attributes.run_name",), order=(("metrics.loss", "asc"), ("nonsense", "asc")))
    assert [c.token for c in grid.shown_columns(state, ())] == ["attributes.run_name", "metrics.loss"]


def test_definitions_carry_the_order_and_no_markup():
    columns = [
        GridColumn("metrics", "<img src=x onerror=alert(1)>"),
        GridColumn("params", "lr"),
        GridColumn("tags", "a`b"),
    ]
    first, second, third = grid.column_definitions(columns, [("params.lr", "desc")])
    assert first["headerName"] == "<img src=x onerror=alert(1)>"
    assert (first["sort"], second["sort"], second["sortIndex"]) == (None, "desc", 0)
    assert (first["sortable"], third["sortable"]) == (True, False)
    assert not any("cellRenderer" in d or "valueFormatter" in d for d in (first, second, third))


def test_the_headers_order_becomes_the_querys():
    order = grid.order_of([{"colId": "metrics.loss", "sort": "asc"}, {"colId": "attributes.run_name", "sort": "desc"}])
    assert grid.order_by(order) == ("metrics.`loss` ASC", "attributes.run_name DESC")


def test_cells_are_text():
    columns = [parse_column(t) for t in ("attributes.outcome", "attributes.started_at", "attributes.duration_s")]
    columns += [parse_column("metrics.loss"), parse_column("params.lr")]
    rows = pd.DataFrame(
        {
            "run_id": ["r1", "r2"],
            "attributes.outcome": ["lost", "finished"],
            "attributes.started_at": [STARTED, pd.NaT],
            "attributes.duration_s": [float("nan"), 3720.0],
            "metrics.loss": [0.25, float("nan")],
            "params.lr": [None, "1e-3"],
        }
    )
    assert grid.cells(rows, columns) == [
        {
            "run_id": "r1",
            "attributes.outcome": "Lost",
            "attributes.started_at": "2026-08-03 08:05",
            "attributes.duration_s": "–",
            "metrics.loss": "0.2500",
            "params.lr": "",
        },
        {
            "run_id": "r2",
            "attributes.outcome": "Finished",
            "attributes.started_at": "",
            "attributes.duration_s": "1 h 02 min",
            "metrics.loss": "",
            "params.lr": "1e-3",
        },
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (59.94, "59.9 s"), (90, "1.5 min"), (1800, "30 min"), (3599, "1 h 00 min")],
)
def test_durations_in_words(seconds, text):
    assert grid.duration(seconds) == text


def test_csv_keeps_values_exact_and_runs_nothing_in_a_spreadsheet():
    columns = [parse_column(t) for t in ("attributes.run_id", "metrics.loss", "params.note", "params.=cmd")]
    rows = pd.DataFrame(
        {
            "run_id": ["r1", "r2"],
            "attributes.run_id": ["r1", "r2"],
            "metrics.loss": [0.1 + 0.2, float("nan")],
            "params.note": ['=HYPERLINK("http://x")', "-0.5"],
            "params.=cmd": ['a,"b"\n', None],
        }
    )
    read = list(csv.reader(io.StringIO(grid.to_csv(rows, columns))))
    assert read == [
        ["run_id", "metrics.loss", "params.note", "params.=cmd"],
        ["r1", "0.30000000000000004", '\'=HYPERLINK("http://x")', 'a,"b"\n'],
        ["r2", "", "-0.5", ""],
    ]
