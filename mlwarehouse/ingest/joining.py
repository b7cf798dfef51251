"""Taking up runs: which of many processes starts an attempt and which join it; and what a fork needs.

The starter writes ``started`` or ``resumed``, sends the heartbeats and ends the run. Whoever joins writes ``joined``
and ``left``, logs with the starter's attempt, and ends nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlwarehouse.entities import RunInfo, RunStatus
from mlwarehouse.errors import InvalidInputError, NotFoundError

RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Where launchers say which process of a job this is: torchrun, Slurm, Open MPI, MPICH."""

LOCAL_RANK_VARIABLES = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
"""The same for its place among the processes of its machine."""

MLFLOW_RUN_ID = "MLFLOW_RUN_ID"
"""MLflow's name of the setting `run_id`; ours wins."""

POLL_S = 0.2

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class FoundRun:
    """What must be known of a run to go on with it, or to join it.

    Attributes:
        info: Its identity and state.
        attempt: Its last attempt.
        params: Its params, so that one set again to another value is refused.
        starter: The writer id of the process that started the last attempt.
        seen_at: The last sign of life of that attempt, microseconds since the epoch.
    """

    info: RunInfo
    attempt: int
    params: Mapping[str, str]
    starter: str
    seen_at: int


def rank() -> int | None:
    """This process's rank in a distributed job, as its launcher says; None outside of one."""
    return _number(RANK_VARIABLES)


def local_rank() -> int | None:
    """This process's rank among those of its machine; None outside of a distributed job."""
    return _number(LOCAL_RANK_VARIABLES)


def process_label(**more: str) -> str:
    """What is written beside a process that joins or leaves: rank, host, process id and more, as JSON."""
    return json.dumps({"rank": rank(), "host": platform.node(), "pid": os.getpid(), **more}, separators=(",", ":"))


def launched_run_id(setting: str) -> str | None:
    """The run that a launcher has chosen for all its processes, or None.

    Args:
        setting: The setting `run_id`.

    Raises:
        InvalidInputError: It can't be a run's id.
    """
    run_id = setting or os.environ.get(MLFLOW_RUN_ID, "")
    if run_id and not _RUN_ID.fullmatch(run_id):
        raise InvalidInputError(
            f"The launcher's run id `{run_id[:80]}` can't be one; use letters, digits, `-`, `_` and `.`, or leave "
            "MLWAREHOUSE_RUN_ID unset."
        )
    return run_id or None


def await_starter(
    run_id: str,
    look_up: Callable[[str], FoundRun],
    is_writing: Callable[[str], bool],
    *,
    timeout_s: float,
) -> FoundRun | None:
    """Wait until another process has started the attempt that this one shall join.

    It has when it lives on this machine, or when its last sign of life is younger than this process: an attempt that
    was killed before its job came back gives no sign any more. (One that is younger may have ended already.)

    Args:
        run_id: The run.
        look_up: Finds it; raises `NotFoundError`.
        is_writing: Whether a writer lives on this machine.
        timeout_s: How long to wait.

    Returns:
        The run; or what is known of it when the time was over, with a warning: a training must not end for this. None
        when nothing is known.
    """
    deadline = time.monotonic() + timeout_s
    born = process_started_at()
    while True:
        try:
            found: FoundRun | None = look_up(run_id)
        except NotFoundError:
            found = None
        if found is not None and (found.seen_at >= born or (is_running(found) and is_writing(found.starter))):
            return found
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    warnings.warn(
        f"mlwarehouse found no process that runs `{run_id}` within {timeout_s:g} s "
        f"({'nothing is known of the run' if found is None else f'its status is {found.info.status}'}). "
        f"Logging goes on as attempt {0 if found is None else found.attempt}; start the run in the process of rank 0, "
        "or pass `join=False` to start it in this one.",
        RuntimeWarning,
        stacklevel=5,
    )
    return found


def is_running(found: FoundRun) -> bool:
    """Whether the last attempt hasn't ended, as far as is recorded."""
    return found.info.status == RunStatus.RUNNING


def unknown_run(run_id: str, actor: str) -> FoundRun:
    """A run of which nothing is known yet but its id."""
    now_ms = time.time_ns() // 1_000_000
    info = RunInfo(
        run_id=run_id,
        experiment_id="",
        run_name=None,
        user_id=actor,
        status=RunStatus.RUNNING,
        start_time=now_ms,
        end_time=None,
        lifecycle_stage="active",
        artifact_uri=f"runs:/{run_id}",
    )
    return FoundRun(info, 0, {}, "", now_ms * 1000)


def check_start(run_id: str | None, join: bool | None, fork_from: str | None, fork_step: Any) -> None:
    """Refuse to join or to fork what can't be meant.

    Raises:
        InvalidInputError: No run to join; a fork at no step, a step of no run, or a fork under an id of its own.
    """
    if join and run_id is None:
        raise InvalidInputError("`join` is True and no run is named to join: give `run_id`, or set MLWAREHOUSE_RUN_ID.")
    if fork_from is None:
        if fork_step is not None:
            raise InvalidInputError(f"`fork_step` is {fork_step!r} and `fork_from` wasn't given: name the run to fork.")
    elif run_id is not None:
        raise InvalidInputError(f"A fork is a new run; leave `run_id` (`{run_id}`) or `fork_from` out.")
    elif not hasattr(fork_step, "__index__"):
        raise InvalidInputError(
            f"Run `{fork_from}` is forked at a step: give `fork_step` as a whole number; got {fork_step!r}."
        )


def running_again(found: FoundRun) -> RunInfo:
    """A run's identity and state when it is taken up again."""
    return replace(found.info, status=RunStatus.RUNNING, end_time=None)


def process_started_at() -> int:
    """When this process began, microseconds since the epoch."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    up_s = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return int((time.time() - up_s + ticks / os.sysconf("SC_CLK_TCK")) * 1e6)


def _number(variables: tuple[str, ...]) -> int | None:
    for name in variables:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return None
