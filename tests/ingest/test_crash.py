"""Several processes log to one warehouse."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlwarehouse import Warehouse


def test_rows_of_a_living_process_are_seen_by_another(tmp_path):
    root = tmp_path / "wh"
    program = """
import sys, time
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False)
with mlw.start_run(experiment="live") as run:
    for step in range(100):
        run.log_metric("x", step, step)
    print(run.run_id, flush=True)
    sys.stdin.readline()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    run_id = writer.stdout.readline().strip()
    reader = Warehouse(root)
    rows = reader.engine().query("SELECT run_id, count(*) AS n FROM metrics GROUP BY run_id", reading=reader.reading())
    assert rows.to_pylist() == [{"run_id": run_id, "n": 100}]
    status = reader.engine().query("SELECT status FROM runs", reading=reader.reading()).to_pylist()
    assert status == [{"status": "RUNNING"}]
    writer.communicate("go\n")
    assert writer.returncode == 0
    status = reader.engine().query("SELECT status FROM runs", reading=reader.reading()).to_pylist()
    assert status == [{"status": "FINISHED"}]
    reader.close()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_children_log_to_their_parents_run(tmp_path, how):
    program = f"""
import multiprocessing, sys, threading
import mlwarehouse as mlw

def child(uri, run_id, number):
    if {how!r} == "fork":
        run = mlw.active_run()
    else:
        mlw.set_warehouse(uri, committer="off", capture_code=False)
        run = mlw.start_run(run_id=run_id)
    for step in range(50):
        run.log_metric(f"child{{number}}", step, step)
    if {how!r} == "spawn":
        mlw.get_warehouse().close()

if __name__ == "__main__":
    uri = sys.argv[1]
    mlw.set_warehouse(uri, committer="off", capture_code=False)
    with mlw.start_run(experiment="ddp") as run:
        run.log_metric("parent", 1.0, 0)
        context = multiprocessing.get_context({how!r})
        children = [context.Process(target=child, args=(uri, run.run_id, i)) for i in range(3)]
        [c.start() for c in children]
        run.log_metric("parent", 2.0, 1)
        [c.join() for c in children]
        assert all(c.exitcode == 0 for c in children), [c.exitcode for c in children]
        run.log_metric("parent", 3.0, 2)
"""
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "wh")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    reader = Warehouse(tmp_path / "wh")
    rows = reader.engine().query(
        "SELECT key, count(*) AS n, count(DISTINCT step) AS d FROM metrics GROUP BY key ORDER BY key",
        reading=reader.reading(),
    )
    assert rows.to_pylist() == [
        *({"key": f"child{i}", "n": 50, "d": 50} for i in range(3)),
        {"key": "parent", "n": 3, "d": 3},
    ]
    reader.close()
