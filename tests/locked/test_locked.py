"""Locked SQL gives what `sql` gives over the granted rows, says what it leaves out, and is safe under threads."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlglot
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlglot import exp
from typer.testing import CliRunner

from mlwarehouse import Warehouse
from mlwarehouse.cli import app
from mlwarehouse.engines.allowed_sql import FUNCTIONS
from mlwarehouse.engines.base import Reading
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_answering import answer, check, open_database
from mlwarehouse.engines.embedded_locked import SCOPE, prepare
from mlwarehouse.engines.embedded_states import refresh
from mlwarehouse.engines.locked_wire import Asked, Bounds, read_asked, read_header, write_asked
from mlwarehouse.engines.running import Cancel
from mlwarehouse.errors import InvalidInputError, NotFoundError, QueryCancelledError, SqlError
from mlwarehouse.parts.locked_sql import KEPT_BACK, LockedSql, TruncatedWarning
from mlwarehouse.query import allowed_nodes
from mlwarehouse.query.locked import locked_question
from mlwarehouse.tables import TABLES, TABLES_BY_NAME
from mlwarehouse.tables.states import STATES
from mlwarehouse.tables.views import VIEWS
from tests.locked.attacks import read_attacks
from tests.views.rows import tables
from tests.views.test_kept import EVENTS, batch

BOUNDS = Bounds(time_s=60, memory_bytes=1 << 30, rows=10_000, result_bytes=64 << 20, threads=2)


def texts(rows: pa.Table | list[dict]) -> list[str]:
    """Rows as sorted text: NaN equals NaN, the order doesn't matter, nor the order in which floats were summed."""

    def plain(value: object) -> object:
        return f"{value:.12g}" if isinstance(value, float) else value

    listed = rows if isinstance(rows, list) else rows.to_pylist()
    return sorted(str({k: plain(v) for k, v in row.items()}) for row in listed)


@pytest.fixture(scope="module")
def alone(warehouse: Warehouse, tmp_path_factory) -> Warehouse:
    """A warehouse that has only ever held the events of the granted experiment."""
    made = Warehouse(tmp_path_factory.mktemp("alone") / "wh", committer="off")
    made.create()
    reading = warehouse.reading()
    engine = warehouse.engine()
    (experiment,) = warehouse.sql("SELECT experiment_id FROM experiments WHERE name = 'open'")["experiment_id"]
    runs = set(warehouse.sql("SELECT run_id FROM runs WHERE experiment_name = 'open'")["run_id"])
    for name, key in SCOPE.items():
        rows = engine.query(f"SELECT * FROM {name}", reading=reading)
        granted = [experiment] if key == "experiment_id" else sorted(runs)
        made.engine().append(TABLES_BY_NAME[name], rows.filter(pc.is_in(rows.column(key), pa.array(granted))))
    yield made
    made.close()


@pytest.fixture(scope="module")
def locked(warehouse: Warehouse) -> LockedSql:
    with warehouse.locked(experiment_names=["open"], workers=2) as shut_in:
        yield shut_in


def test_each_view_is_what_it_would_be_over_the_granted_events_alone(locked, alone):
    # Rows that aren't committed are recorded, for a reader, at the moment of reading.
    moving = {"recorded_at", "insert_time"}
    for name in sorted(locked.tables):
        got, wanted = (
            locked.answer(f"SELECT * FROM {name}").rows,
            alone.sql(f"SELECT * FROM {name}", output_format="arrow"),
        )
        kept = [c for c in wanted.column_names if c not in moving]
        assert got.schema == wanted.schema
        assert texts(got.select(kept)) == texts(wanted.select(kept)), name
        assert got.num_rows or name in ("experiment_tags", "logged_model_events")


def test_with_everything_granted_it_is_what_sql_gives(warehouse):
    with warehouse.locked(workers=2) as everything:
        assert everything.tables == {t.name for t in everything.schema()}
        assert {t.name for t in TABLES} | set(VIEWS) <= everything.tables | KEPT_BACK
        assert not KEPT_BACK & everything.tables
        for name in ("runs", "params", "metric_summaries", "tags", "goal_records", "model_versions", "audit"):
            got = everything.answer(f"SELECT * FROM {name}").rows
            wanted = warehouse.sql(f"SELECT * FROM {name}", output_format="arrow")
            assert (got.schema, texts(got)) == (wanted.schema, texts(wanted))


