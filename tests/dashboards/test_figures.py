import math

import numpy as np
import pandas as pd
import pytest

from mlwarehouse.dashboards import figures
from mlwarehouse.dashboards.downsample import downsample

HOSTILE = "<b onmouseover=alert(1)>x</b><a href='javascript:alert(1)'>y</a>"
ESCAPED = "&lt;b onmouseover=alert(1)&gt;x&lt;/b&gt;&lt;a href='…"


def _runs(values, name="run", experiment="e"):
    at = pd.date_range("2026-08-03", periods=len(values), freq="h", tz="UTC")
    return pd.DataFrame(
        {
            "run_id": [f"{i:032x}" for i in range(len(values))],
            "run_name": [f"{name}{i}" for i in range(len(values))],
            "experiment_name": experiment,
            "user_id": None,
            "value": values,
            "reached_at": at,
        }
    )


def test_every_run_is_a_dot_and_the_records_make_the_line():
    frame = _runs([0.9, 0.5, 0.7, 0.4])
    figure = figures.best_so_far(frame, records=frame.iloc[[0, 1, 3]], goal="loss", direction="min")
    dots, line, records = figure.data
    assert list(dots.y) == [0.9, 0.5, 0.7, 0.4]
    assert list(line.y) == [0.9, 0.5, 0.4, 0.4]
    assert line.line.shape == "hv"
    assert line.x[-1] == frame["reached_at"].iloc[-1].tz_localize(None)
    assert list(records.y) == [0.9, 0.5, 0.4]
    assert figure.layout.annotations[0].text == "run3  <b>0.4000</b>"


def test_a_wild_run_does_not_flatten_the_others_and_is_told():
    values = [1 - i / 100 for i in range(40)] + [1e9]
    frame = _runs(values)
    figure = figures.best_so_far(frame, records=frame.iloc[:40], goal="loss", direction="min")
    low, high = figure.layout.yaxis.range
    assert low < 0.61
    assert 1 < high < 2
    assert [a.text for a in figure.layout.annotations][-1] == "1 run far off the axis"


def test_an_ordinary_spread_keeps_the_whole_axis():
    frame = _runs([1 - i / 100 for i in range(40)])
    assert figures.best_so_far(frame, records=frame, goal="loss", direction="min").layout.yaxis.range is None


def test_many_runs_are_thinned_and_all_records_stay():
    frame = _runs([float(i) for i in range(5_000)])
    figure = figures.best_so_far(frame, records=frame.iloc[[0, 4_999]], goal="acc", direction="max")
    assert 1_000 < len(figure.data[0].y) <= figures.MAX_DOTS
    assert list(figure.data[-1].y) == [0.0, 4999.0]


def test_experiments_beyond_the_palette_are_drawn_as_other():
    frame = pd.concat([_runs([float(i)], experiment=f"e{i}") for i in range(9)], ignore_index=True)
    figure = figures.best_so_far(frame, records=frame.iloc[:1], goal="acc", direction="max")
    names = [t.name for t in figure.data]
    assert names == [*(f"e{i}" for i in range(figures.MAX_SERIES)), "other", "best so far", "record"]
    assert len(figure.data[figures.MAX_SERIES].y) == 3


def test_text_from_data_is_never_markup():
    frame = _runs([0.5, 0.4], name=HOSTILE, experiment=HOSTILE)
    frame["user_id"] = HOSTILE
    best = figures.best_so_far(frame, records=frame, goal=HOSTILE, direction="min")
    bars = figures.activity_bars(
        pd.DataFrame({"starts_at": frame["reached_at"], "series": HOSTILE, "n_runs": 1}), unit="day"
    )
    curves = figures.curve_overlay(
        pd.DataFrame({"run_id": "r", "series": HOSTILE, "step": [0, 1], "value": [1.0, 2.0]}), key=HOSTILE
    )
    for figure in (best, bars, curves):
        text = str(figure.to_plotly_json())
        assert "<b onmouseover" not in text
        assert "<a href" not in text
    assert ESCAPED[:30] in best.layout.yaxis.title.text
    assert "%{y" not in bars.data[0].name


def test_shares_of_outcomes_add_up_per_unit():
    week = pd.Timestamp("2026-08-03", tz="UTC")
    frame = pd.DataFrame(
        {
            "starts_at": [week, week, week + pd.Timedelta(days=7)],
            "outcome": ["finished", "failed", "lost"],
            "n_runs": [3, 1, 2],
        }
    )
    figure = figures.outcome_shares(frame, unit="week")
    assert {t.name: list(t.y) for t in figure.data} == {"Finished": [0.75, 0], "Failed": [0.25, 0], "Lost": [0, 1]}
    assert {t.name: list(t.customdata) for t in figure.data}["Finished"] == [3, 0]


def test_activity_adds_small_groups_together():
    day = pd.Timestamp("2026-08-03", tz="UTC")
    frame = pd.DataFrame({"starts_at": day, "series": [f"u{i}" for i in range(8)], "n_runs": [9, 8, 7, 6, 5, 4, 2, 1]})
    figure = figures.activity_bars(frame, unit="day")
    assert [(t.name, list(t.y)) for t in figure.data][-1] == ("other", [3])


def test_curves_of_runs_with_one_name_stay_apart():
    frame = pd.DataFrame({"run_id": ["a", "a", "b"], "series": "same", "step": [0, 1, 0], "value": [1.0, 2.0, 3.0]})
    figure = figures.curve_overlay(frame, key="loss")
    assert [list(t.y) for t in figure.data] == [[1.0, 2.0], [3.0]]
    assert [t.mode for t in figure.data] == ["lines", "markers"]


def test_figures_leave_their_frame_alone():
    frame = _runs([0.9, 0.5])
    before = frame.copy(deep=True)
    figures.best_so_far(frame, records=frame, goal="loss", direction="min")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (0.0, "0"), (1_234_567.0, "1.235e+06"),
        (0.28149, "0.2815"), (0.5, "0.5000"), (79.04, "79.04"), (1234.56, "1,234.6"), (12345.6, "12,346"),
        (3e-7, "3.000e-07"), (-12.0, "-12"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits(value, text):
    assert figures.number(value) == text


def test_a_thinned_curve_keeps_its_ends_and_extremes():
    values = np.sin(np.arange(100_000) / 900)
    values[[12_345, 67_890]] = 50.0, -50.0
    values[0] = np.nan
    chosen = downsample(values, 2_000)
    assert len(chosen) <= 2_000
    assert {0, 12_345, 67_890, 99_999} <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()


def test_a_short_curve_is_kept_whole_and_a_senseless_limit_is_refused():
    assert downsample(np.array([3.0, np.nan, 1.0]), 4).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 4"):
        downsample(np.array([1.0]), 3)
