"""What a run ran on: user, entry point, git commit, Python, host and packages; looked up once a process."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from mlwarehouse.ingest.identity import login_name

GIT_TIMEOUT_S = 5.0


@cache
def environment_tags() -> dict[str, str]:
    """Tags that describe this process, with MLflow's keys where it has them.

    Returns:
        ``mlflow.user``, ``mlflow.source.name`` and ``.type``, in a git checkout ``mlflow.source.git.commit``,
        ``mlflow.source.git.branch`` and ``mlwarehouse.git.is_dirty``, and ``mlwarehouse.python``, ``.host`` and
        ``.platform``.
    """
    entry = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    tags = {
        "mlflow.user": login_name(),
        "mlflow.source.name": entry,
        "mlflow.source.type": "LOCAL",
        "mlwarehouse.python": platform.python_version(),
        "mlwarehouse.host": platform.node(),
        "mlwarehouse.platform": platform.platform(),
    }
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["mlwarehouse.git.is_dirty"] = "true" if _git("status", "--porcelain", "--untracked-files=no") else "false"
        branch = _git("rev-parse", "--abbrev-ref", "HEAD")
        if branch:
            tags["mlflow.source.git.branch"] = branch
    return tags


@cache
def package_list() -> str:
    """The installed packages, one ``name==version`` a line, sorted."""
    found = {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True, cwd=Path.cwd()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
