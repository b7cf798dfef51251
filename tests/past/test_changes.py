"""The change feed: every event in exactly one page, however the pages are cut and whatever happens in between."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded_log import log_entries
from mlwarehouse.errors import InvalidInputError, NotFoundError, SnapshotGoneError
from mlwarehouse.query.change_kinds import FIELDS, KINDS, NEW_BEST
from mlwarehouse.registry.events import Kind
from mlwarehouse.tables import RUN_EVENTS, TABLES, TABLES_BY_NAME
from tests.past.conftest import log_run
from tests.past.test_snapshots import age_the_log, vacuum

ONE = {"loss": "min"}


def kinds_of(page) -> list[str]:
    return [c.kind for c in page]


def raw_counts(warehouse: Warehouse) -> Counter:
    """How many rows each table has, from plain readers' point of view."""
    engine = warehouse.engine()
    return Counter({t.name: engine.query(f"SELECT count(*) AS n FROM {t.name}").column("n")[0].as_py() for t in TABLES})


def told_counts(changes) -> Counter:
    table = {k.name: k.table for k in KINDS}
    return sum((Counter({table[c.kind]: c.n_rows}) for c in changes if c.kind != NEW_BEST.name), Counter())


UNTOLD = "SELECT count(*) AS n FROM run_events WHERE kind IN ('heartbeat', 'joined', 'left')"
ALLOWED = "SELECT count(*) AS n FROM audit WHERE outcome <> 'refused'"


def test_what_is_told_of_each_table(machine):
    warehouse = machine("a")
    start = warehouse.snapshot()
    with warehouse.start_run(experiment="e", run_name="first") as run:
        run.log_param("lr", 0.5)
        for step in range(3):
            run.log_metric("loss", 3.0 - step, step)
        run.log_text("text", "a.txt")
        run.set_tag("note", "x")
        run.delete_tag("note")
        run.log_input(np.arange(3), name="data", context="training")
    with pytest.raises(ZeroDivisionError), warehouse.start_run(experiment="e", run_name="second"):
        raise ZeroDivisionError
    with warehouse.start_run(run_id=run.run_id):
        pass
    warehouse.flush()
    warehouse.registry.create_model_version("m", source="runs:/x/m", run_id=run.run_id, digest=None)
    warehouse.set_model_alias("m", "champion", 1, comment="best so far")
    warehouse.transition_model_version_stage("m", 1, "Production")
    with pytest.raises(NotFoundError):
        warehouse.set_model_alias("m", "champion", 9)
    page = warehouse.changes(since=start)
    assert kinds_of(page)[:2] == ["experiment_created", "run_started"]
    assert Counter(kinds_of(page)) == Counter(
        experiment_created=1,
        run_started=2,
        tag_set=3,
        tag_removed=1,
        param_set=1,
        metric_logged=1,
        artifact_logged=1,
        input_logged=1,
        run_finished=2,
        run_failed=1,
        run_resumed=1,
        model_created=1,
        version_created=1,
        alias_set=1,
        stage_set=1,
        change_refused=1,
    )
    by_kind = {c.kind: c for c in page}
    points = by_kind["metric_logged"]
    assert (points.key, points.n_rows, points.number, points.step) == ("loss", 3, 1.0, 2)
    experiment = warehouse.get_experiment_by_name("e").experiment_id
    assert {c.experiment_id for c in page if c.run_id is not None} == {experiment}
    alias = by_kind["alias_set"]
    assert (alias.model_name, alias.model_version, alias.key, alias.comment) == ("m", 1, "champion", "best so far")
    assert by_kind["stage_set"].value == "Production"
    assert (by_kind["param_set"].value, by_kind["param_set"].number) == ("0.5", 0.5)
    # Events count in their order, and a page is a sequence and a frame.
    assert [c.recorded_at for c in page] == sorted(c.recorded_at for c in page)
    assert page[0].kind == "experiment_created"
    assert [c.kind for c in page[1:3]] == kinds_of(page)[1:3]
    assert list(page.frame().kind) == kinds_of(page)
    # Nothing came after it; and a cursor is a snapshot of what its changes lead to.
    assert len(warehouse.changes(since=page.cursor)) == 0
    log_run(warehouse, "later")
    assert len(warehouse.search_runs(at=page.cursor)) == 2


def test_each_table_and_each_event_of_the_registry_has_its_kinds():
    told = {k.table for k in KINDS}
    assert told == FIELDS.keys() <= TABLES_BY_NAME.keys()
    assert len({k.name for k in KINDS}) == len(KINDS)
    # Rows that are told together are of one kind.
    assert all(
        len([k for k in KINDS if k.table == t and k is not NEW_BEST]) == 1 for t, f in FIELDS.items() if f.together
    )
    (rest,) = [k for k in KINDS if k.name == "registry_changed"]
    assert all(f"'{kind}'" in rest.where for kind in Kind)


