"""The GPUs that this process may use: their models, and how busy they are.

NVIDIA's management library is asked by way of ``nvidia-ml-py`` where that is installed, else by ``nvidia-smi``, else
nothing is known. A host's other GPUs are none of a run's business: only those that CUDA_VISIBLE_DEVICES names count,
numbered as the process sees them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 5.0

_FIELDS = "name,memory.used,memory.total,utilization.gpu,power.draw,enforced.power.limit"


@dataclass(frozen=True)
class GpuState:
    """One GPU now; what its driver doesn't tell is None.

    Attributes:
        model: Its name.
        memory_used_mb: Memory in use, in megabytes (10^6 bytes).
        memory_total_mb: All its memory.
        busy_percent: Share of the time in which it computed.
        power_w: Watts it draws.
        power_limit_w: Watts it may draw.
    """

    model: str
    memory_used_mb: float | None
    memory_total_mb: float | None
    busy_percent: float | None
    power_w: float | None
    power_limit_w: float | None


class Gpus:
    """The visible GPUs."""

    def __init__(self) -> None:
        """Find out how to ask; nothing is asked yet."""
        self._visible = visible_gpus()
        self._nvml: Any = None
        self._program: str | None = None
        if self._visible == []:
            return
        with contextlib.suppress(Exception):
            # Anything may go wrong in a driver's library, and none of it matters to a training.
            nvml: Any = importlib.import_module("pynvml")
            nvml.nvmlInit()
            self._nvml = nvml
        if self._nvml is None:
            self._program = shutil.which("nvidia-smi")

    def states(self) -> list[GpuState]:
        """The visible GPUs as they are now, in the order in which the process sees them; empty without any."""
        try:
            if self._nvml is not None:
                return [self._asked(handle) for handle in self._handles()]
            return self._said() if self._program else []
        except Exception:
            return []

    def models(self) -> list[str]:
        """The names of the visible GPUs."""
        return [state.model for state in self.states()]

    def metrics(self) -> dict[str, float]:
        """The states as metrics, under MLflow's names without its prefix."""
        found: dict[str, float] = {}
        for number, gpu in enumerate(self.states()):
            if gpu.memory_used_mb is not None:
                found[f"gpu_{number}_memory_usage_megabytes"] = gpu.memory_used_mb
                if gpu.memory_total_mb:
                    found[f"gpu_{number}_memory_usage_percentage"] = 100 * gpu.memory_used_mb / gpu.memory_total_mb
            if gpu.busy_percent is not None:
                found[f"gpu_{number}_utilization_percentage"] = gpu.busy_percent
            if gpu.power_w is not None:
                found[f"gpu_{number}_power_usage_watts"] = gpu.power_w
                if gpu.power_limit_w:
                    found[f"gpu_{number}_power_usage_percentage"] = 100 * gpu.power_w / gpu.power_limit_w
        return found

    def _handles(self) -> list[Any]:
        nvml = self._nvml
        if self._visible is None:
            return [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        by_index, by_uuid = nvml.nvmlDeviceGetHandleByIndex, nvml.nvmlDeviceGetHandleByUUID
        return [by_index(int(name)) if name.isdecimal() else by_uuid(name) for name in self._visible]

    def _asked(self, handle: Any) -> GpuState:
        nvml = self._nvml

        def ask(function: str, *arguments: Any) -> Any:
            try:
                return getattr(nvml, function)(handle, *arguments)
            except nvml.NVMLError:
                return None

        name = ask("nvmlDeviceGetName")
        memory, busy = ask("nvmlDeviceGetMemoryInfo"), ask("nvmlDeviceGetUtilizationRates")
        power, limit = ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetEnforcedPowerLimit")
        return GpuState(
            model=name.decode() if isinstance(name, bytes) else str(name),
            memory_used_mb=None if memory is None else memory.used / 1e6,
            memory_total_mb=None if memory is None else memory.total / 1e6,
            busy_percent=None if busy is None else float(busy.gpu),
            power_w=None if power is None else power / 1000,
            power_limit_w=None if limit is None else limit / 1000,
        )

    def _said(self) -> list[GpuState]:
        assert self._program is not None
        chosen = [] if self._visible is None else ["-i", ",".join(self._visible)]
        done = subprocess.run(
            [self._program, *chosen, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        states = []
        for line in done.stdout.splitlines():
            name, *numbers = (part.strip() for part in line.rsplit(",", 5))
            used, total, busy, power, limit = (_number(n) for n in numbers)
            states.append(GpuState(name, _megabytes(used), _megabytes(total), busy, power, limit))
        return states


def visible_gpus() -> list[str] | None:
    """The GPUs that CUDA_VISIBLE_DEVICES names, by number or id; None when it doesn't say, so that all are visible."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return None
    names: list[str] = []
    for name in (part.strip() for part in said.split(",")):
        # As CUDA has it: the first that can't be meant hides all that follow.
        if not name or name.startswith("-") or name == "NoDevFiles":
            break
        names.append(name)
    return names


def _megabytes(mebibytes: float | None) -> float | None:
    return None if mebibytes is None else mebibytes * 2**20 / 1e6


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
