"""Answering a stranger's question: what a worker does once it is shut in.

The database is made for one question and holds what the question may see and nothing else: granted rows that were
handed over, and datasets that leave other rows out before DuckDB gets them. DuckDB itself opens files only where each
row of them is granted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Set
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from mlwarehouse.engines.allowed_sql import FUNCTIONS, OPERATORS, TABLE_FUNCTIONS, TOO_DEEP
from mlwarehouse.engines.embedded_sql import file_list, name, said
from mlwarehouse.engines.locked_wire import Asked, Relation, write_answer, write_end
from mlwarehouse.errors import SqlError, SqlLimitError, StorageError

BATCH_ROWS = 2048

SHARE_OF_DATABASE = 0.7
"""What DuckDB may use of the memory; the rest is for stacks, Arrow, and the answer."""


def open_database() -> duckdb.DuckDBPyConnection:
    """An empty database in memory, without threads yet: a process that is forked from this one has one of its own."""
    db = duckdb.connect(
        config={
            "threads": "1",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    db.execute("SET TimeZone = 'UTC'")
    # A join sends filters into its scans that Arrow's can't take.
    db.execute("SET disabled_optimizers = 'join_filter_pushdown'")
    return db


def answer(db: duckdb.DuckDBPyConnection, asked: Asked, out: BinaryIO) -> None:
    """Answer one question, with a database that then has had its day.

    Args:
        db: What `open_database` has opened.
        asked: The question.
        out: Where the answer is written, as its rows come.

    Raises:
        SqlError: The question is refused, or failed.
        SqlLimitError: It took too much memory, or its answer has too many bytes.
    """
    bounds = asked.bounds
    # Arrow's own allocator reserves address space by the gigabyte, which is what is limited.
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(bounds.threads)
    pa.set_io_thread_count(bounds.threads)
    try:
        _prepare(db, asked)
        check(db, asked.text, {r.name for r in asked.relations})
        reader = db.execute(asked.text, dict(asked.parameters) or None).to_arrow_reader(BATCH_ROWS)
        rows = _Rows(reader, asked)
        write_answer(out, iter(rows), reader.schema)
        write_end(out, is_truncated=rows.is_truncated)
    except RecursionError as error:
        raise SqlError(TOO_DEEP) from error
    except (duckdb.Error, MemoryError, pa.ArrowException, OSError) as error:
        # What fails while rows are handed over arrives as an error of Arrow's with DuckDB's words.
        if isinstance(error, MemoryError) or "Out of Memory" in str(error):
            raise SqlLimitError(
                f"The question took more than its {bounds.memory_bytes >> 20} MiB of memory; ask for less at once."
            ) from error
        if any(file in str(error) for relation in asked.relations for file in relation.files):
            raise StorageError("a file of a table can't be read") from error
        raise SqlError(f"The question failed: {said(error)}") from error


def _prepare(db: duckdb.DuckDBPyConnection, asked: Asked) -> None:
    """Take from the database all that the question doesn't need, then give it its tables."""
    bounds = asked.bounds
    whole = [f for r in asked.relations if r.key is None for f in r.files]
    db.execute(f"SET memory_limit = '{int(bounds.memory_bytes * SHARE_OF_DATABASE) >> 20}MiB'")
    db.execute(f"SET threads = {bounds.threads}")
    # Every worker begins with the same memory.
    db.execute("SELECT setseed($seed)", {"seed": random.SystemRandom().uniform(-1, 1)})
    if whole:
        db.execute(f"SET allowed_paths = {file_list(whole)}")
    db.execute("SET enable_external_access = false")
    if not whole:
        db.execute("SET disabled_filesystems = 'LocalFileSystem'")
    for relation in asked.relations:
        _attach(db, relation)
    db.execute("SET lock_configuration = true")