def test_only_what_was_asked_for(machine):
    warehouse = machine("a")
    log_run(warehouse, "one", experiment="one")
    moment = dt.datetime.now(dt.UTC)
    log_run(warehouse, "two", experiment="two")
    warehouse.registry.create_registered_model("m")
    assert set(kinds_of(warehouse.changes(kinds=["run_started", "model_created"]))) == {"run_started", "model_created"}
    of_two = warehouse.changes(experiments=["two"])
    assert {c.experiment_id for c in of_two} == {warehouse.get_experiment_by_name("two").experiment_id}
    assert {"experiment_created", "run_started", "param_set", "metric_logged", "run_finished"} <= set(kinds_of(of_two))
    before, after = warehouse.changes(until=moment), warehouse.changes(since=moment)
    assert before.cursor is None
    assert [*before, *after] == list(warehouse.changes())
    assert "run_started" in kinds_of(before)
    assert kinds_of(before).count("experiment_created") == kinds_of(after).count("experiment_created") == 1
    for wrong, said in (
        ({"kinds": ["run_start"]}, "Did you mean `run_started`"),
        ({"kinds": "run_started"}, "must be a list"),
        ({"kinds": ["new_best"]}, "Say of which metrics"),
        ({"best": {"loss": "low"}}, "say `min` or `max`"),
        ({"best": ["loss"]}, "is a mapping such as"),
        ({"since": before}, "pass its `cursor`"),
        ({"until": moment, "follow": True}, "leave one out"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            warehouse.changes(**wrong)
    with pytest.raises(NotFoundError, match=r"There is no experiment `tow`\. Did you mean `two`"):
        warehouse.changes(experiments=["tow"])
    with pytest.raises(NotFoundError, match="There is no kept snapshot `last`"):
        warehouse.changes(since="last")


def test_a_new_best_is_told_once_a_commit_against_all_that_was_there_before(machine):
    warehouse = machine("a")
    log_run(warehouse, "old", loss=2.0)
    log_run(warehouse, "elsewhere", loss=0.1, experiment="other")
    start = warehouse.snapshot()
    for name, values in {"worse": [3.0], "better": [5.0, 1.9, 1.5, 1.5], "nan": [float("nan"), float("-inf")]}.items():
        with warehouse.start_run(experiment="e", run_name=name) as run:
            for step, value in enumerate(values):
                run.log_metric("loss", value, step)
                run.log_metric("loss", 0.0, step, context={"subset": "train"})
        warehouse.flush()
    runs = warehouse.search_runs(experiment_names=["e"])
    ids = dict(zip(runs["tags.mlflow.runName"], runs["run_id"], strict=True))
    (best,) = warehouse.changes(since=start, kinds=["new_best"], best=ONE)
    assert (best.run_id, best.number, best.step, best.value) == (ids["better"], 1.5, 2, "min")
    highest = warehouse.changes(since=start, kinds=["new_best"], best={"loss": "max"})
    assert [(c.run_id, c.number) for c in highest] == [(ids["worse"], 3.0), (ids["better"], 5.0)]
    # From the beginning each experiment's first is one; from a moment what was recorded by then is the measure.
    everything = warehouse.changes(kinds=["new_best"], best=ONE)
    assert sorted(c.number for c in everything) == [0.1, 1.5, 2.0]
    moment = dt.datetime.fromtimestamp(start.taken_at / 1000, dt.UTC)
    assert [c.number for c in warehouse.changes(since=moment, kinds=["new_best"], best=ONE)] == [1.5]
    # A run that has been infinite is measured by its other values, and a deleted one by none.
    with warehouse.start_run(experiment="e", run_name="after") as run:
        run.log_metric("loss", 1.7)
    assert len(warehouse.changes(since=everything.cursor, kinds=["new_best"], best=ONE)) == 0
    warehouse.flush()
    now = dt.datetime.now(dt.UTC)
    row = {"run_id": ids["better"], "kind": "deleted", "attempt": 0, "event_at": now, "recorded_at": now}
    rows = pa.Table.from_pylist([row | {"writer_id": "w", "writer_seq": 0}], schema=RUN_EVENTS.arrow_schema())
    warehouse.engine().append(RUN_EVENTS, rows)
    cursor = warehouse.changes().cursor
    with warehouse.start_run(experiment="e", run_name="last") as run:
        run.log_metric("loss", 1.6)
    assert [c.number for c in warehouse.changes(since=cursor, kinds=["new_best"], best=ONE)] == [1.6]


STEPS = ["log a", "log b", "flush a", "flush b", "register", "merge", "merge and take up", "page", "page elsewhere"]


@settings(
    max_examples=200 if os.environ.get("MLWAREHOUSE_SOAK") == "1" else 8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=16))
def test_every_event_is_in_exactly_one_page(steps, tmp_path_factory):
    from mlwarehouse.ingest.maintaining import take_turn

    place = tmp_path_factory.mktemp("feed")
    machines = {n: Warehouse(place / "wh", spool_dir=str(place / n), committer="off", capture_code=False) for n in "ab"}
    a, b = machines.values()
    a.create()
    start = a.snapshot()
    cursor, told = str(start), []
    late = b.start_run(experiment="late")
    for number, step in enumerate(steps):
        word, _, name = step.partition(" ")
        if step == "log b":
            late.log_metrics({"loss": -number, "other": number}, step=number)
        elif word == "log":
            log_run(a, f"r{number}", loss=-number, flush=False)
        elif word == "flush":
            machines[name].flush()
        elif word == "register":
            a.registry.create_model_version("m", source="runs:/x/m", run_id="x", digest=None)
        elif step == "merge":
            b.maintain()
        elif word == "merge":
            take_turn(a.root)
        else:
            # Elsewhere: a process that knows nothing but the cursor.
            reader = Warehouse(a.root, spool_dir=str(place / "c"), committer="off") if name else a
            page = reader.changes(since=cursor, best=ONE)
            cursor, told = page.cursor, [*told, *page]
    late.end()
    b.flush()
    page = a.changes(since=cursor, best=ONE)
    told += page
    assert len(a.changes(since=page.cursor)) == 0
    whole = a.changes(since=start, best=ONE)
    assert Counter(told) == Counter(whole)
    assert len(set(told)) == len(told)
    # And it is all that the tables hold.
    count = {t: a.engine().query(q).column("n")[0].as_py() for t, q in (("run_events", UNTOLD), ("audit", ALLOWED))}
    assert told_counts(told) == raw_counts(a) - Counter(count)
    # From the beginning the same is told, without any table's log.
    assert Counter(c for c in a.changes() if c.kind != "new_best") == Counter(c for c in whole if c.kind != "new_best")
    a.close()
    b.close()


def test_where_the_past_is_gone_it_says_where_to_start(machine, tmp_path):
    warehouse = machine("a")
    log_run(warehouse, "first")
    cursor = warehouse.changes().cursor
    log_run(warehouse, "second")
    log_run(warehouse, "third")
    vacuum(warehouse)
    said = r"What came into table `\w+` after version \d+ can't be told any more: .* Start over: take a `snapshot\(\)`"
    with pytest.raises(SnapshotGoneError, match=said):
        warehouse.changes(since=cursor)
    cursor = warehouse.changes().cursor
    log_run(warehouse, "fourth")
    log_run(warehouse, "fifth")
    warehouse.maintain()
    # As Delta does with entries behind a checkpoint, after 30 days.
    *old, _ = sorted(log_entries(warehouse.root / "tables" / "metrics").items())
    for _, entry in old:
        entry.unlink()
    with pytest.raises(SnapshotGoneError, match=said):
        Warehouse(warehouse.root, committer="off").changes(since=cursor)
    # What is there can be told from the beginning, and from a moment.
    assert kinds_of(warehouse.changes()).count("run_started") == 5
    # A place where nothing happened since is no gap.
    cursor = warehouse.changes().cursor
    age_the_log(warehouse)
    warehouse.maintain()
    assert len(warehouse.changes(since=cursor)) == 0


def test_after_a_purge_a_cursor_from_before_starts_over(machine):
    warehouse = machine("a")
    run_id = log_run(warehouse, "first")
    log_run(warehouse, "second")
    cursor = warehouse.changes().cursor
    warehouse.close()
    warehouse.purge(run_id=run_id)
    with pytest.raises(SnapshotGoneError, match="Start over"):
        warehouse.changes(since=cursor)
    cursor = warehouse.changes().cursor
    log_run(warehouse, "third")
    assert kinds_of(warehouse.changes(since=cursor)).count("run_started") == 1


def test_a_cursor_of_a_warehouse_that_was_restored_from_a_backup_is_refused(machine, tmp_path):
    import shutil

    warehouse = machine("a")
    log_run(warehouse, "first")
    shutil.copytree(warehouse.root, tmp_path / "backup")
    log_run(warehouse, "second")
    cursor = warehouse.changes().cursor
    restored = Warehouse(tmp_path / "backup", spool_dir=str(tmp_path / "s"), committer="off", capture_code=False)
    with pytest.raises(SnapshotGoneError, match="this copy of the warehouse is older"):
        restored.changes(since=cursor)
    log_run(restored, "another")
    again = Warehouse(restored.root, committer="off")
    with pytest.raises(SnapshotGoneError, match="isn't the one that was meant"):
        again.changes(since=cursor)
    restored.close()


def test_following_waits_for_what_another_process_commits(machine):
    warehouse = machine("a")
    log_run(warehouse, "first")
    cursor = warehouse.changes().cursor
    pages = warehouse.changes(since=cursor, kinds=["run_finished"], follow=True, poll_s=0.05)
    program = (
        "import sys; from tests.past.conftest import log_run; from mlwarehouse import Warehouse; "
        "w = Warehouse(sys.argv[1], spool_dir=sys.argv[2], committer='off', capture_code=False); "
        "log_run(w, 'second'); w.close()"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(warehouse.root), f"{warehouse.root}-other"])
    (change,) = next(pages)
    assert other.wait(60) == 0
    assert change.kind == "run_finished"
    assert warehouse.get_run(change.run_id).info.run_name == "second"


