"""What every engine promises; see `ENGINES` in this folder's `conftest.py`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mlwarehouse.engines.base import Reading, Txn
from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.engines.embedded_schema import ALLOWED_FEATURES
from mlwarehouse.errors import CastError, StorageError, UnsupportedTableError
from mlwarehouse.tables import METRICS, TABLES, TABLES_BY_NAME, Column
from tests.contracts.conftest import LATER, NOON, count, names

# Tables.


def test_every_table_is_made_plain_and_readable_by_anyone(subject):
    subject.engine.create_tables(TABLES)
    subject.engine.create_tables(TABLES)
    for spec in TABLES:
        table = DeltaTable(subject.folder / spec.name)
        protocol = table.protocol()
        assert (protocol.min_reader_version, table.version()) == (1, 0)
        assert protocol.min_writer_version <= 7
        assert {*(protocol.reader_features or ()), *(protocol.writer_features or ())} <= ALLOWED_FEATURES
        assert [f.name for f in table.schema().fields] == [c.name for c in spec.all_columns]
        assert table.metadata().configuration["delta.appendOnly"] == "true"


def test_a_table_that_is_not_there_is_named(subject):
    with pytest.raises(StorageError, match="`metrics`"):
        subject.engine.append(METRICS, METRICS.arrow_schema().empty_table())
    with pytest.raises(StorageError, match="`metrics`"):
        subject.engine.query("SELECT * FROM metrics")


def test_a_table_with_foreign_features_is_refused_even_when_they_come_later(subject, rows):
    subject.append(rows(1))
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors", "appendOnly", "invariants", "changeDataFeed"],
    }
    log = subject.folder / "probe" / "_delta_log"
    (log / f"{2:020d}.json").write_text(json.dumps({"protocol": protocol}) + "\n")
    for _ in range(2):
        with pytest.raises(UnsupportedTableError, match="deletionVectors"):
            subject.engine.query("SELECT * FROM probe")
        with pytest.raises(UnsupportedTableError, match="deletionVectors"):
            subject.append(rows(1))
        with pytest.raises(UnsupportedTableError, match="deletionVectors"):
            subject.another().create_tables([TABLES_BY_NAME["probe"]])
    assert len(list(log.glob("*.json"))) == 3


# Rows.


def test_every_type_comes_back_as_it_was(subject, rows):
    long_text = "naïve 🦆 " * 40
    written = rows(
        5,
        name=["plain", "", "quote ' and \\ and \"", "новый\nline", long_text],
        note=[None, "", "x", "\x00\x01", None],
        long_value=[2**63 - 1, -(2**63), 0, None, 7],
        integer_value=[2**31 - 1, -(2**31), 0, None, 7],
        double_value=[math.inf, -math.inf, math.nan, None, 5e-324],
        is_good=[True, False, None, True, False],
        seen_at=[NOON, LATER, None, dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC), NOON],
    )
    outcome = subject.append(written)
    assert (outcome.applied, outcome.n_rows, outcome.version) == (True, 5, 1)
    read = subject.engine.query("SELECT * FROM probe ORDER BY writer_seq")
    assert read.schema.types == TABLES_BY_NAME["probe"].arrow_schema().types
    for name in written.column_names:
        if name == "double_value":
            assert str(read.column(name).to_pylist()) == str(written.column(name).to_pylist())
        else:
            assert read.column(name).to_pylist() == written.column(name).to_pylist(), name


def test_arrow_rows_are_taken_by_every_engine(subject, rows):
    assert subject.engine.append(TABLES_BY_NAME["probe"], rows(3)).n_rows == 3
    assert count(subject.engine) == 3


def test_columns_may_come_in_any_order_and_nullable_ones_may_lack(subject, rows):
    table = rows(2)
    subject.append(table.select(list(reversed(table.column_names))))
    assert subject.engine.query("SELECT note, long_value FROM probe LIMIT 1").to_pylist() == [
        {"note": None, "long_value": None}
    ]


def test_values_that_fit_are_converted(subject, rows):
    subject.append(rows(1, long_value=pa.array([3.0]), double_value=pa.array([2**53]), integer_value=pa.array([5])))
    assert subject.engine.query("SELECT long_value, double_value, integer_value FROM probe").to_pylist() == [
        {"long_value": 3, "double_value": 2.0**53, "integer_value": 5}
    ]


LOSSY = {
    "a fraction as a whole number": ("long_value", pa.array([1.5]), "1.5"),
    "nan as a whole number": ("long_value", pa.array([math.nan]), "nan"),
    "too large for an integer": ("integer_value", pa.array([2**31]), "2147483648"),
    "too large for a long": ("long_value", pa.array([1e19]), "1"),
    "too exact for a double": ("double_value", pa.array([2**53 + 1]), "9007199254740993"),
    "text as a number": ("long_value", pa.array(["1"]), "convert"),
    "a number as text": ("note", pa.array([1]), "convert"),
    "a number as a boolean": ("is_good", pa.array([1]), "convert"),
    "a number as a moment": ("seen_at", pa.array([1]), "convert"),
    "a null where none may be": ("name", pa.array([None], pa.string()), "may not be null"),
}


@pytest.mark.parametrize("case", LOSSY)
def test_a_value_that_would_change_is_refused_and_nothing_is_added(subject, rows, case):
    column, values, told = LOSSY[case]
    fitting = rows(1).column("name") if column == "name" else None
    bad = rows(1, **{column: values})
    assert fitting is None or bad.column("name").null_count == 1
    with pytest.raises(CastError, match=f"`{column}` of table `probe`") as raised:
        subject.append(bad)
    assert told in str(raised.value)
    assert subject.engine.version(TABLES_BY_NAME["probe"]) == 0
    assert subject.files() == set()


def test_one_bad_row_of_many_keeps_all_out(subject, rows):
    with pytest.raises(CastError, match="long_value"):
        subject.append(rows(1000, long_value=pa.array([1.0] * 999 + [0.5])))
    assert count(subject.engine) == 0
    assert subject.files() == set()


def test_an_unknown_column_is_refused_with_a_suggestion(subject, rows):
    with pytest.raises(CastError, match=r"no column `nam`.*Did you mean `name`"):
        subject.append(rows(1).append_column("nam", pa.array(["x"])))


def test_a_missing_column_is_refused(subject, rows):
    with pytest.raises(CastError, match="lack the column `writer_id`"):
        subject.append(rows(1).drop_columns(["writer_id"]))


def test_rows_of_another_kind_are_refused(subject):
    with pytest.raises(CastError, match="got list"):
        subject.engine.append(TABLES_BY_NAME["probe"], [{"name": "x"}])


def test_no_rows_are_no_file(subject, rows):
    assert subject.append(rows(0)).n_rows == 0
    assert subject.files() == set()


# Transactions.


def test_a_transaction_is_applied_once(subject, rows):
    probe = TABLES_BY_NAME["probe"]
    assert subject.append(rows(2), Txn("spool", 0), Txn("key", 7)).applied
    again = subject.append(rows(2), Txn("spool", 0))
    assert (again.applied, again.n_rows, again.version) == (False, 0, 1)
    assert subject.append(rows(2), Txn("spool", 1)).applied
    assert not subject.append(rows(2), Txn("spool", 0)).applied
    assert count(subject.engine) == 4
    assert subject.engine.state(probe, "spool") == (2, 1)
    assert subject.engine.transaction_version(probe, "key") == 7
    assert subject.engine.transaction_version(probe, "nobody") is None
    assert len(subject.files()) == len(DeltaTable(subject.folder / "probe").file_uris())


def test_of_two_that_race_for_a_number_one_wins(subject, rows, at_once):
    handles = [subject.another(), subject.another()]
    probe = TABLES_BY_NAME["probe"]
    for number in range(1, 4):
        batches = [subject.native(rows(1, name=[f"{number} by {i}"])) for i in range(2)]
        outcomes = at_once(
            [
                lambda h=handle, b=batch, n=number: h.append(probe, b, txns=[Txn("alias", n)])
                for handle, batch in zip(handles, batches, strict=True)
            ]
        )
        assert sorted(o.applied for o in outcomes) == [False, True]
    assert count(subject.engine) == 3
    assert subject.engine.state(probe, "alias") == (3, 3)


def test_those_that_do_not_compete_all_get_in(subject, rows, at_once):
    handles = [subject.another() for _ in range(4)]
    outcomes = at_once(
        [
            lambda h=handle, n=number: h.append(TABLES_BY_NAME["probe"], rows(1), txns=[Txn(f"app {n}", 1)])
            for number, handle in enumerate(handles)
        ]
    )
    assert all(o.applied for o in outcomes)
    assert count(subject.engine) == 4


# Evolution.


def test_a_later_column_is_null_in_older_rows(subject, rows, monkeypatch):
    older = TABLES_BY_NAME["probe"]
    subject.append(rows(1, name=["old"]))
    newer = dataclasses.replace(
        older, version=2, columns=(*older.columns, Column("colour", "string", "Its colour.", since=2))
    )
    monkeypatch.setitem(TABLES_BY_NAME, "probe", newer)
    question = "SELECT name, colour FROM probe ORDER BY name"
    # Read by a newer release before anybody has written with it, then evolved, then written.
    assert subject.engine.query(question).to_pylist() == [{"name": "old", "colour": None}]
    engine = subject.another()
    engine.create_tables([newer])
    assert engine.query(question).to_pylist() == [{"name": "old", "colour": None}]
    engine.append(newer, subject.native(rows(1, name=["new"]).append_column("colour", pa.array(["red"]))))
    both = [{"name": "new", "colour": "red"}, {"name": "old", "colour": None}]
    assert engine.query(question).to_pylist() == both
    assert subject.engine.query(question).to_pylist() == both
    assert engine.query(question, reading=Reading(versions={"probe": 1})).to_pylist() == [
        {"name": "old", "colour": None}
    ]
    # An older release reads on, in the columns it knows.
    monkeypatch.setitem(TABLES_BY_NAME, "probe", older)
    assert names(subject.another().query("SELECT * FROM probe ORDER BY name")) == ["new", "old"]
    # And never writes.
    with pytest.raises(UnsupportedTableError, match="columns colour of a later schema version than 1"):
        subject.another().append(older, subject.native(rows(1, name=["late"])))


def test_a_table_that_lacks_an_old_column_is_not_ours(subject):
    probe = TABLES_BY_NAME["probe"]
    other = dataclasses.replace(probe, columns=(*probe.columns, Column("extra", "string", "Since ever.")))
    with pytest.raises(UnsupportedTableError, match="lacks the column `extra`"):
        subject.engine.create_tables([other])


# Other readers.

HARD = {"long_text": "z" * 100, "nan": math.nan, "inf": math.inf, "moment": NOON + dt.timedelta(microseconds=999)}


def hard_rows(rows) -> pa.Table:
    """Values that file statistics get wrong easily: long text, NaN beside numbers, infinities, microseconds."""
    return rows(
        4,
        note=["a", HARD["long_text"], "m", None],
        double_value=[1.0, math.nan, math.inf, None],
        seen_at=[NOON, HARD["moment"], NOON, None],
    )


def test_plain_readers_see_the_same_rows(subject, rows):
    subject.append(rows(3))
    subject.append(hard_rows(rows))
    table = DeltaTable(subject.folder / "probe")
    frame = table.to_pyarrow_table()
    assert frame.num_rows == 7
    found = table.to_pyarrow_table(filters=[("note", "=", HARD["long_text"])])
    assert found.num_rows == 1
    assert table.to_pyarrow_table(filters=[("seen_at", "=", HARD["moment"])]).num_rows == 1
    files = [str(subject.folder / "probe" / name) for name in subject.files()]
    assert duckdb.sql(f"SELECT count(*), count(DISTINCT name) FROM read_parquet({files})").fetchall() == [(7, 4)]


@pytest.mark.spark
def test_spark_alone_finds_what_statistics_could_hide(subject, rows, spark):
    subject.append(hard_rows(rows))
    frame = spark.read.format("delta").load(str(subject.folder / "probe"))
    for condition in (
        f"note = '{HARD['long_text']}'",
        "isnan(double_value)",
        "double_value = double('Infinity')",
        "double_value > 1 and not isnan(double_value)",
        f"seen_at = TIMESTAMP '{HARD['moment'].strftime('%Y-%m-%d %H:%M:%S.%f')} UTC'",
        "seen_at is null",
    ):
        assert frame.where(condition).count() == 1, condition


@pytest.mark.spark
def test_what_one_engine_wrote_the_other_reads(subject, rows, spark):
    from mlwarehouse.engines.spark import SparkEngine

    subject.append(hard_rows(rows), Txn("spool", 3))
    question = "SELECT * FROM probe ORDER BY writer_seq"
    readers = [EmbeddedEngine(subject.folder), SparkEngine(spark, subject.folder)]
    answers = [reader.query(question) for reader in readers]
    assert answers[0].schema.types == answers[1].schema.types
    assert str(answers[0].to_pylist()) == str(answers[1].to_pylist())
    assert [r.transaction_version(TABLES_BY_NAME["probe"], "spool") for r in readers] == [3, 3]
