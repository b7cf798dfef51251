"""What is committed, found out from the tables themselves: for a spool whose plan is gone, damaged or of another time.

A plan is small and synced, but folders get restored from backups and files get deleted. The tables are the ledger: each
row says its writer and its number, a batch takes a writer's rows in order, and so a table has exactly the rows of a
writer up to the largest number in it.

That holds as long as nobody else commits meanwhile, and a spool may have been copied to another machine, whose plan
says something else. So whoever goes by the tables takes the spool over first: a batch's number begins with a term, and
an empty commit of the next term in each table refuses everything of the terms before. What is read after that stays.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping

from mlwarehouse.engines.base import Engine, Reading, Txn
from mlwarehouse.errors import StorageError
from mlwarehouse.ingest.plan import Plan, read_plan
from mlwarehouse.ingest.spool_folder import SpoolFolder
from mlwarehouse.tables import TABLES


def trusted_plan(folder: SpoolFolder, engine: Engine) -> Plan | None:
    """The spool's plan, if it agrees with the tables.

    Args:
        folder: The spool.
        engine: The engine to ask.

    Returns:
        The plan; None where the tables are ahead of it, it belongs to another spool, can't be read, or isn't there
        although something is logged.
    """
    try:
        plan = read_plan(folder)
    except StorageError:
        return None
    spool_id = folder.spool_id
    recorded = (engine.transaction_version(spec, spool_id) for spec in TABLES)
    if not is_of_these(plan, spool_id, recorded) or (not plan.batch and folder.segments()):
        return None
    return plan


def is_of_these(plan: Plan, spool_id: str, recorded: Iterable[int | None]) -> bool:
    """Whether a plan belongs to a spool and is no older than what the spool has committed.

    Args:
        plan: The plan.
        spool_id: The spool.
        recorded: The last batch in each table.
    """
    return plan.spool_id in ("", spool_id) and all((batch or 0) <= plan.batch for batch in recorded)


def plan_from_tables(folder: SpoolFolder, engine: Engine) -> Plan:
    """A plan in place of one that can't be trusted: of the last batch in the tables, with what they have already.

    Args:
        folder: The spool.
        engine: The engine to ask.
    """
    spool_id = folder.spool_id
    writers = writers_of(p.name for p in folder.segments())
    last = max((engine.transaction_version(spec, spool_id) or 0) for spec in TABLES)
    # A spool that has never committed anything has nobody to be taken over from: a copy of it would have.
    batch = take_over(engine, spool_id) if last else 0
    return Plan(
        batch=batch,
        recorded_at=last_recorded(engine, writers),
        floors=floors(engine, writers, Reading()),
        spool_id=spool_id,
    )


TERM_BITS = 32
"""A batch's number is its term, and below these bits its place in the term."""


def take_over(engine: Engine, spool_id: str) -> int:
    """Begin a new term of a spool: from now on no batch of an earlier term gets into any table.

    Args:
        engine: The engine to commit with.
        spool_id: The spool.

    Returns:
        The number that the term's batches come after.
    """
    while True:
        last = max((engine.transaction_version(spec, spool_id) or 0) for spec in TABLES)
        number = ((last >> TERM_BITS) + 1) << TERM_BITS
        nothing = ((spec, spec.arrow_schema().empty_table()) for spec in TABLES)
        # Of two that want the same term, the first table decides: the tables come in the same order for both.
        if all(engine.append(spec, rows, txns=[Txn(spool_id, number)]).applied for spec, rows in nothing):
            return number
        time.sleep(random.uniform(0, 0.2))


def last_recorded(engine: Engine, writers: set[str]) -> int:
    """When rows of these writers were last recorded, microseconds since the epoch; 0 when never.

    What is recorded later must say so, whatever the clock of another machine said.
    """
    newest = 0
    for spec in TABLES if writers else ():
        (row,) = engine.query(
            f"SELECT max(recorded_at) AS at FROM {spec.name} WHERE list_contains($writers, writer_id)",
            parameters={"writers": sorted(writers)},
        ).to_pylist()
        if row["at"] is not None:
            newest = max(newest, int(row["at"].timestamp() * 1e6))
    return newest


def floors(engine: Engine, writers: set[str], reading: Reading) -> dict[str, dict[str, int]]:
    """The largest sequence number of each writer in each table.

    Args:
        engine: The engine to ask.
        writers: The writers.
        reading: The state of the tables to look at.
    """
    found: dict[str, dict[str, int]] = {}
    if not writers:
        return found
    for spec in TABLES:
        rows = engine.query(
            f"SELECT writer_id, max(writer_seq) AS seq FROM {spec.name} "
            "WHERE list_contains($writers, writer_id) GROUP BY writer_id",
            parameters={"writers": sorted(writers)},
            reading=reading,
        ).to_pylist()
        if rows:
            found[spec.name] = {row["writer_id"]: row["seq"] for row in rows}
    return found


def still_needed(floors: Mapping[str, Mapping[str, int]], segments: Iterable[str]) -> dict[str, dict[str, int]]:
    """The floors of writers that still have segments.

    Args:
        floors: By table and writer.
        segments: The segments' file names.
    """
    there = writers_of(segments)
    kept = {name: {w: seq for w, seq in seqs.items() if w in there} for name, seqs in floors.items()}
    return {name: seqs for name, seqs in kept.items() if seqs}


def writers_of(segments: Iterable[str]) -> set[str]:
    """The writers of segments, from the files' names."""
    return {name.partition("-")[0] for name in segments}
