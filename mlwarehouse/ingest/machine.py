"""How busy the machine and this process are, from Linux's ``/proc``: a few milliseconds a look, and no library."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Machine:
    """Looks at the machine; what counts up is told since the look before, or since the first."""

    def __init__(self) -> None:
        """Take a first look."""
        self._cpu = _cpu_times()
        self._at = time.monotonic()
        self._tree = _tree(os.getpid())
        self._network = _network_bytes()

    def metrics(self) -> dict[str, float]:
        """What is so now.

        Returns:
            Under MLflow's names, without its prefix: ``cpu_utilization_percentage`` (of all cores),
            ``system_memory_usage_megabytes`` and ``_percentage``, ``disk_usage_megabytes``, ``_percentage`` and
            ``disk_available_megabytes`` (of ``/``), ``network_receive_megabytes`` and ``network_transmit_megabytes``
            (since the first look, loopback aside). And of this process with its children:
            ``process_cpu_percentage`` (100 is one core) and ``process_memory_megabytes``. Megabytes are 10^6 bytes.
        """
        busy_before, all_before = self._cpu
        busy, all_ = self._cpu = _cpu_times()
        now = time.monotonic()
        elapsed, self._at = now - self._at, now
        before, self._tree = self._tree, _tree(os.getpid())
        # A child that has ended since took its time with it, and a new one brings all of its own.
        ticks = sum(t - before.get(pid, (0, 0))[0] for pid, (t, _) in self._tree.items())
        total, available = _memory_bytes()
        disk = os.statvfs("/")
        disk_used, disk_free = (disk.f_blocks - disk.f_bfree) * disk.f_frsize, disk.f_bavail * disk.f_frsize
        received, sent = (n - first for n, first in zip(_network_bytes(), self._network, strict=True))
        return {
            "cpu_utilization_percentage": _percent(busy - busy_before, all_ - all_before),
            "process_cpu_percentage": _percent(ticks / _TICKS, elapsed),
            "process_memory_megabytes": sum(pages for _, pages in self._tree.values()) * _PAGE / 1e6,
            "system_memory_usage_megabytes": (total - available) / 1e6,
            "system_memory_usage_percentage": _percent(total - available, total),
            "disk_usage_megabytes": disk_used / 1e6,
            "disk_usage_percentage": _percent(disk_used, disk_used + disk_free),
            "disk_available_megabytes": disk_free / 1e6,
            "network_receive_megabytes": received / 1e6,
            "network_transmit_megabytes": sent / 1e6,
        }


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole > 0 else 0.0


def _cpu_times() -> tuple[int, int]:
    """Ticks in which the cores were busy, and all."""
    times = [int(t) for t in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    # user, nice, system, idle, iowait, irq, softirq, steal
    return sum(times) - times[3] - times[4], sum(times)


def _memory_bytes() -> tuple[int, int]:
    """All memory, and what programs could still have."""
    found = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"], found["MemAvailable"]


def _network_bytes() -> tuple[int, int]:
    """Bytes received and sent."""
    received = sent = 0
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]:
        name, _, rest = line.partition(":")
        if name.strip() != "lo":
            numbers = rest.split()
            received, sent = received + int(numbers[0]), sent + int(numbers[8])
    return received, sent


def _tree(root: int) -> dict[int, tuple[int, int]]:
    """CPU ticks and pages in memory of a process and all that descend from it, by process id."""
    found = {pid: (parent, ticks, pages) for pid, parent, ticks, pages in _processes()}
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in found.items():
        children.setdefault(parent, []).append(pid)
    tree: dict[int, tuple[int, int]] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in found and pid not in tree:
            tree[pid] = found[pid][1:]
            waiting += children.get(pid, [])
    return tree


def _processes() -> Iterator[tuple[int, int, int, int]]:
    """Process id, parent, CPU ticks and pages in memory of each process."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            said = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # The program's name may hold anything, so what follows its last bracket counts.
        fields = said.rpartition(")")[2].split()
        yield int(entry.name), int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21])
