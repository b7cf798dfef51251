"""What a run ran on: user, entry point, Python, host and packages; looked up once a process."""

from __future__ import annotations

import platform
import shlex
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from mlwarehouse.ingest.identity import login_name

MAX_COMMAND = 4096
"""Characters that are kept of a command line."""


@cache
def process_tags() -> dict[str, str]:
    """Tags that describe this process and cost nothing to know, with MLflow's keys where it has them.

    Returns:
        ``mlflow.user``, ``mlflow.source.name`` and ``.type``, ``mlwarehouse.command``, ``.python``, ``.host`` and
        ``.platform``.
    """
    return {
        "mlflow.user": login_name(),
        "mlflow.source.name": Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python",
        "mlflow.source.type": "LOCAL",
        "mlwarehouse.command": shlex.join(sys.orig_argv)[:MAX_COMMAND],
        "mlwarehouse.python": platform.python_version(),
        "mlwarehouse.host": platform.node(),
        "mlwarehouse.platform": platform.platform(),
    }


@cache
def package_list() -> str:
    """The installed packages, one ``name==version`` a line, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]}
    return "\n".join(sorted(found, key=str.lower)) + "\n"
