"""A PostgreSQL server of the tests' own: a new cluster in a temporary folder, reached by a socket in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "postgres.sh"


class Missing(Exception):
    """There is no PostgreSQL; the text says why."""


@contextmanager
def server() -> Iterator[str]:
    """Start one; its address, of a database `mlflow`.

    Raises:
        Missing: It isn't there and can't be installed, or this process can't become its user.
    """
    if os.getuid() != 0:
        raise Missing("only root can start PostgreSQL as its own user")
    got = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=300)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if got.returncode or not found:
        raise Missing(f"PostgreSQL isn't there: {got.stderr.strip()}")
    folder = tempfile.mkdtemp(prefix="mlw-pg-")

    def run(name: str, *words: str) -> None:
        # Not a pipe: the server would keep it.
        with Path(folder, "log").open("ab") as log:
            subprocess.run(
                [found[-1].parent / name, *words], check=True, user="postgres", cwd=folder, stdout=log, stderr=log
            )

    shutil.chown(folder, "postgres")
    data = f"{folder}/data"
    try:
        Path(folder, "log").touch()
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c shared_buffers=16MB"
        run("pg_ctl", "-D", data, "-w", "-o", options, "start")
        try:
            run("createdb", "-h", folder, "-U", "postgres", "mlflow")
            yield f"postgresql://postgres:secret@/mlflow?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