def _attach(db: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    columns = ", ".join(name(c) for c in relation.rows.column_names)
    rows, files = name(f"rows_of_{relation.name}"), name(f"files_of_{relation.name}")
    db.register("mlw_arrow", relation.rows)
    db.execute(f"CREATE TEMP TABLE {rows} AS SELECT * FROM mlw_arrow")
    db.unregister("mlw_arrow")
    text = f"SELECT {columns} FROM {rows}"
    if relation.files and relation.key is None:
        # By name: files from before a column was added lack it.
        source = f"SELECT * FROM read_parquet({file_list(relation.files)}, union_by_name = true)"
        if relation.until_us is not None:
            source += f" WHERE recorded_at <= make_timestamptz({relation.until_us})"
        text = f"SELECT {columns} FROM (SELECT * FROM {rows} UNION ALL BY NAME {source})"
    elif relation.files:
        dataset = ds.dataset(list(relation.files), schema=relation.rows.schema, format="parquet")
        granted = ds.field(relation.key).isin(relation.granted)
        if relation.until_us is not None:
            granted &= ds.field("recorded_at") <= pa.scalar(relation.until_us, pa.timestamp("us", tz="UTC"))
        db.register(f"files_of_{relation.name}", dataset.filter(granted))
        text += f" UNION ALL SELECT {columns} FROM {files}"
    db.execute(f"CREATE TEMP VIEW {name(relation.name)} AS {text}")


class _Rows:
    """The rows of an answer within its bounds; `is_truncated` holds once they are through."""

    def __init__(self, reader: pa.RecordBatchReader, asked: Asked) -> None:
        self._reader, self._bounds = reader, asked.bounds
        self.is_truncated = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        n_rows = n_bytes = 0
        for batch in self._reader:
            fitting = batch.slice(0, self._bounds.rows - n_rows)
            n_rows += batch.num_rows
            n_bytes += fitting.get_total_buffer_size()
            if n_bytes > self._bounds.result_bytes:
                raise SqlLimitError(
                    f"The answer has more than its {self._bounds.result_bytes >> 20} MiB; ask for fewer columns or "
                    "rows."
                )
            yield fitting
            if n_rows > self._bounds.rows:
                self.is_truncated = True
                return


def check(db: duckdb.DuckDBPyConnection, text: str, relations: Set[str]) -> None:
    """See, with DuckDB's own parser, that a text is one `SELECT` over known tables with allowed functions.

    Raises:
        SqlError: It isn't.
    """
    statements = duckdb.extract_statements(text)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SqlError("Only one SELECT can be asked.")
    (said_,) = db.execute("SELECT json_serialize_sql($text)", {"text": text}).fetchone() or ("{}",)
    tree = json.loads(said_)
    if tree.get("error") is not False or len(tree["statements"]) != 1:
        raise SqlError("Only one SELECT can be asked.")
    _check_part(tree["statements"], frozenset(_folded(r) for r in relations))


def _check_part(part: Any, visible: frozenset[str]) -> None:
    """Look at a part of the tree and what is in it.

    Args:
        part: The part.
        visible: Tables that can be named in it, with the common table expressions around it.
    """
    if isinstance(part, list):
        for inner in part:
            _check_part(inner, visible)
        return
    if not isinstance(part, dict):
        return
    kind = part.get("type")
    if kind == "BASE_TABLE":
        plain = not part.get("schema_name") and not part.get("catalog_name") and not part.get("at_clause")
        if not plain or _folded(part["table_name"]) not in visible:
            raise SqlError(f"There is no table or view `{part['table_name']}` here.")
    elif kind == "TABLE_FUNCTION":
        _check_function(part["function"], TABLE_FUNCTIONS)
    elif kind in ("SHOW_REF", "PIVOT"):
        raise SqlError(f"The SQL construct `{kind}` isn't allowed here.")
    elif part.get("class") == "FUNCTION":
        _check_function(part, OPERATORS if part.get("is_operator") else FUNCTIONS | OPERATORS)
    elif part.get("class") == "WINDOW":
        _check_function(part, FUNCTIONS)
    own = part.get("cte_map")
    if isinstance(own, dict):
        for entry in own["map"]:
            _check_part(entry["value"], _with_itself(entry, visible))
            visible |= {_folded(entry["key"])}
    if kind == "RECURSIVE_CTE_NODE":
        visible |= {_folded(part["cte_name"])}
    for inner_name, inner in part.items():
        if inner_name != "cte_map":
            _check_part(inner, visible)


def _with_itself(entry: Any, visible: frozenset[str]) -> frozenset[str]:
    """What a common table expression sees: those before it, and itself where it is recursive."""
    node = entry["value"]["query"]["node"]
    return visible | {_folded(entry["key"])} if node["type"] == "RECURSIVE_CTE_NODE" else visible


def _check_function(part: Any, allowed: Set[str]) -> None:
    called = part["function_name"]
    if part.get("schema") not in ("", "main", None) or part.get("catalog") or _folded(called) not in allowed:
        raise SqlError(f"The function `{called}` isn't allowed here.")


def _folded(text: str) -> str:
    """A name as DuckDB compares names: capitals of ASCII make no difference, others do."""
    return "".join(c.lower() if c.isascii() else c for c in text)
