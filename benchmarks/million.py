"""What is asked of a million runs with ten params and ten metrics each, a thousand of them with curves: one a question.

Both sides answer from stores that were made beforehand; each question runs in a process of its own, the first one cold.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.many_runs import (
    CURVE_STEPS,
    KEYS,
    RUNS_PER_EXPERIMENT,
    curve_values,
    experiment_of,
    fill_mlflow,
    fill_ours,
    run_ids,
    values_of,
)
from benchmarks.search import FILTER, MOST, ORDER
from benchmarks.search import expected as best_of_all
from benchmarks.stores import store

RUNS = 1_000_000
CURVES = 1_000
REPEATS = 5
ENOUGH_S = 10.0
"""Questions that take long are asked less often."""


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: Of its benchmark.
        what: In words.
        bar: What is wanted of us.
        ours: Asks our warehouse, with ``n`` runs.
        theirs: Asks MLflow.
        answer: What is compared of either's answer.
        expected: The same from the generator.
        n_points: Points in the answer, where the figure is points a second.
    """

    name: str
    what: str
    bar: Bar
    ours: Callable[[Any, int], Any]
    theirs: Callable[[int], Any]
    answer: Callable[[Any, int], Any]
    expected: Callable[[int], Any]
    n_points: Callable[[int], int] | None = None