def test_a_pin_is_what_it_was(tmp_path):
    small = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with small.start_run(experiment="open") as run:
        run.log_param("p", 1)
        pin = small.snapshot()
        run.log_param("later", 2)
    with small.locked(experiment_names=["open"]) as locked:
        assert list(locked.sql("SELECT key FROM params", at=str(pin))["key"]) == ["p"]
        assert list(locked.sql("SELECT key FROM params ORDER BY key")["key"]) == ["later", "p"]
    small.close()


def test_a_moment_is_what_was_recorded_by_then(tmp_path):
    small = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    for key in ("p", "later"):
        for experiment in ("open", "hidden"):
            with small.start_run(experiment=experiment, run_name=key) as run:
                run.log_param(key, 1)
        small.flush()
        if key == "p":
            then = small.sql("SELECT max(recorded_at) AS at FROM param_events")["at"][0].to_pydatetime()
    with small.start_run(experiment="open") as run:
        run.log_param("waiting", 1)
    for grants in ({}, {"experiment_names": ["open"]}):
        with small.locked(**grants) as locked:
            ours = "run_id IN (SELECT run_id FROM runs WHERE experiment_name = 'open')"
            for name in ("params", "param_events", "runs"):
                question = f"SELECT * FROM {name} WHERE {ours}"
                got = locked.sql(question, as_of=then, output_format="arrow")
                assert got.num_rows == 1
                assert texts(got) == texts(small.sql(question, as_of=then, output_format="arrow"))
            now = locked.sql(f"SELECT key FROM params WHERE {ours}")
            assert set(now["key"]) == {"p", "later", "waiting"}
    small.close()


def test_a_run_is_lost_or_not_as_of_the_moment_that_is_asked_for(tmp_path):
    small = Warehouse(tmp_path / "wh", committer="off", capture_code=False, heartbeat_s=0.001)
    run = small.start_run(experiment="open")
    small.flush()
    then = small.sql("SELECT max(recorded_at) AS at FROM run_events")["at"][0].to_pydatetime()
    long_before_it_is_due = then - dt.timedelta(days=1)
    with small.locked() as locked:
        for as_of in (then, then + dt.timedelta(days=1), long_before_it_is_due):
            question = "SELECT run_id, is_lost FROM runs"
            assert texts(locked.sql(question, as_of=as_of, output_format="arrow")) == texts(
                small.sql(question, as_of=as_of, output_format="arrow")
            )
    run.end()
    small.close()


def test_other_dialects_are_translated_and_then_checked(locked):
    asked = "SELECT TOP 1 run_name + '!' AS n, ? AS x FROM runs ORDER BY run_name"
    row = locked.sql(asked, dialect="tsql", parameters=[3]).to_dict("records")
    assert row == [{"n": "open-first!", "x": 3}]
    for dialect, text in (
        ("postgres", "SELECT pg_read_file('/etc/passwd')"),
        ("spark", "SELECT * FROM parquet.`/etc/passwd`"),
        ("tsql", "SELECT * FROM OPENROWSET('x')"),
        ("postgres", "DELETE FROM runs"),
        ("mysql", "SELECT * FROM registry_events"),
        ("klingon", "SELECT 1"),
        ("postgres", "SELECT " + "(" * 5000 + "1" + ")" * 5000),
    ):
        with pytest.raises(SqlError):
            locked.sql(text, dialect=dialect)


