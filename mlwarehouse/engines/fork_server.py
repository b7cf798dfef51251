"""The process that workers for strangers' SQL are forked from.

Loading the libraries takes half a second and a fork takes milliseconds, so they are loaded once, here, and each
question gets a process of its own, which is shut in before DuckDB starts a thread and ends with its answer. This
process never sees a question: it hands file descriptors on.
"""

from __future__ import annotations

import gc
import io
import os
import select
import socket
from typing import TYPE_CHECKING

import pyarrow as pa

from mlwarehouse import sandbox
from mlwarehouse.engines.embedded_answering import answer, open_database
from mlwarehouse.engines.locked_wire import Asked, Bounds, Relation, read_asked, write_failure
from mlwarehouse.errors import SqlLimitError, WarehouseError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READY, ASK = b"ready", b"ask"

LOOK_EVERY_S = 2.0
"""How often to see whether the warehouse's process is still there, and whether workers have ended."""

SPARE_CPU_S = 2
"""CPU seconds beyond the limit of time, for a worker that nobody is left to end."""


def main() -> None:
    """Serve the process at the other end of standard input, a socket, until it is gone."""
    parent = os.getppid()
    control = socket.socket(fileno=os.dup(0))
    _warm_up()
    db = open_database()
    # What is there stays shared with the children.
    gc.collect()
    gc.freeze()
    control.send(READY)
    while os.getppid() == parent:
        _reap()
        if not select.select([control], [], [], LOOK_EVERY_S)[0]:
            continue
        said, descriptors, _, _ = socket.recv_fds(control, len(ASK), 2)
        if said != ASK:
            return
        _fork(control, db, *descriptors)


def _fork(control: socket.socket, db: DuckDBPyConnection, question: int, out: int) -> None:
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.die_with_parent(server)
            _keep_only(question, out)
            _work(db, question, out)
        finally:
            # Whatever happened: nothing of the server's may run in here.
            os._exit(0)
    os.close(question)
    os.close(out)
    handle = os.pidfd_open(pid)
    try:
        socket.send_fds(control, [ASK], [handle])
    finally:
        os.close(handle)


def _keep_only(*kept: int) -> None:
    lowest = 3
    for descriptor in sorted(kept):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
    # Standard input is the server's socket.
    os.close(0)


def _work(db: DuckDBPyConnection, question: int, out: int) -> None:
    with os.fdopen(question, "rb") as source:
        asked = read_asked(source.read())
    bounds = asked.bounds
    limits = sandbox.Limits(bounds.memory_bytes, int(bounds.time_s * bounds.threads) + SPARE_CPU_S)
    files = [file for relation in asked.relations for file in relation.files]
    with os.fdopen(out, "wb") as target:
        try:
            sandbox.shut_in(files, limits, without_landlock=asked.without_landlock)
            answer(db, asked, target)
        except WarehouseError as error:
            write_failure(target, type(error).__name__, str(error))
        except MemoryError:
            write_failure(target, SqlLimitError.__name__, "The answer took more memory than the question may.")
        except Exception as error:
            # Not its text, which may name a file.
            write_failure(target, WarehouseError.__name__, type(error).__name__)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _warm_up() -> None:
    """Answer a question, so that all that is loaded late is loaded: a worker can't open a module's file."""
    rows = pa.table({"a": pa.array([1, 2]), "b": pa.array(["x", None])})
    bounds = Bounds(time_s=60, memory_bytes=256 << 20, rows=10, result_bytes=1 << 20, threads=1)
    asked = Asked("SELECT a, count(*) AS n FROM t WHERE b = $b GROUP BY a", (Relation("t", rows),), bounds, {"b": "x"})
    with open_database() as db:
        answer(db, asked, io.BytesIO())
