"""Quality of predictions whose truth came later equals what scikit-learn and numpy say, on both engines."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from mlwarehouse.errors import InvalidInputError
from tests.reports.conftest import AskReport, Rows
from tests.reports.scored import frame, tables, together
from tests.views.rows import NOON

DAYS = [frame(1, 150), frame(2, 90, day=1, shift=0.5), frame(3, 40, day=40)]
GIVEN = together(tables({"loans": DAYS}), tables({"loans": DAYS[:1]}, version=2))
TOLD = pd.concat([f.assign(window=i) for i, f in enumerate(DAYS)])[lambda f: f["is_told"]]


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def day(n: int) -> dt.datetime:
    return NOON.replace(hour=0) + dt.timedelta(days=n)


def one(rows: Rows, **wanted: Any) -> dict[str, Any]:
    (found,) = [r for r in rows if all(r[k] == v for k, v in wanted.items())]
    return found


def test_errors_of_numbers(ask: AskReport) -> None:
    found = ask("regression_quality", GIVEN, window="day")
    assert [(r["model_version"], r["window_start"], r["n"]) for r in found] == [
        (1, day(0), 150), (1, day(1), 90), (1, day(40), 40), (2, day(0), 150),
    ]  # fmt: skip
    for place, row in enumerate(found[:3]):
        told = TOLD[TOLD["window"] == place]
        assert row["n_labelled"] == len(told)
        assert row["coverage"] == near(len(told) / row["n"])
        assert row["mae"] == near(metrics.mean_absolute_error(told["truth"], told["p"]))
        assert row["rmse"] == near(metrics.root_mean_squared_error(told["truth"], told["p"]))
        assert row["r2"] == near(metrics.r2_score(told["truth"], told["p"]))
        assert row["bias"] == near((told["p"] - told["truth"]).mean())
        assert row["latency_us"] == 2.0
    (in_all,) = ask("regression_quality", GIVEN, window="all", models="m", datasets="loans")[:1]
    assert (in_all["window_start"], in_all["n"]) == (None, 280)
    assert in_all["rmse"] == near(metrics.root_mean_squared_error(TOLD["truth"], TOLD["p"]))


def test_classes_of_a_probability(ask: AskReport) -> None:
    found = [r for r in ask("classification_quality", GIVEN, threshold=0.4) if r["model_version"] == 1]
    actual, predicted = TOLD["truth"].to_numpy(), (TOLD["p"] >= 0.4).astype(float).to_numpy()
    check_classes(found, actual.astype(int).astype(str), predicted.astype(int).astype(str))


def check_classes(found: Rows, actual: Any, predicted: Any) -> None:
    classes = sorted({*actual, *predicted})
    assert [r["class"] for r in found] == classes
    table = metrics.precision_recall_fscore_support(actual, predicted, labels=classes, zero_division=0)
    for place, row in enumerate(found):
        precision, recall, f1, support = (side[place] for side in table)
        assert (row["n_labelled"], row["n_actual"]) == (len(actual), support)
        assert row["n_predicted"] == (predicted == row["class"]).sum()
        assert (row["precision"] or 0.0, row["recall"] or 0.0, row["f1"]) == (near(precision), near(recall), near(f1))
        assert (row["precision"] is None) == (row["n_predicted"] == 0)
        assert (row["recall"] is None) == (row["n_actual"] == 0)
        assert row["accuracy"] == near(metrics.accuracy_score(actual, predicted))
        assert row["macro_f1"] == near(metrics.f1_score(actual, predicted, average="macro"))


@pytest.mark.parametrize("kind", ["text", "value"])
def test_classes_by_name_and_by_number(embedded: AskReport, kind: str) -> None:
    rng = np.random.default_rng(5)
    names = ["cat", "dog", "emu", "fox"] if kind == "text" else ["0", "1", "2", "10"]
    # The last one is predicted and never true, the one before it true and never predicted.
    actual, predicted = rng.choice(names[:3], 80), rng.choice([*names[:2], names[3]], 80)
    given = tables({"animals": [frame(1, 80).assign(is_told=True)]}, features=())
    for place in range(80):
        given["predictions"][place] |= {"value": None, kind: as_kind(kind, predicted[place])}
        given["labels"][place] |= {"value": None, kind: as_kind(kind, actual[place])}
    check_classes(embedded("classification_quality", given), actual, predicted)


def as_kind(kind: str, name: str) -> Any:
    return name if kind == "text" else float(name)


def test_probabilities_against_what_came_true(ask: AskReport) -> None:
    found = [r for r in ask("calibration", GIVEN, bins=8) if r["model_version"] == 1]
    bins = np.maximum(np.ceil(TOLD["p"] * 8), 1).astype(int)
    by_bin = TOLD.groupby(bins).agg(n=("p", "size"), mean=("p", "mean"), observed=("truth", "mean"))
    assert [r["bin"] for r in found] == by_bin.index.tolist()
    for row, (number, wanted) in zip(found, by_bin.iterrows(), strict=True):
        assert (row["lower"], row["upper"], row["n"]) == (near((number - 1) / 8), near(number / 8), wanted.n)
        assert (row["mean_predicted"], row["observed"]) == (near(wanted["mean"]), near(wanted.observed))
        assert row["gap"] == near(wanted.observed - wanted["mean"])
        assert row["ece"] == near(((by_bin["mean"] - by_bin.observed).abs() * by_bin.n).sum() / len(TOLD))
        assert row["brier"] == near(metrics.brier_score_loss(TOLD["truth"], TOLD["p"]))


def test_errors_by_slices_of_inputs(ask: AskReport) -> None:
    found = [r for r in ask("error_by_slice", GIVEN, threshold=0.5, slices=4) if r["model_version"] == 1]
    wrong = ((TOLD["p"] >= 0.5) != TOLD["truth"]).astype(float)
    error = TOLD["p"] - TOLD["truth"]
    for city in ("Oslo", "Rome", "Lima", None):
        row = one(found, feature="city", slice_text=city)
        rows = TOLD["city"].isna() if city is None else TOLD["city"] == city
        assert (row["n"], row["share"]) == (rows.sum(), near(rows.mean()))
        assert (row["error_rate"], row["mae"]) == (near(wrong[rows].mean()), near(error[rows].abs().mean()))
        assert row["bias"] == near(error[rows].mean())
    slices = [r for r in found if r["feature"] == "amount" and r["slice_from"] is not None]
    assert sum(r["n"] for r in slices) == TOLD["amount"].notna().sum()
    assert len(slices) == 4
    assert all(a["slice_to"] < b["slice_from"] for a, b in itertools.pairwise(slices))
    for row in slices:
        rows = TOLD["amount"].between(row["slice_from"], row["slice_to"])
        assert (row["n"], row["error_rate"]) == (rows.sum(), near(wrong[rows].mean()))
        assert row["n"] == pytest.approx(TOLD["amount"].notna().sum() / 4, abs=12)
    assert one(found, feature="amount", slice_from=None)["n"] == TOLD["amount"].isna().sum()
    assert {r["feature"] for r in ask("error_by_slice", GIVEN, features="city")} == {"city"}


def test_what_is_told_last_counts_and_what_is_taken_back_does_not(embedded: AskReport) -> None:
    given = tables({"loans": [frame(1, 3).assign(is_told=True, p=[0.0, 0.5, 1.0], truth=0.0)]}, features=())
    late = {"dataset": "loans", "output": "p", "recorded_at": 1e6, "writer_id": "labels:y"}
    for seq, (key, value) in enumerate([("1-0", 1.0), ("1-1", None)]):
        given["labels"].append(late | {"row_key": key, "value": value, "writer_seq": seq})
    # The last row is scored anew by the same version.
    again = given["predictions"][2] | {"value": 0.25, "recorded_at": 1e6, "writer_id": "score:again"}
    given["predictions"].append(again)
    (row,) = embedded("regression_quality", given)
    assert (row["n"], row["n_labelled"], row["mae"]) == (3, 2, near((1.0 + 0.25) / 2))


def test_bins_and_slices_are_counted_from_one(embedded: AskReport) -> None:
    for name, parameter in (("calibration", "bins"), ("error_by_slice", "slices")):
        for value in (0, -1, 2.5, "none"):
            with pytest.raises(InvalidInputError, match=parameter):
                embedded(name, GIVEN, **{parameter: value})


def test_nothing_known_is_null_and_nothing_scored_no_row(embedded: AskReport) -> None:
    given = tables({"loans": [frame(1, 3).assign(is_told=False)]})
    (row,) = embedded("regression_quality", given)
    assert (row["n"], row["n_labelled"], row["coverage"], row["mae"], row["r2"]) == (3, 0, 0.0, None, None)
    assert (
        embedded("classification_quality", given)
        == embedded("calibration", given)
        == embedded("error_by_slice", given)
        == []
    )
