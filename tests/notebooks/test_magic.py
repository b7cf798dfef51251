"""The magic in a real IPython, and how objects show themselves."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pytest

import mlwarehouse as mlw
from mlwarehouse import fluent


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    made = mlw.Warehouse(tmp_path_factory.mktemp("magic") / "wh", committer="off", capture_code=False)
    with made.start_run(experiment="<script>alert(1)</script>", run_name='<img src=x onerror="alert(2)">') as run:
        run.log_metric("loss", 0.25, 1)
        for number in range(20):
            run.log_param(f"p{number:02}", "<b>" * 60)
        run.set_tag("a&b", "\x1b[31mred")
    yield made
    made.close()


@pytest.fixture(scope="module")
def _shell(tmp_path_factory):
    from IPython.core.interactiveshell import InteractiveShell

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        shell = InteractiveShell()
        shell.history_manager.enabled = False
        shell.run_line_magic("load_ext", "mlwarehouse")
        yield shell


@pytest.fixture
def run_cell(_shell, warehouse, monkeypatch):
    monkeypatch.setattr(fluent, "_current", warehouse)

    def run(text, **names):
        _shell.user_ns.update(names)
        done = _shell.run_cell(text, store_history=False)
        if done.error_in_exec is not None:
            raise done.error_in_exec
        return done.result

    run.names = _shell.user_ns
    return run


def test_a_cell_is_a_question_with_pythons_variables(run_cell):
    frame = run_cell(
        "%%mlw\nSELECT value * $factor AS v,\n  $word AS w FROM metrics WHERE key = $name",
        factor=4,
        word="it's",
        name="loss",
    )
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("records") == [{"v": 1.0, "w": "it's"}]


def test_a_cell_keeps_its_frame_under_a_name(run_cell):
    assert (
        run_cell(
            "%%mlw --into best --format polars --dialect tsql\n"
            "SELECT TOP 1 [key] + '!' AS k FROM metrics WHERE [key] = @name",
            name="loss",
        )
        is None
    )
    assert isinstance(run_cell.names["best"], pl.DataFrame)
    assert run_cell.names["best"]["k"].to_list() == ["loss!"]


def test_a_line_is_a_question_too(run_cell):
    assert run_cell("frame = %mlw SELECT key || '--into x' AS k FROM metrics\nlist(frame['k'])") == ["loss--into x"]
    assert run_cell("%mlw --format arrow SELECT 1 AS one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%mlw\nSELECT $factr AS v", r"no variable of that name. Did you mean `factor`"),
        ("%%mlw --nonsense\nSELECT 1", "unrecognized arguments: --nonsense"),
        ("%%mlw --into 1x\nSELECT 1", "isn't a name of Python"),
        ("%%mlw\nSELECT ? AS v", "as a list"),
        ("%%mlw\nDROP TABLE runs", "Only SELECT"),
        ("%%mlw\nSELECT run_idd FROM runs", "Did you mean `run_id`"),
    ],
)
def test_mistakes_are_told(run_cell, capsys, cell, says):
    with pytest.raises(mlw.WarehouseError, match=says):
        run_cell(cell, factor=1)
    capsys.readouterr()


def objects(warehouse):
    (run,) = warehouse.search_runs(output_format="list")
    version = mlw.ModelVersion("<i>m</i>", 1, 0, description="<script>x</script>", aliases=("champion",))
    model = mlw.RegisteredModel("<i>m</i>", 0, aliases={"<u>a</u>": 1})
    return [run, *warehouse.search_experiments(), version, model, warehouse.snapshot()]


def test_nothing_from_data_becomes_html(warehouse):
    for thing in objects(warehouse):
        shown = thing._repr_html_()
        assert shown.startswith("<table>")
        for bad in ("<script", "<img", "<b>", "<i>", "<u>", 'onerror="', "a&b"):
            assert bad not in shown, (type(thing), bad)


def test_objects_show_themselves_briefly(warehouse):
    run, experiment, version, _, pin = objects(warehouse)
    assert repr(run).startswith(f"Run(run_id='{run.run_id}', name='<img src=x")
    assert "metrics={loss: 0.25}" in repr(run)
    assert "… 8 more" in repr(run)
    assert "\x1b" not in repr(run)
    assert repr(experiment).startswith("Experiment(experiment_id=")
    assert repr(version) == (
        "ModelVersion(name='<i>m</i>', version=1, stage='None', aliases=champion, created='1970-01-01 00:00:00 UTC', "
        "description='<script>x</script>')"
    )
    assert "metrics: " in repr(pin)
    assert mlw.Snapshot.parse(str(pin)) == pin
    assert all(len(repr(thing)) < 1500 and "\n" not in repr(thing) for thing in objects(warehouse))
