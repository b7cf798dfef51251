"""Folding the events of one part of the runs: the piece of work of which a refresh of kept folds consists.

A part's fold needs nothing but files: those with its runs' new events, of the runs' numbers, and of what is kept so
far. So it can be made in any process that sees the folder, and many at once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from mlwarehouse.disk import sync_path
from mlwarehouse.engines.embedded_page_files import PART_RUNS
from mlwarehouse.engines.embedded_sql import file_list, rows_of_files
from mlwarehouse.engines.render_states import fold_of_partition, nothing_kept
from mlwarehouse.errors import StorageError
from mlwarehouse.tables import TABLES_BY_NAME
from mlwarehouse.tables.states import STATES_BY_VIEW, StateSpec

ROW_GROUP = 32_768

MEMORY = "1GB"


@dataclass(frozen=True)
class PartJob:
    """The fold of one part that is to be made.

    Attributes:
        view: The kept view, an entry of `STATES`.
        folder: Its table's folder.
        part: The part's number.
        sources: Files with new events of its runs, among those of others.
        numbers: Files with the runs' numbers.
        old: The file of what is kept so far; None where nothing is.
    """

    view: str
    folder: str
    part: int
    sources: tuple[str, ...]
    numbers: tuple[str, ...]
    old: str | None

    def text(self) -> str:
        """The job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> PartJob:
        """Read what `text` wrote."""
        found: dict[str, Any] = json.loads(text)
        return cls(**{**found, "sources": tuple(found["sources"]), "numbers": tuple(found["numbers"])})


@dataclass(frozen=True)
class WrittenPart:
    """A file that was written into a kept fold's folder, and synced, without being part of its table yet.

    Attributes:
        path: Relative to the folder.
        size: Bytes.
        n_rows: Rows.
    """

    path: str
    size: int
    n_rows: int


FoldParts = Callable[[Sequence[PartJob]], list[WrittenPart]]
"""Makes the folds of some parts, in order."""


def connected() -> duckdb.DuckDBPyConnection:
    """A database of its own, in bounded memory, for work on kept folds."""
    db = duckdb.connect(config={"memory_limit": MEMORY, "autoinstall_known_extensions": "false"})
    db.execute("SET TimeZone = 'UTC'")
    return db


def fold_here(jobs: Sequence[PartJob]) -> list[WrittenPart]:
    """Make the folds of parts one after another in this process.

    Raises:
        duckdb.Error: One can't be computed.
        OSError: One can't be written.
    """
    with connected() as db:
        return [fold_part(job, db) for job in jobs]


def fold_alone(job: PartJob) -> WrittenPart:
    """Make the fold of one part on one core, in a process whose neighbours make others.

    Raises:
        StorageError: It can't be computed or written.
    """
    try:
        with connected() as db:
            db.execute("SET threads = 1")
            return fold_part(job, db)
    except (duckdb.Error, OSError) as error:
        raise StorageError(f"the fold of `{job.view}` couldn't be written into `{job.folder}`: {error}") from error


def fold_part(job: PartJob, db: duckdb.DuckDBPyConnection) -> WrittenPart:
    """Make the fold of one part; see `fold_here`."""
    spec, folder = STATES_BY_VIEW[job.view], Path(job.folder)
    db.execute(f"CREATE OR REPLACE VIEW run_numbers AS SELECT id, number FROM read_parquet({file_list(job.numbers)})")
    # The names first, of one part only: a small table to look each event's run up in.
    db.execute(
        f"CREATE OR REPLACE TEMP TABLE tail_{spec.source} AS SELECT raw.* REPLACE (number AS run_id) "
        f"FROM ({rows_of_files(TABLES_BY_NAME[spec.source], job.sources)}) AS raw INNER JOIN "
        f"(SELECT * FROM run_numbers WHERE number // {PART_RUNS} = {job.part}) AS numbers ON id = run_id"
    )
    db.execute(f"CREATE OR REPLACE VIEW state_{spec.view} AS {_kept(spec, job.old)}")
    return write_part(db, fold_of_partition(spec), folder, job.part, ROW_GROUP)


def write_part(db: duckdb.DuckDBPyConnection, sql: str, folder: Path, part: int, row_group: int) -> WrittenPart:
    """Write a query's rows as one synced file into a table's folder.

    Args:
        db: Answers the query.
        sql: The query.
        folder: The folder.
        part: What the file's name begins with.
        row_group: Rows of a row group.
    """
    name = f"{part:06d}-{uuid.uuid4()}.parquet"
    path = str(folder / name).replace("'", "''")
    db.execute(f"CREATE OR REPLACE TEMP TABLE written AS {sql}")
    rows = db.execute(
        f"COPY (FROM written) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {row_group})"
    ).fetchone()
    sync_path(folder / name)
    sync_path(folder)
    return WrittenPart(name, (folder / name).stat().st_size, rows[0] if rows else 0)


def _kept(spec: StateSpec, old: str | None) -> str:
    """What is kept of the part so far, or nothing in the right types."""
    return nothing_kept(spec) if old is None else f"SELECT * FROM read_parquet({file_list([old])})"
