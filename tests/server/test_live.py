"""Runs held in memory, and when what was written is on disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import ParamConflictError
from mlwarehouse.mlflow_api import MlflowStore, find_call, live

AT = 1_772_366_400_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MlflowStore]:
    opened = MlflowStore(Warehouse(tmp_path / "wh", committer="off"), artifact_root="mlflow-artifacts:")
    yield opened
    opened.close()


def call(store: MlflowStore, method: str, path: str, **body: Any) -> Any:
    found = find_call(method, path)
    assert found is not None
    answer = found[0](store, body)
    # What is answered is on disk.
    assert not store.recorder.writer.is_dirty
    return answer


def new_run(store: MlflowStore) -> str:
    return str(call(store, "POST", "runs/create", experiment_id="0")["run"]["info"]["run_id"])


def log(store: MlflowStore, run_id: str, n: int) -> None:
    call(store, "POST", "runs/log-metric", run_id=run_id, key="m", value=n, step=n, timestamp=AT)


def test_runs_that_are_let_go_of_are_read_again(store: MlflowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_RUNS", 2)
    runs = [new_run(store) for _ in range(5)]
    for n in range(4):
        for run_id in runs:
            log(store, run_id, n)
            call(store, "POST", "runs/log-parameter", run_id=run_id, key=f"p{n}", value=str(n))
        assert len(store.runs._held) == 2
    for run_id in runs:
        data = call(store, "GET", "runs/get", run_id=run_id)["run"]["data"]
        assert data["metrics"] == [{"key": "m", "value": 3.0, "timestamp": AT, "step": 3}]
        assert [p["key"] for p in data["params"]] == ["p0", "p1", "p2", "p3"]
        history = call(store, "GET", "metrics/get-history", run_id=run_id, metric_key="m")
        assert [m["step"] for m in history["metrics"]] == [0, 1, 2, 3]


def test_threads_that_log_while_runs_are_let_go_of_mix_nothing_up(
    store: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_RUNS", 2)
    runs = [new_run(store) for _ in range(4)]
    wrong: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(25):
                body = {"key": f"m{number}", "value": n, "step": n, "timestamp": AT, "run_id": runs[number]}
                found = find_call("POST", "runs/log-metric")
                assert found is not None
                found[0](store, body)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for number, run_id in enumerate(runs):
        metrics = call(store, "GET", "runs/get", run_id=run_id)["run"]["data"]["metrics"]
        assert metrics == [{"key": f"m{number}", "value": 24.0, "timestamp": AT, "step": 24}]


def test_of_two_calls_that_set_a_param_at_once_one_is_refused(store: MlflowStore) -> None:
    run_id, answers = new_run(store), []
    found = find_call("POST", "runs/log-parameter")
    assert found is not None
    barrier = threading.Barrier(8)

    def work(value: str) -> None:
        barrier.wait()
        try:
            found[0](store, {"run_id": run_id, "key": "p", "value": value})
            answers.append(value)
        except ParamConflictError:
            answers.append("refused")

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[1:] == ["refused"] * 7
    (told,) = call(store, "GET", "runs/get", run_id=run_id)["run"]["data"]["params"]
    assert told["value"] in answers