def n_curves(n: int) -> int:
    """How many runs have a curve."""
    return min(CURVES, max(n // 100, 2))


def middle(n: int) -> str:
    """An experiment in the middle."""
    return f"e{experiment_of(n // 2)}"


def ours_at(place: Path, n: int) -> Path:
    """Our warehouse of ``n`` runs."""
    from mlwarehouse import Warehouse

    def make(folder: Path) -> None:
        fill_ours(folder, n, n_curves=n_curves(n))
        Warehouse(folder, committer="off").maintain()

    return store(f"ours-{n}", place, make)


def mlflow_at(place: Path, n: int) -> str:
    """The address of MLflow's store of ``n`` runs."""
    return f"sqlite:///{store(f'mlflow-{n}', place, lambda folder: _fill_mlflow(folder, n))}/mlflow.db"


def _fill_mlflow(folder: Path, n: int) -> None:
    fill_mlflow(folder, n, n_curves=n_curves(n))


def timed(ask: Callable[[], Any]) -> tuple[float, float, Any]:
    """The first time and the median of some more, in seconds, and the answer."""
    costs: list[float] = []
    answer = None
    while len(costs) <= REPEATS and (not costs or sum(costs) < ENOUGH_S):
        before = time.perf_counter()
        answer = ask()
        costs.append(time.perf_counter() - before)
    return costs[0], statistics.median(costs[1:] or costs), answer


def _measured(question: Question, n: int, ask: Callable[[], Any]) -> Measured:
    first, usual, found = timed(ask)
    if question.n_points is not None:
        points = question.n_points(n)
        return Measured(points / usual, question.answer(found, n), extra={"first": points / first})
    return Measured(1000 * usual, question.answer(found, n), extra={"first": 1000 * first})


def _benchmark(question: Question) -> Benchmark:
    return Benchmark(
        name=question.name,
        what=f"1 M runs: {question.what}",
        unit="ms" if question.n_points is None else "points/s",
        is_better_low=question.n_points is None,
        us=Side("mlwarehouse", _side(question, "ours"), RUNS),
        others=(Side("MLflow, SQLite", _side(question, "theirs"), RUNS),),
        bar=question.bar,
        expected=question.expected,
    )


@dataclass(frozen=True)
class _Asking:
    """One side of a question; an object, since it goes to another process by its name."""

    name: str
    side: str

    def __call__(self, place: Path, n: int) -> Measured:
        question = next(q for q in QUESTIONS if q.name == self.name)
        if self.side == "theirs":
            import mlflow

            mlflow.set_tracking_uri(mlflow_at(place, n))
            return _measured(question, n, lambda: question.theirs(n))
        from mlwarehouse import Warehouse

        root = ours_at(place, n)
        warehouse = Warehouse(root, committer="off")
        found = _measured(question, n, lambda: question.ours(warehouse, n))
        warehouse.close()
        return found


def _side(question: Question, side: str) -> _Asking:
    return _Asking(question.name, side)


def faster(times: float) -> Bar:
    """A bar against MLflow."""
    return Bar(f"≥ {times:g} times MLflow's speed", lambda value, best: best >= times * value)


def mlflow_search(**arguments: Any) -> Any:
    """MLflow's search."""
    import mlflow

    return mlflow.search_runs(**arguments)


def _best(frame: Any, n: int) -> tuple[Any, ...]:
    number = {run: i for i, run in enumerate(run_ids(0, n))}
    total = round(float(frame["metrics.m3"].sum()), 6)
    n_params = sum(c.startswith("params.") for c in frame.columns)
    return len(frame), number[frame.run_id.iloc[0]], number[frame.run_id.iloc[-1]], total, n_params


def _best_of_one(n: int) -> tuple[Any, ...]:
    first = experiment_of(n // 2) * RUNS_PER_EXPERIMENT
    last = min(first + RUNS_PER_EXPERIMENT, n)
    params, metrics = values_of(first, last)
    found = [i for i in range(last - first) if metrics[i, 3] > 0.5 and str(params[i, 2]).startswith("0.2")]
    found.sort(key=lambda i: -metrics[i, 3])
    top = found[:MOST]
    return len(top), first + top[0], first + top[-1], round(float(sum(metrics[i, 3] for i in top)), 6), KEYS


def _page(frame: Any, n: int) -> tuple[Any, ...]:
    # The mean over the columns of what the first and the last run have, so that every column is looked at.
    metrics = frame[[f"metrics.m{k}" for k in range(KEYS)]]
    params = frame[[f"params.p{k}" for k in range(KEYS)]].astype(float)
    return len(frame), frame.run_id.iloc[0], frame.run_id.iloc[-1], _sum(metrics.to_numpy()), _sum(params.to_numpy())


def _sum(values: Any) -> float:
    return round(float(values.sum()), 3)


def _page_of(first: int, last: int, most: int) -> tuple[Any, ...]:
    start = max(first, last - most)
    params, metrics = values_of(start, last)
    ids = run_ids(start, last)
    return last - start, ids[-1], ids[0], _sum(metrics), _sum(params)


def _page_of_middle(n: int) -> tuple[Any, ...]:
    first = experiment_of(n // 2) * RUNS_PER_EXPERIMENT
    return _page_of(first, min(first + RUNS_PER_EXPERIMENT, n), MOST)


def _some_runs(n: int) -> list[str]:
    return [run_ids(i, i + 1)[0] for i in range(0, n, max(n // 20, 1))]


def _runs(found: list[Any], n: int) -> tuple[Any, ...]:
    return len(found), _sum_of([run.data.metrics["m1"] for run in found])


def _sum_of(values: Any) -> float:
    return round(float(sum(values)), 6)


def _expected_runs(n: int) -> tuple[Any, ...]:
    metrics = [values_of(i, i + 1)[1][0, 1] for i in range(0, n, max(n // 20, 1))]
    return len(metrics), _sum_of(metrics)


def _mlflow_runs(n: int) -> list[Any]:
    import mlflow

    return [mlflow.get_run(run) for run in _some_runs(n)]


def _mlflow_points(runs: list[str]) -> Any:
    import pandas as pd
    from mlflow import MlflowClient

    client = MlflowClient()
    return pd.DataFrame(
        [(run, p.step, p.value) for run in runs for p in client.get_metric_history(run, "loss")],
        columns=["run_id", "step", "value"],
    )


def _curve_runs(n: int) -> list[str]:
    return run_ids(0, n_curves(n))


def _points(frame: Any, n: int) -> tuple[Any, ...]:
    return len(frame), round(float(frame["value"].sum()), 3)


def _expected_points(curves: int) -> tuple[Any, ...]:
    return curves * CURVE_STEPS, round(float(sum(curve_values(c).sum() for c in range(curves))), 3)


def _bests(frame: Any, n: int) -> tuple[Any, ...]:
    return len(frame), _sum_of(frame["best"])


def _mlflow_bests(n: int) -> Any:
    return _mlflow_points(_curve_runs(n)).groupby("run_id")["value"].min().rename("best").reset_index()


QUESTIONS: tuple[Question, ...] = (
    Question(
        "million-filter",
        "filter on metric and param over all experiments, the best 1,000 as a frame",
        faster(20),
        lambda w, n: w.search_runs(search_all_experiments=True, filter_string=FILTER, order_by=ORDER, max_results=MOST),
        lambda n: mlflow_search(search_all_experiments=True, filter_string=FILTER, order_by=ORDER, max_results=MOST),
        _best,
        best_of_all,
    ),
    Question(
        "million-filter-one",
        "the same in one experiment of a hundred",
        faster(50),
        lambda w, n: w.search_runs(
            experiment_names=[middle(n)], filter_string=FILTER, order_by=ORDER, max_results=MOST
        ),
        lambda n: mlflow_search(experiment_names=[middle(n)], filter_string=FILTER, order_by=ORDER, max_results=MOST),
        _best,
        _best_of_one,
    ),
    Question(
        "million-page-one",
        "the newest 1,000 runs of one experiment, all columns",
        faster(10),
        lambda w, n: w.search_runs(experiment_names=[middle(n)], max_results=MOST),
        lambda n: mlflow_search(experiment_names=[middle(n)], max_results=MOST),
        _page,
        _page_of_middle,
    ),
    Question(
        "million-page-all",
        "the newest 1,000 runs of all experiments, all columns",
        faster(5),
        lambda w, n: w.search_runs(search_all_experiments=True, max_results=MOST),
        lambda n: mlflow_search(search_all_experiments=True, max_results=MOST),
        _page,
        lambda n: _page_of(0, n, MOST),
    ),
    Question(
        "million-frame",
        "100,000 runs with all columns as a frame",
        faster(30),
        lambda w, n: w.search_runs(search_all_experiments=True, max_results=100_000),
        lambda n: mlflow_search(search_all_experiments=True, max_results=100_000),
        _page,
        lambda n: _page_of(0, n, 100_000),
    ),
    Question(
        "million-get-run",
        "twenty runs by `get_run`, one after another",
        Bar("no slower than MLflow", lambda value, best: value <= best),
        lambda w, n: [w.get_run(run) for run in _some_runs(n)],
        _mlflow_runs,
        _runs,
        _expected_runs,
    ),
    Question(
        "million-best",
        "the best value of each of 1,000 curves of 5,000 points",
        faster(100),
        lambda w, n: w.sql("SELECT run_id, min AS best FROM metric_summaries WHERE key = 'loss'"),
        _mlflow_bests,
        _bests,
        lambda n: (n_curves(n), _sum_of(float(curve_values(c).min()) for c in range(n_curves(n)))),
    ),
    Question(
        "million-curve",
        "one curve of 5,000 points",
        Bar("≤ 50 ms", lambda value, best: value <= 50),
        lambda w, n: w.metric_history([_curve_runs(n)[-1]], ["loss"]),
        lambda n: _mlflow_points(_curve_runs(n)[-1:]),
        _points,
        lambda n: (CURVE_STEPS, round(float(curve_values(n_curves(n) - 1).sum()), 3)),
    ),
    Question(
        "million-history",
        "all points of 1,000 curves in one frame",
        Bar("≥ 5 M points/s", lambda value, best: value >= 5e6),
        lambda w, n: w.metric_history(experiment_names=["e0"], keys=["loss"]),
        lambda n: _mlflow_points(_curve_runs(n)),
        _points,
        lambda n: _expected_points(n_curves(n)),
        n_points=lambda n: n_curves(n) * CURVE_STEPS,
    ),
)
"""The questions."""

BENCHMARKS: tuple[Benchmark, ...] = tuple(_benchmark(question) for question in QUESTIONS)
