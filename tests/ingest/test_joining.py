"""One run written by several processes: who starts it, who joins, who ends it, and what a restart does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.ingest import joining
from mlwarehouse.ingest.joining import launched_run_id, local_rank, rank

RANK = """
import json, os, sys
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False, heartbeat_s=1)
run_id = sys.argv[2] if len(sys.argv) > 2 else None
number = int(os.environ["NUMBER"])
with mlw.start_run(run_id=run_id) as run:
    print(json.dumps({"attempt": run.attempt, "joined": run.is_joined, "run_id": run.run_id}), flush=True)
    sys.stdin.readline()
    for step in range(20):
        mlw.log_metric("loss", number + step / 100, step, context={"rank": number})
    mlw.log_param("lr", 0.1)
    print("logged", flush=True)
    if sys.stdin.readline().strip() == "fail":
        raise SystemExit(3)
"""


class Process:
    """One process of a job."""

    def __init__(self, root: Path, number: int, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RANK, str(root), *arguments],
            env={**os.environ, "NUMBER": str(number), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        return self._process.stdout.readline().strip()

    def started(self) -> dict:
        return json.loads(self.said())

    def tell(self, word: str = "go") -> None:
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def end(self, word: str = "end") -> int:
        self.tell(word)
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def ask(warehouse: Warehouse, question: str) -> list[dict]:
    return warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()


def status(warehouse: Warehouse) -> tuple[str, int]:
    (row,) = ask(warehouse, "SELECT status, attempt FROM runs")
    return row["status"], row["attempt"]


def test_of_four_that_take_up_a_run_at_once_one_starts_the_attempt_and_ends_it(warehouse):
    with warehouse.start_run(experiment="e") as run:
        run.log_param("lr", 0.1)
    processes = [Process(warehouse.root, n, run.run_id) for n in range(4)]
    said = [p.started() for p in processes]
    assert [s["attempt"] for s in said] == [1, 1, 1, 1]
    assert sorted(s["joined"] for s in said) == [False, True, True, True]
    (starter,) = [p for p, s in zip(processes, said, strict=True) if not s["joined"]]
    others = [p for p in processes if p is not starter]
    for process in processes:
        process.tell()
    assert {p.said() for p in processes} == {"logged"}
    # A process that joined leaves, in good order or not, and the run goes on.
    assert [others[0].end(), others[1].end("fail")] == [0, 3]
    assert status(warehouse) == ("RUNNING", 1)
    assert starter.end() == 0
    assert status(warehouse) == ("FINISHED", 1)
    others[2].end()
    assert status(warehouse) == ("FINISHED", 1)
    assert ask(warehouse, "SELECT attempt, count(*) AS n, count(DISTINCT writer_id) AS w FROM metrics GROUP BY 1") == [
        {"attempt": 1, "n": 80, "w": 4}
    ]
    left = ask(warehouse, "SELECT name FROM run_events WHERE kind = 'left'")
    assert sorted(json.loads(row["name"])["status"] for row in left) == ["FAILED", "FINISHED", "FINISHED"]
    assert ask(warehouse, "SELECT count(*) AS n FROM params") == [{"n": 1}]


def test_a_launcher_names_the_run_and_rank_0_starts_it_also_after_everybody_was_killed(warehouse):
    warehouse.create()

    def launch() -> list[Process]:
        # The other comes first, and waits.
        return [
            Process(warehouse.root, n, MLWAREHOUSE_RUN_ID="job-7", RANK=str(n), MLWAREHOUSE_JOIN_TIMEOUT_S="60")
            for n in (1, 0)
        ]

    for attempt in (0, 1):
        job = launch()
        said = [p.started() for p in job]
        assert said == [{"attempt": attempt, "joined": n > 0, "run_id": "job-7"} for n in (1, 0)]
        for process in job:
            process.tell()
        assert {p.said() for p in job} == {"logged"}
        for process in job:
            process.kill() if attempt == 0 else process.end()
    assert status(warehouse) == ("FINISHED", 1)
    # Which rank logged a point: its process's `joined` row has the rank, and the same writer.
    rows = ask(
        warehouse,
        """SELECT m.attempt, m.context, e.name, count(*) AS n FROM metrics AS m
           JOIN run_events AS e ON e.writer_id = m.writer_id AND e.kind = 'joined' GROUP BY ALL ORDER BY ALL""",
    )
    assert [(r["attempt"], json.loads(r["context"]), r["n"]) for r in rows] == [(a, {"rank": 1}, 20) for a in (0, 1)]
    assert all(json.loads(r["context"])["rank"] == json.loads(r["name"])["rank"] for r in rows)


def test_ranks_of_torch_distributed_share_the_run_that_rank_0_made(warehouse, tmp_path):
    pytest.importorskip("torch")
    warehouse.create()
    program = """
