"""What holds without any parser: a shut-in process itself refuses, workers are ended, and nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlwarehouse import Warehouse, sandbox
from mlwarehouse.engines.locked_wire import Asked, Bounds, Relation
from mlwarehouse.engines.workers import Workers
from mlwarehouse.errors import SandboxUnavailableError, SqlError, SqlLimitError, StorageError
from mlwarehouse.sandbox import seccomp

ROOT = Path(__file__).parent.parent.parent
BOUNDS = Bounds(time_s=60, memory_bytes=256 << 20, rows=100, result_bytes=1 << 20, threads=2)
ROWS = pa.table({"run_id": ["a", "b", "c"], "value": [1, 2, 3]})

ENDLESS = "SELECT sum(list_reduce(range(i % 2 + 1000), lambda x, y: x + y % 7)) FROM range(1000000000) AS r(i)"
"""Takes days, and little memory."""

FINE = {"sql: own rows", "read granted"}
"""What a shut-in process is there for."""


def shut_in(place: Path, *, whole: bool, landlock: bool) -> tuple[dict[str, str | None], int]:
    """Have a shut-in process try everything; also how many connections somebody who listens has had."""
    granted, other = place / "granted.parquet", place / "other.txt"
    pq.write_table(ROWS, granted)
    other.write_text("for nobody")
    n_connections = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        given = {
            "granted": str(granted),
            "other": str(other),
            "target": str(place / "target"),
            "port": listener.getsockname()[1],
            "whole": whole,
            "landlock": landlock,
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / "shut_in.py"), json.dumps(given)],
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout, done.stderr
        try:
            while True:
                listener.accept()[0].close()
                n_connections += 1
        except TimeoutError:
            pass
    assert pq.read_table(granted).equals(ROWS)
    assert sorted(p.name for p in place.iterdir()) == ["granted.parquet", "other.txt"]
    assert "for nobody" not in done.stdout
    return json.loads(done.stdout), n_connections


def test_a_shut_in_process_refuses_all_but_its_work(tmp_path):
    outcomes, n_connections = shut_in(tmp_path, whole=False, landlock=True)
    assert {name for name, outcome in outcomes.items() if outcome is None} == FINE
    assert n_connections == 0


def test_a_file_whose_rows_are_all_granted_can_be_read_and_not_written(tmp_path):
    outcomes, n_connections = shut_in(tmp_path, whole=True, landlock=True)
    assert {name for name, outcome in outcomes.items() if outcome is None} == {*FINE, "sql: granted file"}
    assert n_connections == 0


def test_without_landlock_only_the_process_can_read_and_still_not_write_or_connect(tmp_path):
    outcomes, n_connections = shut_in(tmp_path, whole=False, landlock=False)
    allowed = {"read other", "read environment", "list"}
    assert {name for name, outcome in outcomes.items() if outcome is None} - allowed == FINE
    assert n_connections == 0


def test_a_process_with_threads_is_not_shut_in():
    thread = threading.Thread(target=time.sleep, args=(0.2,))
    thread.start()
    with pytest.raises(SandboxUnavailableError, match="threads"):
        sandbox.shut_in([], sandbox.Limits(1 << 30, 1))
    thread.join()


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
def test_a_filter_jumps_within_itself_and_ends(machine):
    program = seccomp.instructions(machine, 7)
    for at, (code, if_true, if_false, _) in enumerate(program):
        if code in (seccomp.JUMP_EQUAL, seccomp.JUMP_AT_LEAST, seccomp.JUMP_ANY_BIT):
            assert at + 1 + max(if_true, if_false) < len(program)
    assert program[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)


@pytest.fixture(scope="module")
def workers():
    made = Workers(2)
    yield made
    made.close()


def asked(text: str, bounds: Bounds = BOUNDS, **options) -> Asked:
    return Asked(text, (Relation("t", ROWS),), bounds, **options)


@pytest.mark.parametrize(
    "text",
    [
        "COPY t TO '/tmp/x'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT getenv('HOME')",
        "SELECT list_aggregate([1], 'sum')",
        "SELECT system.main.getenv('HOME')",
        "SELECT * FROM t WHERE value = (SELECT nextval('s'))",
        "SELECT sum(value) FILTER (WHERE current_setting('threads') > 0) FROM t",
        "SELECT row_number() OVER (ORDER BY txid_current()) FROM t",
        "SELECT * FROM (SHOW ALL TABLES)",
        "PIVOT t ON run_id USING sum(value)",
        "SELECT * FROM duckdb_tables",
        "SELECT * FROM rows_of_t",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM main.t",
        "WITH x AS (FROM x) FROM x",
        "WITH a AS (FROM b), b AS (SELECT 1) FROM a",
        "SELECT * FROM (WITH sqlite_master AS (SELECT 1) FROM sqlite_master), sqlite_master",
        'WITH "duc\u212adb_tables" AS (SELECT 1) SELECT * FROM duckdb_tables',
        "FROM query('SELECT 1')",
    ],
)
def test_what_a_parser_has_let_through_a_worker_refuses(workers, text):
    with pytest.raises(SqlError, match=r"Only one SELECT|isn't allowed here|no table or view|failed"):
        workers.ask(asked(text))


@pytest.mark.parametrize(
    "text",
    [
        "WITH a AS (SELECT 1 AS x), b AS (FROM a) SELECT * FROM b JOIN a USING (x)",
        "WITH t AS (FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT sum(n) FROM r",
        "SELECT * FROM t AS a, LATERAL (SELECT a.value + 1) WHERE EXISTS (WITH c AS (FROM t) FROM c)",
        "SELECT run_id FROM t UNION ALL (WITH c AS (SELECT 'x') FROM c) ORDER BY 1 LIMIT 2",
        "SELECT sum(value) OVER (ORDER BY run_id), list_transform([1], lambda x: x + 1) FROM t",
    ],
)
def test_what_is_allowed_a_worker_answers(workers, text):
    assert workers.ask(asked(text))[0].num_rows > 0


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def wait_until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_is_ended_at_its_deadline_and_the_next_question_is_answered(workers):
    with pytest.raises(SqlLimitError, match="took longer than its 1 s"):
        workers.ask(asked(ENDLESS, Bounds(1, 256 << 20, 100, 1 << 20, 2)))
    server = workers._server._process.pid
    wait_until(lambda: children_of(server) == [])
    assert workers.ask(asked("SELECT sum(value) AS s FROM t"))[0].to_pylist() == [{"s": 6}]


def test_workers_have_no_environment_and_each_question_a_process_of_its_own(workers):
    server = workers._server._process.pid
    assert Path(f"/proc/{server}/environ").read_bytes() == b""
    randoms = {workers.ask(asked("SELECT random() AS r"))[0].to_pylist()[0]["r"] for _ in range(3)}
    assert len(randoms) == 3
    with pytest.raises(SqlError, match="failed"):
        # Of what an earlier question might have left.
        workers.ask(asked("SELECT no_such_column FROM t"))


def test_a_killed_server_is_started_again(workers):
    workers.ask(asked("SELECT 1"))
    os.kill(workers._server._process.pid, signal.SIGKILL)
    assert workers.ask(asked("SELECT 2 AS a"))[0].to_pylist() == [{"a": 2}]


def test_a_busy_house_is_said_to_be_busy():
    alone = Workers(1)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            alone.ask(asked(ENDLESS, Bounds(2, 256 << 20, 100, 1 << 20, 2)))
        except SqlLimitError as error:
            errors.append(error)

    alone.ask(asked("SELECT 1"))
    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: children_of(alone._server._process.pid) != [])
    with pytest.raises(SqlLimitError, match="All 1 workers were busy"):
        alone.ask(asked("SELECT 1", Bounds(0.01, 256 << 20, 100, 1 << 20, 2)))
    thread.join()
    alone.close()
    assert [str(e) for e in errors] == ["The question took longer than its 2 s and was ended; ask for less at once."]


def test_closing_ends_the_processes_and_further_questions():
    made = Workers(1)
    made.ask(asked("SELECT 1"))
    server = made._server._process.pid
    made.close()
    assert not Path(f"/proc/{server}").exists()
    with pytest.raises(SqlError, match="closed"):
        made.ask(asked("SELECT 1"))


def test_workers_end_with_the_process_that_asked(tmp_path):
    program = (
        "import os, sys; from mlwarehouse import Warehouse; w = Warehouse(sys.argv[1]); w.create(); l = w.locked(); "
        "l.answer('SELECT 1'); print(l._workers._server._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "wh")], capture_output=True, text=True, check=False
    )
    server = int(done.stdout)
    wait_until(lambda: not Path(f"/proc/{server}").exists())


def test_a_file_that_is_gone_is_not_the_question_s_fault_and_is_not_named(workers, tmp_path):
    schema = ROWS.schema.empty_table()
    gone = Relation("t", schema, (str(tmp_path / "gone.parquet"),), "run_id", pa.array(["a"]))
    with pytest.raises(StorageError) as caught:
        workers.ask(Asked("SELECT * FROM t", (gone,), BOUNDS))
    assert "gone" not in str(caught.value)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    for key in ({"key": "run_id", "granted": pa.array(["a"])}, {}):
        with pytest.raises(StorageError) as caught:
            workers.ask(Asked("SELECT * FROM t", (Relation("t", schema, (str(damaged),), **key),), BOUNDS))
        assert "damaged" not in str(caught.value)


def test_a_machine_that_can_not_shut_in_refuses_unless_told_otherwise(tmp_path, monkeypatch):
    Warehouse(tmp_path / "wh").create()
    monkeypatch.setattr(sandbox, "missing", lambda: ["Landlock"])
    with pytest.raises(SandboxUnavailableError, match="MLWAREHOUSE_LOCKED_SQL"):
        Warehouse(tmp_path / "wh").locked()
    with Warehouse(tmp_path / "wh", locked_sql="without-landlock").locked() as locked:
        assert locked.answer("SELECT 1 AS a").rows.to_pylist() == [{"a": 1}]


def test_a_forked_child_has_workers_of_its_own():
    program = (
        "import os, pyarrow as pa; from mlwarehouse.engines.workers import Workers; "
        "from mlwarehouse.engines.locked_wire import *\n"
        "w = Workers(1); asked = Asked('SELECT 1 AS a', (), Bounds(60, 256 << 20, 9, 1 << 20, 1))\n"
        "w.ask(asked); child = os.fork()\n"
        "if child == 0:\n"
        "    print(w.ask(asked)[0].num_rows, flush=True); w.close(); os._exit(0)\n"
        "os.wait(); print(w.ask(asked)[0].num_rows, flush=True); w.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "1"], done.stderr
