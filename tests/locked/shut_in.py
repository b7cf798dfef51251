"""A process that is shut in as a worker is and then tries what it can, without any parser before it.

Run as a program with one argument, JSON: ``granted`` (a Parquet file), ``other`` (a file), ``target`` (a path to
write), ``port`` (where somebody listens), ``whole`` (whether DuckDB may open the granted file itself), ``landlock``.
Prints, as JSON, what came of each attempt: ``null`` where nothing stood in its way.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import socket
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlwarehouse import sandbox
from mlwarehouse.engines import embedded_answering
from mlwarehouse.engines.locked_wire import Asked, Bounds, Relation


def _execute(path: str) -> None:
    # No fork before it: what is tried is the one call.
    outcome = ctypes.CDLL(None, use_errno=True).execve(path.encode(), None, None)
    if outcome:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    """Try it all."""
    given = json.loads(sys.argv[1])
    granted, other, target, port = given["granted"], given["other"], given["target"], given["port"]
    rows = pq.read_table(granted)
    key = {} if given["whole"] else {"key": "run_id", "granted": pa.array([rows.column("run_id")[0].as_py()])}
    relation = Relation("t", rows.schema.empty_table(), (granted,), **key)
    asked = Asked("SELECT 1", (relation,), Bounds(60, 512 << 20, 100, 1 << 20, 2))
    parent = os.getppid()
    memory = f"/proc/{parent}/environ"
    # A worker has loaded what it needs before; see `fork_server`.
    with embedded_answering.open_database() as warm:
        one = Asked("SELECT 1", (Relation("w", rows.slice(0, 1)),), asked.bounds)
        embedded_answering.answer(warm, one, io.BytesIO())
    db = embedded_answering.open_database()
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    if not given["landlock"]:
        sandbox.landlock.version = lambda: 0
    sandbox.shut_in([granted], sandbox.Limits(512 << 20, 60), without_landlock=not given["landlock"])
    embedded_answering._prepare(db, asked)
    questions = {
        "sql: own rows": "SELECT count(*) FROM t",
        "sql: granted file": f"SELECT count(*) FROM read_parquet('{granted}')",
        "sql: other file": f"SELECT * FROM read_text('{other}')",
        "sql: other file by name": f"SELECT * FROM '{other}.csv'",
        "sql: glob": "SELECT * FROM glob('/etc/*')",
        "sql: environment": f"SELECT * FROM read_text('{memory}')",
        "sql: copy": f"COPY (SELECT 1) TO '{target}'",
        "sql: copy over granted": f"COPY (SELECT 1 AS a) TO '{granted}' (FORMAT parquet)",
        "sql: attach": f"ATTACH '{target}.db'",
        "sql: export": f"EXPORT DATABASE '{target}'",
        "sql: http": f"SELECT * FROM read_text('http://127.0.0.1:{port}/x')",
        "sql: install": "INSTALL httpfs",
        "sql: load": f"LOAD '{other}'",
        "sql: set": "SET enable_external_access = true",
        "sql: set paths": f"SET allowed_paths = ['{other}']",
        "sql: reset": "RESET lock_configuration",
        "sql: python": "SELECT * FROM rows",
        "sql: secret": "CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    }
    attempts = {name: lambda text=text: db.execute(text).fetchall() for name, text in questions.items()}
    attempts |= {
        "read granted": lambda: Path(granted).read_bytes(),
        "read other": lambda: Path(other).read_bytes(),
        "read environment": lambda: Path(memory).read_bytes(),
        "list": lambda: os.listdir("/"),  # noqa: PTH208
        "write": lambda: Path(target).write_text("x"),
        "write granted": lambda: os.open(granted, os.O_WRONLY),
        "truncate granted": lambda: os.truncate(granted, 0),
        "remove granted": lambda: os.unlink(granted),  # noqa: PTH108
        "change mode": lambda: os.chmod(granted, 0o777),  # noqa: PTH101
        "link": lambda: os.symlink(other, target),  # noqa: PTH211
        "tcp": lambda: socket.create_connection(("127.0.0.1", port)),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "fork": os.fork,
        "execute": lambda: _execute("/bin/true"),
        "signal parent": lambda: os.kill(parent, 0),
        "signal anybody": lambda: os.kill(1, 0),
        "memfd": lambda: os.memfd_create("x"),
        "more memory": lambda: bytearray(4 << 30),
        "raise limit": lambda: __import__("resource").setrlimit(9, (-1, -1)),
    }
    outcomes = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            outcomes[name] = None
        except BaseException as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes), flush=True)
    os._exit(0)


main()
