"""`mlwarehouse sql`: formats, files, parameters, and what a person sees: real processes, a real terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.cli_table import markdown_lines, table_lines
from mlwarehouse.cli_writing import FORMATS, SUFFIXES, WRITERS

ODD = (
    "SELECT * FROM (VALUES (1, 0.5, 'a|b', NULL, [1, 2]), (20, 'NaN'::DOUBLE, 'NULL', '', NULL), "
    "(3, NULL, 'line\none', 'x\"y,z', [3])) AS t(n, x, t, e, l) ORDER BY n"
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    warehouse = Warehouse(tmp_path_factory.mktemp("cli-sql") / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="e", run_name="one") as run:
        run.log_metric("loss", 0.5, 1)
    warehouse.close()
    return warehouse.uri


def ask(uri, *arguments, ok=True, text=True, **options):
    done = subprocess.run(
        [sys.executable, "-m", "mlwarehouse", "sql", "-w", uri, *arguments],
        capture_output=True,
        text=text,
        timeout=120,
        check=False,
        **options,
    )
    assert (done.returncode == 0) == ok, done.stderr
    assert "Traceback" not in str(done.stderr)
    return done


@pytest.fixture(scope="module")
def stream():
    """Makes the odd rows as a stream, as the command gets them."""
    import duckdb

    return lambda: duckdb.sql(ODD).to_arrow_reader(2)


def test_csv_tells_null_from_the_empty_text(stream):
    out = io.BytesIO()
    assert WRITERS["csv"](stream(), out) == 3
    text = out.getvalue().decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["n", "x", "t", "e", "l"]
    assert rows[1][:3] == ["1", "0.5", "a|b"]
    assert rows[1][4] == "[1, 2]"
    assert text.splitlines()[1] == '1,0.5,"a|b",,"[1, 2]"'
    assert text.splitlines()[-1].startswith('20,nan,"NULL","",')
    assert rows[2][2:4] == ["line\none", 'x"y,z']


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_json_has_every_value(stream, name):
    out = io.BytesIO()
    assert WRITERS[name](stream(), out) == 3
    text = out.getvalue().decode()
    rows = json.loads(text) if name == "json" else [json.loads(line) for line in text.splitlines()]
    assert [r["n"] for r in rows] == [1, 3, 20]
    assert rows[0] == {"n": 1, "x": 0.5, "t": "a|b", "e": None, "l": [1, 2]}
    assert rows[2]["x"] == "nan"
    empty = io.BytesIO()
    assert WRITERS[name](pa.RecordBatchReader.from_batches(stream().schema, []), empty) == 0
    assert empty.getvalue() == (b"[]\n" if name == "json" else b"")


def test_parquet_is_the_answer_itself(stream):
    out = io.BytesIO()
    assert WRITERS["parquet"](stream(), out) == 3
    found = pq.read_table(io.BytesIO(out.getvalue()))
    assert str(found.to_pylist()) == str(stream().read_all().to_pylist())


def test_a_table_shows_null_numbers_and_what_is_left_out(stream):
    rows = stream().read_all().to_pylist()
    lines = table_lines(rows, list("nxtel"), width=None)
    assert lines[0].split() == ["n", "x", "t", "e", "l"]
    assert lines[2] == " 1   0.5  a|b       NULL   [1, 2]"
    assert lines[4] == "20   nan  'NULL'           NULL"
    narrow = table_lines([{"a": "x" * 40, "b": "y" * 40, "n": 1.5}], ["a", "b", "n"], width=40)
    assert all(len(line) <= 40 for line in narrow[:-1])
    assert narrow[-1].startswith("(long values are cut")
    wide = table_lines([{f"column_{i}": "value" * 3 for i in range(9)}], [f"column_{i}" for i in range(9)], width=40)
    assert all(len(line) <= 40 for line in wide[:-1])
    assert wide[-1].startswith("(5 columns left out: column_4, column_5")
    steering = table_lines([{"a": "\x1b[31mred\x1b[0m"}], ["a"], width=None)
    assert "\x1b" not in "".join(steering)
    assert markdown_lines(rows, list("nx"))[1] == "| ---: | ---: |"
    assert markdown_lines(rows, ["t"])[2] == "| a\\|b |"


def test_the_question_comes_as_text_from_a_file_or_from_a_pipe(uri, tmp_path):
    question = "SELECT run_name, $n + 1 AS n, $t AS t FROM runs WHERE run_name = $name"
    values = ["-p", "n=41", "-p", "t=it's", "-p", 'name="one"']
    (tmp_path / "q.sql").write_text(question)
    expected = [{"run_name": "one", "n": 42, "t": "it's"}]
    assert json.loads(ask(uri, "--file", str(tmp_path / "q.sql"), *values, "--format", "json").stdout) == expected
    assert json.loads(ask(uri, "-", *values, "--json", input=question).stdout) == expected
    tsql = "SELECT TOP 1 [key] + '!' AS k FROM metrics"
    assert ask(uri, tsql, "--dialect", "tsql", "--format", "csv").stdout == '"k"\n"loss!"\n'


def test_a_file_appears_whole_or_not_at_all(uri, tmp_path):
    done = ask(uri, "SELECT range AS n FROM range(3)", "-o", str(tmp_path / "a.parquet"))
    assert done.stdout == ""
    assert "3 rows in" in done.stderr
    assert pq.read_table(tmp_path / "a.parquet").column("n").to_pylist() == [0, 1, 2]
    breaks = "SELECT CASE WHEN t.n < 200000 THEN 1 ELSE error('broken') END AS n FROM range(200001) AS t(n)"
    assert "broken" in ask(uri, breaks, "-o", str(tmp_path / "b.csv"), ok=False).stderr
    assert {p.name for p in tmp_path.iterdir()} == {"a.parquet"}


def test_what_can_not_be_meant_is_refused(uri, tmp_path):
    for arguments, says in [
        (["SELECT 1", "--format", "xml"], "no format `xml`"),
        (["SELECT 1", "-o", str(tmp_path / "a.xyz")], "doesn't tell a format"),
        (["SELECT 1", "-p", "n"], "isn't a parameter"),
        ([], "Give the question"),
        (["--file", str(tmp_path / "none.sql")], "couldn't be read"),
        (["SELECT 1", "-o", str(tmp_path / "no" / "a.csv")], "couldn't be written"),
    ]:
        assert says in ask(uri, *arguments, ok=False).stderr


def test_a_cut_table_says_so(uri):
    done = ask(uri, "SELECT range AS n FROM range(1001)")
    assert done.stdout.count("\n") == 1003
    assert done.stdout.endswith("(1000 rows)\n")
    assert "only the first 1000 rows" in done.stderr
    assert ask(uri, "SELECT range AS n FROM range(5)", "-n", "2", "--format", "jsonl").stdout == '{"n": 0}\n{"n": 1}\n'


def test_formats_and_names_of_files_go_together():
    assert set(SUFFIXES.values()) == set(FORMATS) - {"table"}


def _on_a_terminal(arguments, *, rows, columns, pager):
    """What a command writes to a terminal of a size."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    settings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {
        "PAGER": pager,
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mlwarehouse", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=settings,
    )
    os.close(follower)
    said = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    os.close(leader)
    assert process.wait(timeout=30) == 0, said
    return said.decode().replace("\r\n", "\n")


