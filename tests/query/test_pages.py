"""Pages of runs from rows kept by run: the same as from the views, also where runs are equal in order."""

from __future__ import annotations

import datetime as dt
import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_page_files import PAGES
from mlwarehouse.engines.embedded_states import derived_folder, refresh
from mlwarehouse.query import best, get_run, pages, search_runs
from mlwarehouse.query.best import find_best
from mlwarehouse.tables import TABLES
from tests.query.conftest import fill

N_RUNS = 48
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def events(rng: random.Random, numbers: range, *, first_seq: int, n_starts: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Runs of few start times and few values, so that many are equal; written in any order."""
    rows: dict[str, list[dict[str, Any]]] = {n: [] for n in ("run_events", "param_events", "tag_events", "metrics")}
    seq = first_seq

    def add(table: str, **columns: Any) -> None:
        nonlocal seq
        rows[table].append({"writer_id": "w", "writer_seq": seq, "recorded_at": START, "attempt": 0, **columns})
        seq += 1

    for number in rng.sample(numbers, len(numbers)):
        run_id = f"{number * 7919 % 1000:03d}"
        at = START + dt.timedelta(hours=rng.randrange(n_starts))
        add(
            "run_events", run_id=run_id, kind="started", experiment_id=str(1 + number % 2), name=f"r{number}",
            status="RUNNING", actor="ana", event_at=at,
        )  # fmt: skip
        if rng.random() < 0.3:
            add("run_events", run_id=run_id, kind="ended", status="FINISHED", event_at=at + dt.timedelta(minutes=5))
        if rng.random() < 0.2:
            add("run_events", run_id=run_id, kind="deleted", event_at=at + dt.timedelta(minutes=6))
        for key in rng.sample(["a", "b", "c d"], rng.randrange(4)):
            add("metrics", run_id=run_id, key=key, step=1, value=rng.choice([1.0, 2.0, float("nan")]), event_at=at)
            add("param_events", run_id=run_id, key=key, value=rng.choice(["1", "x"]), value_number=None, event_at=at)
        if rng.random() < 0.5:
            add("tag_events", run_id=run_id, key="team", value="nlp", event_at=at)
    return rows


EXPERIMENTS: dict[str, list[dict[str, Any]]] = {
    "experiment_events": [
        {
            "experiment_id": str(number), "kind": "created", "name": f"e{number}", "event_at": START, "actor": "ana",
            "recorded_at": START, "writer_id": "w", "writer_seq": number,
        }
        for number in (1, 2)
    ]
}  # fmt: skip

FILTERS = (
    "",
    "metrics.a > 0.5",
    "metrics.a >= 1 AND params.b = 'x'",
    "metrics.a > 0 AND metrics.b <= 2 AND tags.team LIKE 'n%'",
    "metrics.a = 1 OR params.b = 'x'",
    "NOT (metrics.a = 1) AND status = 'RUNNING'",
    "params.`c d` IN ('x', '1') AND metrics.a IS NULL",
    "metrics.a BETWEEN 1 AND 2 AND NOT (params.a = '1' AND tags.team = 'nlp')",
)
ORDERS = (
    [],
    ["metrics.a DESC"],
    ["metrics.a"],
    ["params.a", "metrics.b DESC"],
    ["run_id DESC"],
    ["start_time", "status"],
)


def ask(engine: EmbeddedEngine, **question: Any) -> pd.DataFrame:
    return search_runs(engine, Reading(), unknown_keys="ignore", **question)


@pytest.fixture
def pair(tmp_path: Path):
    """An engine that has folded most of the events, and one with the same events and no fold."""
    rng = random.Random(20261121)
    ours = EmbeddedEngine(tmp_path / "ours" / "tables")
    ours.create_tables(TABLES)
    fill(ours, EXPERIMENTS)
    fill(ours, events(rng, range(N_RUNS - 8), first_seq=10))
    refresh(ours.tables, least_rows=1)
    # Behind the folds: new runs, and a few that go on.
    fill(ours, events(rng, range(N_RUNS - 8, N_RUNS), first_seq=10_000))
    late = {"run_id": "000", "key": "a", "step": 2, "value": 2.0, "event_at": START, "attempt": 0}
    fill(ours, {"metrics": [{**late, "writer_id": "w", "writer_seq": 20_000, "recorded_at": START}]})
    shutil.copytree(tmp_path / "ours" / "tables", tmp_path / "plain" / "tables")
    plain = EmbeddedEngine(tmp_path / "plain" / "tables")
    assert ours.keeps_rows(ours.with_kept(Reading()))
    assert not plain.keeps_rows(plain.with_kept(Reading()))
    yield ours, plain
    ours.close()
    plain.close()


@pytest.mark.parametrize("filter_string", FILTERS)
def test_each_page_is_that_of_the_views(pair, filter_string):
    ours, plain = pair
    rng = random.Random(filter_string)
    for order in [ORDERS[0], *rng.sample(ORDERS[1:], 2)]:
        whole = ask(plain, filter_string=filter_string, order_by=order)
        pd.testing.assert_frame_equal(ask(ours, filter_string=filter_string, order_by=order), whole)
        for _ in range(3):
            size, offset = rng.randrange(1, 9), rng.randrange(len(whole) + 2)
            page = ask(ours, filter_string=filter_string, order_by=order, max_results=size, offset=offset)
            assert page.run_id.tolist() == whole.run_id.tolist()[offset : offset + size]
    assert filter_string == "" or 0 < len(whole) < N_RUNS


@pytest.mark.parametrize("spare", [0, 4, 100])
def test_the_best_are_found_before_the_runs_are_looked_at(pair, monkeypatch, spare):
    rng = random.Random(spare)
    shared = {"step": 1, "event_at": START, "attempt": 0, "writer_id": "u", "recorded_at": START}
    values = [
        {"run_id": f"{n * 7919 % 1000:03d}", "key": key, "value": value, "writer_seq": 10 * n + len(key), **shared}
        for n in range(N_RUNS)
        for key, value in (("u", n * 31 % 97 / 97), ("vv", rng.choice([0.5, 1.0, 1.5, float("inf")])))
    ]
    gone = {"experiment_id": "2", "kind": "deleted", "event_at": START, "writer_id": "w", "recorded_at": START}
    late = {"experiment_events": [{**gone, "writer_seq": 30_000}]} if spare == 4 else {}
    for engine in pair:
        fill(engine, {"metrics": values, **late})
    ours, plain = pair
    refresh(ours.tables, least_rows=1)
    outcomes = []

    def spied(*arguments):
        outcomes.append(find_best(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(pages, "find_best", spied)
    monkeypatch.setattr(best, "SPARE", spare)
    for order in (["metrics.u DESC"], ["metrics.vv"], ["metrics.vv DESC", "metrics.u"]):
        for view_type in (1, 2, 3):
            question = {"filter_string": "metrics.u > 0.1 AND metrics.vv < 9", "order_by": order}
            whole = ask(plain, run_view_type=view_type, **question)
            for size in (1, 3, 10, 40):
                offset = rng.randrange(len(whole) + 2)
                page = ask(ours, run_view_type=view_type, max_results=size, offset=offset, **question)
                assert page.run_id.tolist() == whole.run_id.tolist()[offset : offset + size]
    n_found = sum(outcome is not None for outcome in outcomes)
    assert len(outcomes) == 36
    assert n_found == 36 if spare == 100 else 0 < n_found < 36


def test_of_runs_that_are_equal_the_latest_are_the_best(tmp_path, monkeypatch):
    engine = EmbeddedEngine(tmp_path / "tables")
    engine.create_tables(TABLES)
    fill(engine, EXPERIMENTS)
    rows = events(random.Random(1), range(N_RUNS), first_seq=10, n_starts=100_000)
    shared = {"key": "same", "step": 1, "value": 1.0, "event_at": START, "attempt": 0, "recorded_at": START}
    ids = {row["run_id"] for row in rows["run_events"]}
    rows["metrics"] += [{"run_id": r, **shared, "writer_id": "u", "writer_seq": int(r)} for r in sorted(ids)]
    fill(engine, rows)
    question = {"filter_string": "metrics.same > 0", "order_by": ["metrics.same"], "run_view_type": 3}
    whole = ask(engine, **question).run_id.tolist()
    assert len(whole) == N_RUNS
    refresh(engine.tables, least_rows=1)
    assert engine.keeps_rows(engine.with_kept(Reading()))
    monkeypatch.setattr(best, "SPARE", 0)
    for size, offset in ((1, 0), (5, 0), (5, 7), (40, 3), (N_RUNS, 0)):
        assert ask(engine, max_results=size, offset=offset, **question).run_id.tolist() == whole[offset : offset + size]
    engine.close()


def test_pages_put_together_have_each_run_once(pair):
    ours, _ = pair
    whole = ask(ours, run_view_type=3)
    assert len(whole) == N_RUNS
    assert whole.start_time.nunique() == 3
    pages = [ask(ours, run_view_type=3, max_results=5, offset=offset) for offset in range(0, N_RUNS, 5)]
    assert [run for page in pages for run in page.run_id] == whole.run_id.tolist()


@pytest.mark.parametrize(
    "columns",
    [["run_id", "duration_s", "experiment_name"], ["metrics.a.max", "params.*"], ["run_id", "attempt", "tags.team"]],
)
def test_chosen_columns(pair, columns):
    ours, plain = pair
    pd.testing.assert_frame_equal(ask(ours, columns=columns), ask(plain, columns=columns))


def test_single_runs_and_lists(pair):
    ours, plain = pair
    assert repr(ask(ours, output_format="list")) == repr(ask(plain, output_format="list"))
    for run_id in ask(plain, run_view_type=3).run_id:
        assert repr(get_run(ours, None, run_id)) == repr(get_run(plain, None, run_id))


@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_page_files_that_cannot_be_read_are_done_without(pair, damage):
    ours, plain = pair
    for path in (derived_folder(ours.tables) / PAGES).iterdir():
        whole = path.read_bytes()
        path.unlink()
        if damage != "gone":
            path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    pd.testing.assert_frame_equal(ask(ours), ask(plain))
    run_id = ask(plain).run_id[0]
    assert repr(get_run(ours, None, run_id)) == repr(get_run(plain, None, run_id))


def test_old_page_files_are_removed_when_nobody_can_be_reading_them(pair, monkeypatch):
    ours, _ = pair
    folder = derived_folder(ours.tables) / PAGES
    before = set(folder.iterdir())
    refresh(ours.tables, least_rows=1)
    assert before < set(folder.iterdir())
    monkeypatch.setattr("mlwarehouse.engines.embedded_page_files.RETENTION_S", -1.0)
    fill(ours, {"metrics": [
        {"run_id": "000", "key": "a", "step": 3, "value": 1.0, "event_at": START, "attempt": 0, "writer_id": "w",
         "writer_seq": 30_000, "recorded_at": START}
    ]})  # fmt: skip
    refresh(ours.tables, least_rows=1)
    assert len(set(folder.iterdir())) == 1
    assert len(ask(ours, run_view_type=3)) == N_RUNS