def test_rows_come_as_they_are_made_and_no_more_than_asked_for(locked):
    with locked.stream("SELECT i::HUGEINT AS i FROM range(9000) AS r(i)", row_limit=5000) as answer:
        assert not answer.is_truncated
        batches = list(answer)
    assert len(batches) > 1
    assert {batch.schema for batch in batches} == {pa.schema([("i", pa.int64())])} == {answer.schema}
    assert (sum(batch.num_rows for batch in batches), answer.is_truncated) == (5000, True)
    with locked.stream("SELECT 1 AS a WHERE false") as answer:
        assert (sum(b.num_rows for b in answer), answer.schema.names, answer.is_truncated) == (0, ["a"], False)
    large = "SELECT i::HUGEINT * 10000000000000000000000 AS i FROM range(3) AS r(i)"
    assert locked.answer(large).rows.schema.field("i").type == pa.float64()
    # As a whole it can become a column of floats; half-way through it can't.
    with pytest.raises(SqlError, match="doesn't fit"), locked.stream(large) as answer:
        list(answer)
    with pytest.raises(InvalidInputError, match="row_limit"), locked.stream("SELECT 1", row_limit=0):
        pass


def test_a_failure_behind_a_part_of_the_rows_is_one(warehouse):
    asked = "SELECT CASE WHEN i < 900000 THEN i ELSE CAST('x' || i AS INT) END FROM range(1000000) AS r(i)"
    with warehouse.locked(row_limit=10**9, workers=1) as wide:
        for text, error in ((asked, "failed"), ("SELECT * FROM range(90000000)", "more than its 64 MiB")):
            sizes: list[int] = []
            with wide.stream(text) as answer, pytest.raises(SqlError, match=error):
                sizes.extend(batch.num_rows for batch in answer)
            assert sum(sizes) > 10_000
            assert not answer.is_truncated


def test_who_asked_may_leave_in_the_middle(warehouse):
    with warehouse.locked(workers=1, row_limit=10**9, result_bytes=1 << 40) as alone:
        for _ in range(3):
            with alone.stream("SELECT * FROM range(1000000000)") as answer:
                assert next(iter(answer)).num_rows
        assert alone.answer("SELECT 1 AS a").rows.to_pylist() == [{"a": 1}]


def test_a_question_is_cancelled_from_another_thread_at_any_time(locked):
    endless = "SELECT sum(list_reduce(range(i % 2 + 1000), lambda x, y: x + y % 7)) FROM range(1000000000) AS r(i)"
    for delay_s in (0.0, 0.3):
        cancel = Cancel()
        timer = threading.Timer(delay_s, cancel.cancel)
        timer.start()
        with pytest.raises(QueryCancelledError), locked.stream(endless, cancel=cancel) as answer:
            list(answer)
        timer.join()
    cancel = Cancel()
    with locked.stream("SELECT * FROM range(9000000)", row_limit=9000, cancel=cancel) as answer:
        batches = iter(answer)
        next(batches)
        cancel.cancel()
        # What was on its way may still come.
        with contextlib.suppress(QueryCancelledError):
            list(batches)


def test_tables_and_experiments_are_granted_by_name(warehouse):
    with pytest.raises(InvalidInputError, match="Did you mean `params`"):
        warehouse.locked(tables=["parms"])
    with pytest.raises(InvalidInputError, match="must be a list"):
        warehouse.locked(tables="runs")
    with pytest.raises(NotFoundError, match="opne"):
        warehouse.locked(experiment_names=["opne"])
    with warehouse.locked(experiment_names=["hidden"], tables=["runs", "model_versions"]) as few:
        assert [t.name for t in few.schema()] == ["runs", "model_versions"]
        names = few.sql("SELECT DISTINCT experiment_name FROM runs")["experiment_name"]
        assert list(names) == ["hidden"]
        assert len(few.sql("SELECT * FROM model_versions")) == 0
        with pytest.raises(SqlError) as not_granted:
            few.sql("SELECT * FROM params")
        with pytest.raises(SqlError) as not_there:
            few.sql("SELECT * FROM nowhere")
        assert str(not_granted.value).replace("params", "nowhere") == str(not_there.value)


def test_no_experiment_granted_is_no_row_and_not_every_row(warehouse):
    with warehouse.locked(experiment_ids=[]) as nothing:
        for name in ("runs", "params", "metrics", "experiments", "run_events"):
            assert len(nothing.sql(f"SELECT * FROM {name}")) == 0


def test_what_is_left_out_is_said(warehouse):
    with warehouse.locked(row_limit=3, result_bytes=1 << 20) as small:
        assert small.answer("SELECT * FROM range(3)").is_truncated is False
        cut = small.answer("SELECT * FROM range(100000) ORDER BY range")
        assert (cut.rows.column("range").to_pylist(), cut.is_truncated) == ([0, 1, 2], True)
        with pytest.warns(TruncatedWarning, match="more than 3 rows"):
            assert len(small.sql("SELECT * FROM range(4)")) == 3


