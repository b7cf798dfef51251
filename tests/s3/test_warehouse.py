"""A whole warehouse in an object store."""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import time

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import NotAWarehouseError, StorageError, WarehouseNotFoundError
from mlwarehouse.storage import objects, open_storage

POINTS = "SELECT COUNT(*) AS n, COUNT(DISTINCT (writer_id, writer_seq)) AS n_distinct FROM metrics"


def n_points(warehouse: Warehouse) -> int:
    (row,) = warehouse.sql(POINTS, output_format="arrow").to_pylist()
    assert row["n"] == row["n_distinct"]
    return int(row["n"])


@pytest.fixture
def warehouse(uri: str):
    made = Warehouse(uri, committer="off", capture_code=False)
    yield made
    made.close()


def test_the_whole_way(warehouse, uri, tmp_path):
    (tmp_path / "vocab.txt").write_text("good\nbad\n")
    with warehouse.start_run(experiment="sentiment", run_name="first", tags={"team": "nlp"}) as run:
        run.log_params({"lr": 0.01})
        for step in range(10):
            run.log_metric("loss", 1 / (step + 1), step=step)
        run.log_artifact(tmp_path / "vocab.txt")
    frame = warehouse.search_runs(experiment_names=["sentiment"], filter_string="metrics.loss < 0.2")
    assert frame["run_id"].tolist() == [run.run_id]
    assert frame["tags.team"].tolist() == ["nlp"]

    pin = warehouse.snapshot()
    with warehouse.start_run(run_id=run.run_id) as again:
        again.log_metric("loss", 0.0, step=10)
    assert warehouse.sql("SELECT COUNT(*) AS n FROM metrics", at=pin)["n"].tolist() == [10]
    assert warehouse.sql("SELECT MIN(value) AS best FROM metrics")["best"].tolist() == [0.0]

    changes = warehouse.changes(since=pin, best={"loss": "min"})
    assert [c.kind for c in changes] == ["run_resumed", "metric_logged", "new_best", "run_finished"]
    assert {c.run_id for c in changes} == {run.run_id}

    registry = warehouse.registry
    registry.create_registered_model("sentiment")
    version = registry.create_model_version(
        "sentiment", source=f"runs:/{run.run_id}/model", digest=None, run_id=run.run_id
    )
    registry.set_model_alias("sentiment", "champion", version.version)
    warehouse.flush()

    other = Warehouse(uri)
    assert other.warehouse_id == warehouse.warehouse_id
    assert other.get_model_version_by_alias("sentiment", "champion").version == 1
    assert n_points(other) == 11
    other.download_artifacts(run.run_id, target=tmp_path / "out")
    assert (tmp_path / "out" / "vocab.txt").read_text() == "good\nbad\n"
    assert other.doctor().problems == ()
    other.close()
    names = open_storage(uri).names()
    assert names == ["artifacts", "tables", "warehouse.json"]


def test_artifacts_of_a_local_warehouse_can_be_in_an_object_store(uri, tmp_path):
    warehouse = Warehouse(tmp_path / "wh", artifacts_uri=uri, committer="off", capture_code=False)
    with warehouse.start_run() as run:
        run.log_text("hello", "notes/a.txt")
    warehouse.download_artifacts(run.run_id, target=tmp_path / "out")
    assert (tmp_path / "out" / "notes" / "a.txt").read_text() == "hello"
    assert open_storage(uri).names() == ["blobs"]
    assert not (tmp_path / "wh" / "artifacts").exists()
    warehouse.close()


def test_a_place_without_a_warehouse_says_so(uri, monkeypatch, proxy):
    monkeypatch.setattr(objects, "PATIENCE_S", 0.2)
    with pytest.raises(WarehouseNotFoundError, match=r"There is no warehouse at `s3://.*init --warehouse s3://"):
        Warehouse(uri).reading()
    open_storage(uri).create("letter.txt", b"dear")
    with pytest.raises(NotAWarehouseError, match=r"holds something else \(letter.txt\)"):
        Warehouse(uri).start_run()
    proxy.close()
    with pytest.raises(StorageError, match=r"The warehouse at `s3://.*` can't be opened"):
        Warehouse(uri).reading()


