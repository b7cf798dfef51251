"""Long questions: Ctrl-C, time limits, cancels and progress, with the connection fit for the next question."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from mlwarehouse import Cancel, Warehouse
from mlwarehouse.engines.running import Watch, answered
from mlwarehouse.errors import InvalidInputError, QueryCancelledError, SqlError

FOREVER = {
    "sorting": "SELECT count(*) FROM (SELECT hash(range) AS h FROM range(3000000000) ORDER BY h)",
    "joining": "SELECT sum(a.range * b.range) AS s FROM range(10000000) AS a, range(1000000) AS b",
    "handing over": "SELECT a.range * b.range AS x FROM range(1000000) AS a, range(100000) AS b",
}

PROGRAM = """
import sys, threading, time
import mlwarehouse as mlw

mlw.set_warehouse(sys.argv[1], committer="off")
mlw.sql("SELECT 1")
print("asking", flush=True)
try:
    answer = mlw.sql(sys.argv[2], output_format=sys.argv[3])
    for batch in answer:
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(mlw.sql("SELECT 42 AS n", output_format="arrow").to_pylist(), flush=True)
"""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    made = Warehouse(tmp_path_factory.mktemp("running") / "wh", committer="off", capture_code=False)
    with made.start_run(experiment="e") as run:
        for step in range(10):
            run.log_metric("loss", 1 / (step + 1), step)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("question", "output_format"), [("sorting", "arrow"), ("handing over", "arrow"), ("handing over", "batches")]
)
def test_ctrl_c_ends_a_question_and_the_next_is_answered(warehouse, question, output_format):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, warehouse.uri, FOREVER[question], output_format],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        time.sleep(0.7)
        os.kill(process.pid, signal.SIGINT)
        # Nobody measures here, but a question that isn't ended takes minutes.
        said, _ = process.communicate(timeout=60)
    assert said == "interrupted\n[{'n': 42}]\n"
    assert process.returncode == 0


@pytest.mark.parametrize("question", FOREVER)
def test_a_question_that_takes_too_long_is_ended(warehouse, question):
    with pytest.raises(QueryCancelledError, match=r"longer than 0.3 s; ask for less, or raise `timeout_s`"):
        warehouse.sql(FOREVER[question], timeout_s=0.3, output_format="arrow")
    assert warehouse.sql("SELECT count(*) AS n FROM metrics", timeout_s=60)["n"][0] == 10


def test_a_stream_that_stands_still_is_ended(warehouse):
    with pytest.raises(QueryCancelledError):
        warehouse.sql(FOREVER["joining"], timeout_s=0.3, output_format="batches").read_all()


def test_another_thread_ends_a_question_and_no_other(warehouse):
    cancel = Cancel()
    answers = []

    def ask(**options):
        try:
            answers.append(warehouse.sql(FOREVER["joining"], output_format="arrow", **options))
        except QueryCancelledError as error:
            answers.append(str(error))

    thread = threading.Thread(target=ask, kwargs={"cancel": cancel})
    thread.start()
    time.sleep(0.3)
    assert warehouse.sql("SELECT count(*) AS n FROM metrics")["n"][0] == 10
    assert answers == []
    cancel.cancel()
    thread.join(timeout=60)
    assert answers == ["The question was cancelled."]
    assert cancel.is_cancelled
    # What comes later and has it doesn't begin.
    with pytest.raises(QueryCancelledError):
        warehouse.sql(FOREVER["sorting"], cancel=cancel)


def test_progress_is_told_in_the_callers_thread(warehouse):
    told = []

    def hear(share):
        told.append((share, threading.current_thread()))
        if len(told) == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        warehouse.sql("SELECT count(*) FROM (SELECT hash(range) AS h FROM range(3000000000) ORDER BY h)", progress=hear)
    assert all(0 <= share <= 1 for share, _ in told)
    assert {thread for _, thread in told} == {threading.current_thread()}
    assert warehouse.sql("SELECT 1 AS n", progress=hear)["n"][0] == 1


def test_a_question_leaves_memory_to_others_and_spills_beside_other_temporary_files(warehouse):
    row = warehouse.sql("SELECT current_setting('memory_limit') AS m, current_setting('temp_directory') AS t").iloc[0]
    amount, unit = row["m"].split()
    limit = float(amount) * {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine / 50 < limit <= machine / 2 * 1.01
    assert Path(row["t"]).parent == Path(tempfile.gettempdir())
    assert not Path(row["t"]).exists()


class _KnowsNothing:
    """An engine whose own threads have all the work: it can't say how far it is."""

    def interrupt(self):
        pass

    def query_progress(self):
        return -1.0


def test_progress_is_told_also_while_the_engine_does_not_know_it():
    told = []
    has_heard = threading.Event()

    def hear(share):
        told.append(share)
        if len(told) == 3:
            has_heard.set()

    def work(running):
        with running.on(_KnowsNothing()):
            return has_heard.wait(timeout=60)

    assert answered(work, Watch(hear))
    assert told[:3] == [0.0, 0.0, 0.0]


def test_no_bar_is_drawn_where_nobody_looks(warehouse, capfd):
    with pytest.raises(QueryCancelledError):
        warehouse.sql(FOREVER["sorting"], progress=True, timeout_s=0.8)
    assert capfd.readouterr() == ("", "")


def test_a_stream_gives_the_rows_of_the_answer_in_parts(warehouse):
    question = (
        "SELECT range AS n, CASE WHEN range % 2 = 0 THEN 'x' END AS t, sum(range) OVER () AS s FROM range(200000)"
    )
    stream = warehouse.sql(question, output_format="batches")
    assert isinstance(stream, pa.RecordBatchReader)
    batches = list(stream)
    assert len(batches) > 1
    table = pa.Table.from_batches(batches)
    expected = warehouse.sql(question, output_format="arrow")
    assert table.schema == expected.schema
    assert table.sort_by("n").equals(expected.sort_by("n").combine_chunks())
    # One that is left alone half-way frees what it has.
    half = warehouse.sql(FOREVER["handing over"], output_format="batches")
    assert half.read_next_batch().num_rows
    del half
    assert warehouse.sql("SELECT count(*) AS n FROM runs")["n"][0] == 1
    assert warehouse.sql("SELECT run_id FROM runs LIMIT 0", output_format="batches").read_all().num_rows == 0


def test_a_stream_tells_errors_as_a_frame_does(warehouse):
    with pytest.raises(SqlError, match="Conversion Error"):
        warehouse.sql("SELECT CAST(t AS INT) AS n FROM (SELECT 'x' AS t)", output_format="batches").read_all()
    with pytest.raises(InvalidInputError, match="Unknown output format `arow`"):
        warehouse.sql("SELECT 1", output_format="arow")
    with pytest.raises(InvalidInputError, match="no engine `sparc`"):
        warehouse.sql("SELECT 1", engine="sparc")
    for wrong in ({"timeout_s": 0}, {"timeout_s": "5"}, {"cancel": True}, {"progress": 3}):
        with pytest.raises(InvalidInputError, match=next(iter(wrong))):
            warehouse.sql("SELECT 1", **wrong)
    with pytest.raises(InvalidInputError, match="computed when it is used"):
        warehouse.sql("SELECT 1", output_format="spark", timeout_s=1)
