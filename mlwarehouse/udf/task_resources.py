"""What Spark gives a task to compute with: cores, and perhaps a GPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import TaskContext


@dataclass(frozen=True)
class TaskResources:
    """What a task has.

    Attributes:
        threads: As many as it has cores (``spark.task.cpus``), for tasks run side by side.
        device: ``cuda:<number>`` where it was given a GPU (``spark.task.resource.gpu.amount``), else ``cpu``.
    """

    threads: int = 1
    device: str = "cpu"


def resources_of(task: TaskContext | None) -> TaskResources:
    """What Spark gave a task; the least where there is none."""
    if task is None:
        return TaskResources()
    gpu = task.resources().get("gpu")
    return TaskResources(max(task.cpus(), 1), f"cuda:{gpu.addresses[0]}" if gpu and gpu.addresses else "cpu")


def use_threads(threads: int) -> None:
    """Let PyTorch compute with so many threads, where this process has loaded it."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