import os, sys
import torch.distributed as dist
import mlwarehouse as mlw
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(os.environ["RANK"]), world_size=2)
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False)
ids = [mlw.start_run(run_name="ddp").run_id if dist.get_rank() == 0 else None]
dist.broadcast_object_list(ids)
run = mlw.active_run() or mlw.start_run(run_id=ids[0])
mlw.log_metric("x", dist.get_rank(), step=1)
mlw.end_run()
dist.barrier()
dist.destroy_process_group()
"""
    command = [sys.executable, "-c", program, str(warehouse.root), str(tmp_path / "rendezvous")]
    ranks = [subprocess.Popen(command, env={**os.environ, "RANK": str(n)}) for n in range(2)]
    assert [r.wait() for r in ranks] == [0, 0]
    assert status(warehouse) == ("FINISHED", 0)
    assert ask(warehouse, "SELECT value, attempt FROM metrics ORDER BY value") == [
        {"value": 0.0, "attempt": 0},
        {"value": 1.0, "attempt": 0},
    ]


def test_a_fork_joins_its_parents_run_by_name_and_does_not_end_it(warehouse):
    with warehouse.start_run(experiment="e") as run:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with warehouse.start_run(run_id=run.run_id) as joined:
                    joined.log_metric("x", 1.0)
                run.end()
                code = 0 if joined.is_joined and run.is_ended else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert status(warehouse) == ("RUNNING", 0)
        run.log_metric("x", 2.0)
    assert status(warehouse) == ("FINISHED", 0)
    kinds = ask(warehouse, "SELECT kind FROM run_events ORDER BY event_at")
    assert [row["kind"] for row in kinds] == ["started", "joined", "left", "ended"]
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 2}]


def test_who_waits_in_vain_says_so_and_trains_on(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False, join_timeout_s=0.1)
    with pytest.warns(RuntimeWarning, match=r"no process that runs `nobody` .*nothing is known of the run"):
        run = warehouse.start_run(run_id="nobody")
    assert (run.attempt, run.is_joined) == (0, True)
    run.end()
    with pytest.raises(NotFoundError, match="There is no run `nobody`"):
        warehouse.start_run(run_id="nobody", join=False)
    with warehouse.start_run() as own:
        pass
    # Started since this process began: it is the run of this launch, though it is over already.
    assert warehouse.start_run(run_id=own.run_id).is_joined
    warehouse.end_run()
    monkeypatch.setattr(joining, "process_started_at", lambda: time.time_ns() // 1000)
    with pytest.warns(RuntimeWarning, match="its status is FINISHED"):
        assert warehouse.start_run(run_id=own.run_id).attempt == 0
    warehouse.end_run()
    assert warehouse.start_run(run_id=own.run_id, join=False).attempt == 1
    warehouse.close()


def test_the_launchers_run_is_for_the_first_run_of_a_process(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "from-mlflow")
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="e", run_name="first") as first:
        assert (first.run_id, first.info.run_name, first.is_joined) == ("from-mlflow", "first", False)
    with warehouse.start_run() as second:
        assert second.run_id != "from-mlflow"
    warehouse.close()
    again = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    # The script says it each time; the run stays where it is.
    assert again.start_run(experiment="elsewhere").attempt == 1
    again.close()
    assert [r["experiment_name"] for r in ask(again, "SELECT experiment_name FROM runs ORDER BY started_at")] == [
        "e",
        "Default",
    ]
    monkeypatch.setenv("MLWAREHOUSE_RUN_ID", "../x")
    with pytest.raises(InvalidInputError, match=r"The launcher's run id `\.\./x` can't be one"):
        Warehouse(tmp_path / "wh").start_run()


def test_ranks_are_read_from_the_launchers_variables(monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), local_rank()) == (None, None)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert (rank(), local_rank()) == (3, 1)
    monkeypatch.setenv("RANK", "7")
    assert rank() == 7
    assert launched_run_id("ours") == "ours"


def test_a_process_knows_when_it_began():
    program = (
        "import time; began = time.time(); from mlwarehouse.ingest.joining import process_started_at as p;"
        "print(began - p() / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert -0.1 < float(done.stdout) < 30
