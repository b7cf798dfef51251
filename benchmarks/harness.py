"""How benchmarks run: each side in a fresh child process of one family, alternating, with its answer and its memory.

These machines are noisy: the ratio of two sides measured in turns says more than either figure; repeat, and quote the
median.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 1800


def points(n: int) -> list[float]:
    """The values that each side logs, at steps 0 to ``n - 1``."""
    return [(i * 7919 % 10007) / 10007 for i in range(n)]


def answer_of(count: int, total: float, last_step: int) -> tuple[int, float, int]:
    """The answer that is compared: how many points, their sum, and the last step."""
    return count, round(total, 3), last_step


def _expected(n: int) -> tuple[int, float, int]:
    return answer_of(n, sum(points(n)), n - 1)


@dataclass(frozen=True)
class Measured:
    """What one side of a benchmark did, once.

    Attributes:
        value: The figure, in the benchmark's unit.
        answer: What was read back; both sides must agree.
        peak_mb: Peak memory of its process.
        extra: Further figures to print.
    """

    value: float
    answer: Any
    peak_mb: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of a benchmark.

    Attributes:
        name: What is measured.
        work: Does it in a folder of its own, at a size, and reads the answer back.
        size: How much work; slower sides do less, and the figure is per unit.
    """

    name: str
    work: Callable[[Path, int], Measured]
    size: int


@dataclass(frozen=True)
class Bar:
    """What is wanted of us.

    Attributes:
        text: In words.
        is_met: Whether our figure, and the best peer's, meet it.
    """

    text: str
    is_met: Callable[[float, float], bool]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: Its name on the command line.
        what: The work, in a line.
        unit: Of the figures.
        is_better_low: Whether less is better.
        us: Our side.
        others: Peers, and the physical limit.
        bar: What is wanted of us.
        expected: The answer that each side must give, from the size.
    """

    name: str
    what: str
    unit: str
    is_better_low: bool
    us: Side
    others: tuple[Side, ...]
    bar: Bar
    expected: Callable[[int], Any] = _expected


def run_benchmark(benchmark: Benchmark, *, repeats: int, scale: float) -> list[str]:
    """Run all sides in turns, check that their answers agree, and print the medians.

    Returns:
        Rows of a Markdown table.

    Raises:
        SystemExit: An answer is wrong: a benchmark that doesn't check measures nothing.
    """
    sides = (benchmark.us, *benchmark.others)
    found: dict[str, list[Measured]] = {s.name: [] for s in sides}
    missing: dict[str, str] = {}
    for turn in range(repeats):
        for side in sides:
            if side.name in missing:
                continue
            size = max(100, int(side.size * scale))
            print(f"  {benchmark.name}: {side.name}, turn {turn + 1}/{repeats}", file=sys.stderr, flush=True)
            outcome = _in_child(side, size)
            if isinstance(outcome, str):
                missing[side.name] = outcome
                print(f"    not measured: {outcome}", file=sys.stderr, flush=True)
                continue
            if outcome.answer != benchmark.expected(size):
                raise SystemExit(
                    f"{benchmark.name}: {side.name} read back {outcome.answer}, and {benchmark.expected(size)} was "
                    "logged."
                )
            found[side.name].append(outcome)
    if not found[benchmark.us.name]:
        raise SystemExit(f"{benchmark.name}: our own side failed: {missing[benchmark.us.name]}")
    ours = statistics.median(m.value for m in found[benchmark.us.name])
    rows = []
    for side in sides:
        measured = found[side.name]
        if not measured:
            rows.append(f"| {benchmark.what} | {side.name} | not measured: {missing[side.name]} | | | |")
            continue
        value = statistics.median(m.value for m in measured)
        peak = statistics.median(m.peak_mb for m in measured)
        ratio = value / ours if benchmark.is_better_low else ours / value
        extra = ", ".join(f"{k} {_short(statistics.median(m.extra[k] for m in measured))}" for k in measured[0].extra)
        verdict = ""
        if side is benchmark.us:
            best = _best_peer(benchmark, found)
            verdict = f"{benchmark.bar.text}: {'met' if benchmark.bar.is_met(value, best) else 'missed'}"
        shown = f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
        rows.append(
            f"| {benchmark.what} | {side.name} | {shown} {benchmark.unit}{f' ({extra})' if extra else ''} "
            f"| {'1' if side is benchmark.us else f'{ratio:,.1f}'} | {peak:,.0f} MB | {verdict} |"
        )
    return rows


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _best_peer(benchmark: Benchmark, found: dict[str, list[Measured]]) -> float:
    values = [statistics.median(m.value for m in found[s.name]) for s in benchmark.others if found[s.name]]
    if not values:
        return float("nan")
    return min(values) if benchmark.is_better_low else max(values)


def _in_child(side: Side, size: int) -> Measured | str:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(side.work, size, sender))
    child.start()
    sender.close()
    deadline = time.monotonic() + TIMEOUT_S
    outcome: Measured | str = f"took longer than {TIMEOUT_S} s"
    while time.monotonic() < deadline:
        if receiver.poll(0.2):
            try:
                outcome = receiver.recv()
            except EOFError:
                outcome = "its process died"
            break
        if not child.is_alive() and not receiver.poll(0.2):
            outcome = f"its process ended with status {child.exitcode}"
            break
    child.join(10)
    if child.is_alive():
        child.kill()
    return outcome


def _child(work: Callable[[Path, int], Measured], size: int, sender: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="mlwarehouse-bench-", ignore_cleanup_errors=True) as place:
        try:
            measured = work(Path(place), size)
        except ImportError as error:
            sender.send(f"{error.name or error} isn't installed")
            return
        except Exception as error:
            traceback.print_exc()
            sender.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            return
    sender.send(Measured(measured.value, measured.answer, _peak_mb(), measured.extra))


def _peak_mb() -> float:
    """The most memory that this process has had; `getrusage` begins with what its parent had when it was started."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024