@pytest.mark.parametrize("limit", ["time_limit_s", "memory_bytes", "row_limit", "result_bytes", "workers"])
def test_a_limit_that_leaves_nothing_is_refused(warehouse, limit):
    with pytest.raises(InvalidInputError, match=limit):
        warehouse.locked(**{limit: 0})


def test_parameters_are_values(locked):
    given = {
        "text": "x'; DROP TABLE runs; --",
        "number": 3,
        "real": float("inf"),
        "time": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        "day": dt.date(2026, 1, 2),
        "nothing": None,
        "raw": b"\0\xff",
        "many": [1, None, 3],
    }
    row = locked.answer(f"SELECT {', '.join(f'${k} AS {k}' for k in given)}", parameters=given).rows.to_pylist()[0]
    assert row == given
    with pytest.raises(SqlError, match="value that SQL can't have"):
        locked.answer("SELECT $a", parameters={"a": object()})
    with pytest.raises(SqlError, match=r"`\$b`"):
        locked.answer("SELECT $a", parameters={"a": 1, "b": 2})


def test_threads_share_it(warehouse, locked):
    def ask(number: int) -> int:
        sql = "SELECT count(*) + $n AS c FROM runs WHERE experiment_name = 'open'"
        return locked.answer(sql, parameters={"n": number}).rows.to_pylist()[0]["c"]

    n_runs = ask(0)
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == [n_runs + n for n in range(12)]


def test_the_command_line_asks_shut_in(warehouse):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "mlwarehouse", "sql", "--warehouse", warehouse.uri, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("--locked", "--experiment", "open", "--json", "SELECT DISTINCT experiment_name AS e FROM runs")
    assert json.loads(done.stdout) == [{"e": "open"}]
    refused = run("--locked", "SELECT * FROM read_csv('/etc/passwd')")
    assert refused.returncode == 1
    assert "After FROM come" in refused.stderr


def test_options_of_the_command_line_that_do_not_go_together_are_refused():
    for wrong, words in (
        (["--locked", "--as-of", "2026-01-01", "SELECT 1"], "leave out what says otherwise"),
        (["--experiment", "open", "SELECT 1"], "goes with `--locked`"),
    ):
        refused = CliRunner().invoke(app, ["sql", *wrong])
        assert isinstance(refused.exception, InvalidInputError)
        assert words in str(refused.exception)