def test_who_follows_gets_a_young_cursor_also_when_nothing_is_told(machine, monkeypatch):
    warehouse = machine("a")
    log_run(warehouse, "first")
    cursor = warehouse.changes().cursor
    monkeypatch.setattr("mlwarehouse.parts.changing.EMPTY_EVERY_S", 0.0)
    log_run(warehouse, "second")
    page = next(warehouse.changes(since=cursor, kinds=["run_failed"], follow=True))
    assert len(page) == 0
    assert len(warehouse.changes(since=page.cursor)) == 0
    with pytest.raises(InvalidInputError, match="`until` is an earlier state than `since`"):
        warehouse.changes(since=page.cursor, until=cursor)


def test_on_the_command_line(machine, tmp_path):
    warehouse = machine("a")
    log_run(warehouse, "first")
    place, file = ["--warehouse", str(warehouse.root)], str(tmp_path / "cursor")
    environment = {**os.environ, "MLWAREHOUSE_COMMITTER": "off"}

    def run(*arguments: str) -> subprocess.Popen:
        line = [sys.executable, "-m", "mlwarehouse", *arguments, *place]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    out, _ = run("changes", "--json", "--cursor-file", file, "--best", "loss=min").communicate(timeout=60)
    first = json.loads(out)
    assert {"run_started", "new_best"} <= {c["kind"] for c in first["changes"]}
    assert Path(file).read_text() == first["cursor"]
    log_run(warehouse, "second")
    following = run("changes", "--json", "--follow", "--kind", "run_started", "--cursor-file", file)
    change = json.loads(following.stdout.readline())
    assert (change["kind"], change["key"]) == ("run_started", "second")
    following.terminate()
    following.communicate(timeout=60)
    out, _ = run("changes", "--kind", "run_started").communicate(timeout=60)
    assert out.count("run_started") == 2
    _, said = run("changes", "--kind", "run_begun").communicate(timeout=60)
    assert "There is no kind of change `run_begun`" in said
    assert "Traceback" not in said


