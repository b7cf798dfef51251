"""Drift of inputs and outputs equals what scipy and numpy say, on both engines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.spatial import distance

from mlwarehouse.errors import NotFoundError
from tests.reports.conftest import AskReport, Rows
from tests.reports.scored import frame, tables, together
from tests.reports.test_quality import day, one

TRAINING = frame(10, 400)
DAYS = [frame(11, 120), frame(12, 130, day=1, shift=0.4), frame(13, 90, day=2, shift=1.0)]
FEATURES = ("amount", "city", "p")


def expected(reference: pd.Series, current: pd.Series) -> dict[str, Any]:
    """All figures of one comparison."""
    is_text = reference.dtype == object
    if is_text:
        bins = [s.fillna("\0") for s in (reference, current)]
    else:
        numbers = np.sort(reference.dropna())
        places = np.floor((stats.rankdata(numbers, "min") - 1) * 10 / len(numbers)) + 1
        edges = [numbers[places == k].max() for k in range(1, 10) if (places == k).any()]
        bins = [s.map(lambda v: -1 if math.isnan(v) else sum(v > e for e in edges)) for s in (reference, current)]
    names = sorted({*bins[0], *bins[1]})
    counts = np.array([[int((b == name).sum()) for name in names] for b in bins])
    q, p = (c / c.sum() for c in counts)
    high_q, high_p = np.maximum(q, 1e-4), np.maximum(p, 1e-4)
    found = {
        "n": len(current), "n_reference": len(reference),
        "missing": current.isna().mean(), "missing_reference": reference.isna().mean(),
        "psi": ((high_p - high_q) * np.log(high_p / high_q)).sum(),
        "js_distance": distance.jensenshannon(p, q, base=2),
        "mean": None, "mean_reference": None, "ks": None, "ks_p_value": None,
    }  # fmt: skip
    chi2 = stats.chi2_contingency(counts, correction=False) if len(names) > 1 else None
    found["chi2"], found["chi2_df"] = (chi2.statistic, chi2.dof) if chi2 else (0.0, 0)
    found["cramers_v"] = stats.contingency.association(counts, "cramer") if chi2 else 0.0
    if not is_text and reference.notna().any():
        found["mean_reference"] = reference.mean()
    if not is_text and current.notna().any():
        a, b = reference.dropna(), current.dropna()
        test = stats.ks_2samp(a, b)
        found |= {"mean": b.mean(), "ks": test.statistic}
        found["ks_p_value"] = special.kolmogorov(math.sqrt(len(a) * len(b) / (len(a) + len(b))) * test.statistic)
    return found


def check(row: dict[str, Any], reference: pd.DataFrame, current: pd.DataFrame) -> None:
    wanted = expected(reference[row["feature"]], current[row["feature"]])
    assert {k: row[k] for k in wanted} == {
        k: pytest.approx(v, rel=1e-7, abs=2e-8) if isinstance(v, float) else v for k, v in wanted.items()
    }
    assert row["verdict"] == ("stable" if row["psi"] < 0.1 else "shifting" if row["psi"] < 0.25 else "shifted")


def test_windows_against_the_training_data(ask: AskReport) -> None:
    rows = together(
        tables({"training": [TRAINING], "loans": DAYS}), tables({"training": [DAYS[0]], "loans": DAYS[1:2]}, version=2)
    )
    found = ask("drift", rows, reference="training", datasets="loans")
    assert len(found) == 4 * len(FEATURES)
    for feature in FEATURES:
        for n, current in enumerate(DAYS):
            row = one(found, feature=feature, model_version=1, window_start=day(n))
            assert row["kind"] == ("output" if feature == "p" else "input")
            check(row, TRAINING, current)
        check(one(found, feature=feature, model_version=2), DAYS[0], DAYS[1])
    assert [r["psi"] for r in found] == sorted((r["psi"] for r in found), reverse=True)


def test_windows_against_the_first(ask: AskReport) -> None:
    rows = tables({"loans": DAYS, "cars": DAYS[1:]})
    found = ask("drift", rows)
    assert len(found) == 3 * len(FEATURES)
    for feature in FEATURES:
        for dataset, first, others in (("loans", 0, (1, 2)), ("cars", 1, (2,))):
            for n in others:
                check(one(found, dataset=dataset, feature=feature, window_start=day(n)), DAYS[first], DAYS[n])


def test_one_window_of_all_and_only_some_features(embedded: AskReport) -> None:
    found = embedded("drift", tables({"training": [TRAINING], "loans": DAYS}), reference="training", window="all")
    for feature in FEATURES:
        row = one(found, feature=feature)
        assert row["window_start"] is None
        check(row, TRAINING, pd.concat(DAYS))
    some = embedded("drift", tables({"loans": DAYS}), features=["city", "p"], models="m")
    assert {r["feature"] for r in some} == {"city", "p"}
    assert embedded("drift", tables({"loans": DAYS}), window="all") == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    reference=st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.25, 3.0, math.nan]), min_size=1, max_size=30),
    current=st.lists(st.sampled_from([-1.5, 0.0, 0.1, 0.25, 7.0, math.nan]), min_size=1, max_size=30),
)
def test_ties_gaps_and_few_rows(embedded: AskReport, reference: list[float], current: list[float]) -> None:
    old, new = (frame(n, len(values)).assign(amount=values) for n, values in enumerate((reference, current), start=1))
    found = embedded("drift", tables({"a": [old], "b": [new]}, features=("amount",)), reference="a", window="all")
    row = one(found, feature="amount")
    if old["amount"].notna().any():
        check(row, old, new)
    else:
        assert (row["missing_reference"], row["ks"], row["mean_reference"]) == (1.0, None, None)


def test_inputs_of_a_scoring_without_predictions_do_not_count(embedded: AskReport) -> None:
    rows = tables({"loans": DAYS[:2]})
    killed = [r | {"writer_id": "score:killed", "value": 99.0} for r in rows["prediction_inputs"] if "value" in r]
    rows["prediction_inputs"] += killed
    check(one(embedded("drift", rows), feature="amount"), DAYS[0], DAYS[1])


def test_names_that_nobody_scored_are_told(embedded: AskReport) -> None:
    rows: dict[str, Rows] = tables({"loans": DAYS[:1]})
    with pytest.raises(NotFoundError, match=r"dataset `loan`; there are loans. Did you mean `loans`"):
        embedded("drift", rows, reference="loan")
    with pytest.raises(NotFoundError, match="there are none"):
        embedded("calibration", {}, datasets=["loans"])
    with pytest.raises(NotFoundError, match=r"kept of `amuont`; there are amount, city, p. Did you mean `amount`"):
        embedded("drift", rows, features="amuont")
    with pytest.raises(NotFoundError, match="scored by model `n`; there are m"):
        embedded("regression_quality", rows, models=["m", "n"])