def test_what_is_asked_is_written_anew_and_means_the_same(locked, alone):
    for text in (
        "SELECT status, count(*) FILTER (WHERE attempt >= 0) FROM runs GROUP BY ALL ORDER BY 1",
        "SELECT key, list_sort(list(value)) AS v, quantile_cont(value_number, 0.5) FROM params GROUP BY key ORDER BY 1",
        "SELECT date_diff('day', started_at, ended_at), strftime(started_at, '%Y') FROM runs -- comment",
        "SELECT context->>'$.subset' AS s, last FROM metric_summaries WHERE context IS NOT NULL ORDER BY last",
        "SELECT string_agg(key, ',' ORDER BY key DESC) FROM tags WHERE key NOT LIKE 'mlflow.%'",
        "FROM runs SELECT run_name, {'a': [1, 2]}.a[1] ORDER BY run_name LIMIT 2 OFFSET 1",
        "SELECT * EXCLUDE (run_id) REPLACE (upper(value) AS value) FROM params WHERE key = 'p' ORDER BY value",
        "SELECT list_reverse_sort([1, 3, 2]), ['x'][1], CASE WHEN 1 IN (1, 2) THEN 'a' END, -7 // 2, 7 % 4, 2 ** 3",
        "SELECT regexp_extract('run-12', '([0-9]+)', 1), split_part('a/b', '/', 2), format('{:.2f}', 1.5)",
        "SELECT run_name, rank() OVER (PARTITION BY status ORDER BY run_name) AS r FROM runs QUALIFY r <= 2 ORDER BY 1",
    ):
        wanted = alone.sql(locked_question(text, locked.tables), output_format="arrow")
        plain = alone.sql(text, output_format="arrow")
        assert locked.answer(text).rows.to_pylist() == wanted.to_pylist() == plain.to_pylist()


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    batches=st.lists(batch(), min_size=1, max_size=12), kept_after=st.integers(0, 12), waiting_from=st.integers(0, 12)
)
def test_rows_are_granted_by_the_experiment_of_their_run_whatever_the_events(
    batches, kept_after, waiting_from, tmp_path_factory
):
    """Runs that start twice, elsewhere, late or never; committed, kept, or waiting."""
    engine = EmbeddedEngine(tmp_path_factory.mktemp("any") / "tables")
    engine.create_tables(TABLES)
    waiting: dict[str, list] = {}
    for number, (table, rows) in enumerate(batches):
        if number >= waiting_from:
            waiting.setdefault(table, []).extend(rows)
        else:
            engine.append(TABLES_BY_NAME[table], tables({table: rows})[table])
        if number == kept_after:
            refresh(engine.tables, least_rows=1)
    reading = engine.with_kept(Reading(overlay=tables(waiting) if waiting else {}))
    runs = (
        engine.query("SELECT run_id FROM runs WHERE experiment_id = '1'", reading=reading).column("run_id").to_pylist()
    )
    for name in (*EVENTS, *(spec.view for spec in STATES)):
        prepared = prepare(engine, reading, f"SELECT * FROM {name}", ("1",))
        asked = read_asked(write_asked(Asked(prepared.text, prepared.relations, BOUNDS)))
        with open_database() as db:
            answer(db, asked, said := io.BytesIO())
            said.seek(0)
            read_header(said)
            got = pa.ipc.open_stream(said).read_all()
        every = engine.query(f"SELECT * FROM {name}", reading=reading).to_pylist()
        assert texts(got.to_pylist()) == texts([row for row in every if row["run_id"] in runs]), name
    engine.close()


def test_no_attack_is_said_in_the_log(caplog, locked):
    for case in read_attacks():
        if case.by in ("statement", "construct", "parse"):
            with pytest.raises(SqlError):
                locked_question(case.attack, locked.tables)
    assert caplog.records == []


def called_in_all_ways(name: str) -> Iterator[tuple[str, exp.Expr]]:
    """A function's calls, with what arguments it may have: as SQL and as trees."""
    for arguments in ("", "a", "a, b", "a, b, c", "a, b, c, d", "*", "'day', a", "'day', a, b", "a, x -> x", "a, '%Y'"):
        for after in ("", " OVER ()"):
            with contextlib.suppress(sqlglot.ParseError):
                text = f"SELECT {name}({arguments}){after} FROM t"
                yield text, sqlglot.parse_one(text, dialect="duckdb")


def test_allowed_nodes_are_those_of_the_allowed_functions():
    made: set[type] = {exp.CurrentTimestamp, exp.CurrentDate, exp.Extract}
    for name in FUNCTIONS:
        for _, tree in called_in_all_ways(name):
            made |= {type(n) for n in tree.walk() if isinstance(n, exp.Func) and not isinstance(n, exp.Anonymous)}
    assert made - (allowed_nodes.STRUCTURE | allowed_nodes.VALUES | allowed_nodes.OPERATORS) == allowed_nodes.FUNCTIONS


def test_what_one_check_writes_the_other_lets_through():
    with open_database() as db:
        for name in sorted(FUNCTIONS):
            for text, _ in called_in_all_ways(name):
                written = locked_question(text, {"t"})
                with contextlib.suppress(duckdb.ParserException):
                    check(db, written, {"t"})


@pytest.mark.parametrize("n_casts", [100, 200, 300, 400, 800, 3000])
def test_a_deep_question_is_answered_or_refused_in_words(locked, n_casts):
    # Where Python's stack ends is another place for each of those who walk the tree.
    try:
        assert locked.answer(f"SELECT 1{'::int' * n_casts} AS a").rows.to_pylist() == [{"a": 1}]
    except SqlError as error:
        assert "nested too deeply" in str(error) or "depth limit" in str(error)  # noqa: PT017