@pytest.mark.spark
def test_spark_tells_the_same(machine, tmp_path, spark):
    warehouse = machine("a")
    log_run(warehouse, "first")
    warehouse.registry.create_model_version("m", source="runs:/x/m", run_id="x", digest=None)
    # Of all kinds Spark understands the question; those of three tables are streamed.
    whole = warehouse.changes_stream(spark)
    assert whole.isStreaming
    assert whole.columns == warehouse.changes().rows.column_names
    kinds = ["run_started", "run_finished", "param_set", "version_created", "model_created"]
    told = []

    def catch_up() -> None:
        stream = warehouse.changes_stream(spark, kinds=kinds).writeStream.trigger(availableNow=True)
        stream = stream.option("checkpointLocation", str(tmp_path / "checkpoint"))
        stream.foreachBatch(lambda rows, _: told.extend(rows.collect())).start().awaitTermination()

    catch_up()
    assert len(told) == 5
    log_run(warehouse, "second")
    warehouse.maintain()
    catch_up()
    columns = [c for c in whole.columns if c not in ("event_at", "recorded_at", "experiment_id")]
    assert Counter(tuple(r[c] for c in columns) for r in told) == Counter(
        tuple(getattr(change, c) for c in columns) for change in warehouse.changes(kinds=kinds)
    )
    with pytest.raises(InvalidInputError, match="tells of several rows as one"):
        warehouse.changes_stream(spark, kinds=["metric_logged"])
    # The rows between two versions are the same for both engines.
    from mlwarehouse.engines.spark import SparkEngine

    versions = warehouse.versions()
    between = Reading(versions=versions, since={n: min(1, v) for n, v in versions.items()})
    question = "SELECT run_id, key, value, _commit_version FROM metrics AS t ORDER BY run_id, key"
    engine = SparkEngine(spark, warehouse.root / "tables")
    rows = engine.query(question, reading=between).to_pylist()
    assert rows == warehouse.engine().query(question, reading=between).to_pylist()
    assert len(rows) == 2
