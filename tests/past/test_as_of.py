"""Every question can be asked of the past: as of a moment it answers what it answered then, and so does a snapshot."""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import random
from pathlib import Path

import pyarrow as pa
import pytest

from mlwarehouse import Warehouse, WarehouseError
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.models import save_model
from mlwarehouse.tables import RUN_EVENTS
from tests.past.conftest import log_run


def frame(table: pa.Table) -> list:
    return sorted(map(repr, table.to_pylist()))


def downloaded(warehouse: Warehouse, run_id: str, target: Path, **when) -> dict[str, str]:
    folder = warehouse.download_artifacts(run_id, target=target / random.randbytes(8).hex(), **when)
    return {p.name: p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def weight(warehouse: Warehouse, **when) -> float:
    return float(warehouse.load_model("models:/m@champion", **when).weight.detach()[0, 0])


ASKING = {
    "search_runs": lambda w, run, tmp, **when: frame(
        w.search_runs(output_format="arrow", run_view_type=3, search_all_experiments=True, **when)
    ),
    "sql": lambda w, run, tmp, **when: frame(
        w.sql("SELECT * EXCLUDE (is_lost) FROM runs", output_format="arrow", **when)
    ),
    "metric_history": lambda w, run, tmp, **when: repr(w.metric_history(keys=["loss"], **when).values.tolist()),
    "report": lambda w, run, tmp, **when: frame(w.report("project_runs", output_format="arrow", **when)),
    "get_run": lambda w, run, tmp, **when: w.get_run(run, **when),
    "get_experiment_by_name": lambda w, run, tmp, **when: w.get_experiment_by_name("late", **when),
    "search_experiments": lambda w, run, tmp, **when: w.search_experiments(**when),
    "registry_at": lambda w, run, tmp, **when: w.registry_at(**when).resolve("models:/m/Production"),
    "get_model_version": lambda w, run, tmp, **when: w.get_model_version("m", 1, **when),
    "get_model_version_by_alias": lambda w, run, tmp, **when: w.get_model_version_by_alias("m", "champion", **when),
    "get_registered_model": lambda w, run, tmp, **when: w.get_registered_model("m", **when),
    "search_model_versions": lambda w, run, tmp, **when: w.search_model_versions(**when),
    "search_registered_models": lambda w, run, tmp, **when: w.search_registered_models(**when),
    "model_history": lambda w, run, tmp, **when: w.model_history("m", **when),
    "find_model": lambda w, run, tmp, **when: w.find_model("models:/m@champion", **when).version,
    "load_model": lambda w, run, tmp, **when: weight(w, **when),
    "download_artifacts": lambda w, run, tmp, **when: downloaded(w, run, tmp, **when),
}
"""Each public method that answers, as a question whose answers can be compared."""


def answer(warehouse: Warehouse, name: str, run: str, tmp: Path, **when):
    try:
        return ASKING[name](warehouse, run, tmp, **when)
    except WarehouseError as error:
        return type(error), str(error)


def test_each_method_that_answers_can_be_asked_of_the_past():
    methods = {n: inspect.signature(m).parameters for n, m in inspect.getmembers(Warehouse, inspect.isfunction)}
    answering = {n for n in methods if n.startswith(("get_", "search_", "find_model", "load_", "download_"))}
    # A webhook is told what happens from now on.
    assert answering - {"get_webhook"} <= ASKING.keys()
    takes_both = {n for n, p in methods.items() if "as_of" in p and "at" in p and not n.startswith("_")}
    takes_both -= {"reading"}
    assert takes_both == ASKING.keys()
    assert all(methods[n]["as_of"].kind is inspect.Parameter.KEYWORD_ONLY for n in ASKING)


def test_what_was_answered_then_is_answered_again(machine, tmp_path):
    import torch

    sources = []
    for number in range(2):
        net = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(net.weight, float(number))
        save_model(tmp_path / f"m{number}", net, init_args={"in_features": 1, "out_features": 1})
        sources.append(str(tmp_path / f"m{number}"))
    near, far, reader = machine("near"), machine("far"), machine("reader")
    dice = random.Random(4)
    run = log_run(near, "first")
    open_run = far.start_run(experiment="late", run_name="open")

    def resume():
        with near.start_run(run_id=run) as again:
            again.log_metric("loss", dice.random(), dice.randrange(5))
            again.set_tag("note", dice.random())
            again.log_text(str(dice.random()), "more.txt")

    steps = [
        resume,
        lambda: log_run(near, f"r{dice.random()}", flush=False),
        # Logged now on a machine that commits at some later time: what counts is when it was recorded.
        lambda: open_run.log_metric("loss", dice.random(), dice.randrange(9)),
        lambda: open_run.log_param(f"p{dice.random()}", 1),
        near.flush,
        far.flush,
    ]
    registering = iter(
        [
            lambda: near.registry.create_model_version("m", source=sources[0], run_id=run, digest=None),
            lambda: near.set_model_alias("m", "champion", 1),
            lambda: near.transition_model_version_stage("m", 1, "Production"),
            lambda: near.registry.create_model_version("m", source=sources[1], run_id=run, digest=None),
            lambda: near.set_model_alias("m", "champion", 2),
            lambda: near.set_model_version_tag("m", 1, "k", "v"),
            lambda: near.registry.create_registered_model("other"),
            lambda: near.delete_model_alias("m", "champion"),
        ]
    )
    seen = []
    for number in range(24):
        (steps[number % 6] if number < 6 else dice.choice(steps))()
        if number % 3 == 2:
            next(registering)()
            then = dt.datetime.now(dt.UTC)
            answers = {name: answer(reader, name, run, tmp_path) for name in ASKING}
            seen.append((then, str(reader.snapshot()), answers))
    open_run.end()
    near.flush()
    far.flush()
    near.maintain()
    for then, snapshot, answers in seen:
        assert {n: answer(reader, n, run, tmp_path, as_of=then) for n in ASKING} == answers
        assert {n: answer(reader, n, run, tmp_path, at=snapshot) for n in ASKING} == answers
    # The moments differ in what was answered, or the comparison would say nothing.
    for name in ASKING:
        assert len({repr(answers[name]) for _, _, answers in seen}) > 1, name


def test_a_run_is_lost_as_of_a_moment_and_not_by_the_clock(machine):
    warehouse = machine("a")
    began = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    row = {
        "run_id": "r",
        "kind": "started",
        "attempt": 0,
        "experiment_id": "0",
        "status": "RUNNING",
        "heartbeat_due_at": began + dt.timedelta(minutes=1),
        "event_at": began,
        "recorded_at": began,
        "writer_id": "w",
        "writer_seq": 0,
    }
    warehouse.engine().append(RUN_EVENTS, pa.Table.from_pylist([row], schema=RUN_EVENTS.arrow_schema()))

    def is_lost(**when) -> bool:
        return warehouse.sql("SELECT is_lost FROM runs", output_format="arrow", **when).column("is_lost")[0].as_py()

    assert is_lost() is True
    snapshot = dataclasses.replace(warehouse.snapshot(), taken_at=int(began.timestamp() * 1000))
    assert is_lost(at=snapshot) is False
    warehouse.maintain()
    # Of folds that are kept, too.
    assert is_lost(at=snapshot) is False
    assert is_lost(at=warehouse.snapshot()) is True
    assert is_lost(as_of=began + dt.timedelta(minutes=2)) is True
    assert is_lost(as_of=began + dt.timedelta(seconds=30)) is False


def test_the_past_can_not_be_changed(machine):
    warehouse = machine("a")
    warehouse.registry.create_registered_model("m")
    past = warehouse.registry_at(at=warehouse.snapshot())
    with pytest.raises(InvalidInputError, match="asked of the registry's past, which can't be changed"):
        past.create_registered_model("n")
    with pytest.raises(InvalidInputError, match="not both"):
        warehouse.get_registered_model("m", as_of="2026-01-01", at=warehouse.snapshot())
    assert warehouse.search_registered_models(as_of="2026-01-01") == []