def test_training_loads_no_engine(warehouse, uri):
    warehouse.create()
    script = (
        "import sys, mlwarehouse as mlw\n"
        f"mlw.set_warehouse({uri!r}, committer='off', capture_code=False)\n"
        "with mlw.start_run(): mlw.log_metric('loss', 1.0)\n"
        "sys.exit(', '.join({'deltalake', 'duckdb', 'pandas'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert n_points(warehouse) == 1


def _create(uris: list[str], barrier, results) -> None:
    ids = []
    for uri in uris:
        barrier.wait(60)
        warehouse = Warehouse(uri)
        warehouse.create()
        ids.append(warehouse.warehouse_id)
    results.put(ids)


def test_of_several_that_make_it_at_once_all_get_the_same(uri):
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(3)
    uris = [f"{uri}{i}" for i in range(3)]
    processes = [context.Process(target=_create, args=(uris, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[Warehouse(uri).warehouse_id for uri in uris]] * 3


def _log(uri: str, spool: str, results) -> None:
    warehouse = Warehouse(uri, spool_dir=spool, committer="off", capture_code=False)
    with warehouse.start_run(experiment="many") as run:
        for batch in range(2):
            for i in range(100):
                run.log_metric("loss", 0.5, step=100 * batch + i)
            warehouse.flush()
    warehouse.flush()
    warehouse.close()
    results.put(run.run_id)


def test_machines_with_spools_of_their_own_lose_and_double_nothing(warehouse, uri, tmp_path):
    warehouse.create()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_log, args=(uri, str(tmp_path / f"m{i}"), results)) for i in range(4)]
    for process in processes:
        process.start()
    runs = {results.get(timeout=90) for _ in processes}
    for process in processes:
        process.join()
    assert n_points(warehouse) == 4 * 200
    frame = warehouse.search_runs(experiment_names=["many"])
    assert set(frame["run_id"]) == runs
    assert set(frame["status"]) == {"FINISHED"}


def test_a_committer_killed_at_any_moment_loses_and_doubles_nothing(warehouse, uri):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    moments = random.Random(seed)
    warehouse.create()
    folder = warehouse.spool()
    n = 0
    with warehouse.start_run() as run:
        for _ in range(3):
            program = [sys.executable, "-m", "mlwarehouse.ingest.committer", uri, str(folder.path), "0.01", "5"]
            committer = subprocess.Popen(program, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 0.8 + moments.uniform(0, 1.2)
            while time.monotonic() < deadline:
                run.log_metric("loss", 0.5, step=n)
                n += 1
                time.sleep(0.002)
            committer.kill()
            committer.wait()
    warehouse.flush()
    assert n_points(warehouse) == n


def test_logging_goes_on_while_the_store_is_away(uri, server):
    warehouse = Warehouse(uri, capture_code=False, commit_interval_s=0.1)
    warehouse.create()
    with warehouse.start_run() as run:
        run.log_metric("loss", 0.5, step=0)
        warehouse.flush()
        server.stop()
        try:
            started = time.monotonic()
            for step in range(1, 1000):
                run.log_metric("loss", 0.5, step=step)
            assert time.monotonic() - started < 1
            time.sleep(2)
        finally:
            server.start()
        run.log_metric("loss", 0.5, step=1000)
    warehouse.flush()
    assert n_points(warehouse) == 1001
    warehouse.close()


def test_a_registry_change_whose_answer_is_lost_is_made_once(warehouse, request):
    # Before there is a proxy: delta-rs makes tables without letting this process's other threads run.
    warehouse.create()
    proxy = request.getfixturevalue("proxy")
    registry = warehouse.registry
    registry.create_registered_model("m")
    lost = iter([True])
    proxy.swallows = lambda line: line.startswith("PUT ") and "registry_events/_delta_log" in line and next(lost, False)
    assert registry.create_model_version("m", source="runs:/r/model", digest=None, run_id="r").version == 1
    assert next(lost, None) is None
    assert registry.create_model_version("m", source="runs:/r/model", digest=None, run_id="r").version == 2
    found = warehouse.sql("SELECT version FROM model_versions ORDER BY version")
    assert found["version"].tolist() == [1, 2]


def test_the_registry_in_an_object_store_is_governed_and_filled_in_bulk(warehouse):
    from mlwarehouse.errors import PermissionDeniedError
    from mlwarehouse.registry import Policy

    warehouse.create()
    registry = warehouse.registry
    registry.bulk_register(
        {"name": ["a", "b", "a"], "source": ["x", "y", "z"], "alias": [None, "c", "c"]}, source_id="s"
    )
    assert not registry.bulk_register({"name": ["a"], "source": ["x"]}, source_id="s").is_new
    admin = warehouse.registry_as("root", ["admin"])
    admin.set_policy(Policy("p", stages=("Production",), movers=("lead",)))
    with pytest.raises(PermissionDeniedError):
        registry.transition_model_version_stage("a", 2, "Production")
    lead = warehouse.registry_as("lea", ["lead"])
    assert lead.transition_model_version_stage("a", 2, "Production").current_stage == "Production"
    assert lead.rename_registered_model("a", "c").aliases == {"c": 2}
    assert [(v.name, v.version) for v in warehouse.search_model_versions()] == [("b", 1), ("c", 2), ("c", 1)]


def test_spools_of_copies_are_apart(warehouse, uri):
    warehouse.create()
    copy = open_storage(uri + "-copy")
    copy.create("warehouse.json", open_storage(uri).read("warehouse.json"))
    other = Warehouse(uri + "-copy")
    assert other.warehouse_id == warehouse.warehouse_id
    assert other.spool().path != warehouse.spool().path