def test_a_terminal_gets_its_width_and_a_pager_when_it_is_long(uri):
    wide = "SELECT repeat('x', 100) AS a, 1 AS n FROM range({})"
    short = _on_a_terminal(["sql", "-w", uri, wide.format(3)], rows=20, columns=50, pager="sed s/^/paged:/")
    assert "paged:" not in short
    assert max(len(line) for line in short.splitlines() if not line.startswith("(")) == 50
    assert "…" in short
    long = _on_a_terminal(["sql", "-w", uri, wide.format(30)], rows=20, columns=50, pager="sed s/^/paged:/")
    assert long.count("paged:") == 34


def test_memory_does_not_grow_with_the_answer(uri, tmp_path):
    def most(n):
        program = (
            "import sys, resource; from mlwarehouse.cli import app; "
            "app(sys.argv[1:], standalone_mode=False); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        question = f"SELECT range AS n, range * 0.5::DOUBLE AS x, 'run-' || (range % 1000) AS t FROM range({n})"
        arguments = ["sql", "-w", uri, question, "-o", str(tmp_path / f"{n}.parquet")]
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        assert pq.read_metadata(tmp_path / f"{n}.parquet").num_rows == n
        return int(done.stdout.splitlines()[-1]) / 1024

    little, much = most(1_000_000), most(5_000_000)
    # Whole, the four million rows more would take 110 MB.
    assert much - little < 50, (little, much)
