import pytest

from mlwarehouse.engines.parse import parse_select
from mlwarehouse.engines.render import render
from mlwarehouse.tables.views import REPORTS, view


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_the_columns_it_declares(project, name):
    frame = project.sql(f"SELECT * FROM {name}")
    assert frame.columns.tolist() == list(view(name).columns)
    assert len(frame) > 0


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_its_grain(project, name):
    keys = {
        "project_runs": "run_id",
        "runs_by_day": "day, experiment_id, user_id, outcome",
        "goal_progress": "run_id, series, direction",
        "goal_records": "run_id, series, direction",
        "sweep_runs": "run_id",
    }
    doubled = project.sql(f"SELECT {keys[name]} FROM {name} GROUP BY {keys[name]} HAVING COUNT(*) > 1")
    assert doubled.empty


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_can_be_said_in_sparks_dialect(name):
    assert render(parse_select(view(name).sql), dialect="spark").startswith(("WITH", "SELECT"))


def test_every_report_file_is_in_the_tuple():
    from importlib import resources

    files = {p.name.removesuffix(".sql") for p in (resources.files("mlwarehouse") / "sql" / "reports").iterdir()}
    assert files == set(REPORTS)


def test_the_reports_agree_with_each_other(project):
    days = project.sql("SELECT CAST(SUM(n_runs) AS BIGINT) AS n, SUM(duration_s) AS s FROM runs_by_day").iloc[0]
    runs = project.sql("SELECT COUNT(*) AS n, SUM(duration_s) AS s FROM project_runs").iloc[0]
    assert days["n"] == runs["n"] == 72
    assert days["s"] == pytest.approx(runs["s"])
