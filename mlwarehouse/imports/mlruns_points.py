"""Metric files of `mlruns` folders: many at once, by vector operations; those that aren't plain, line by line."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.mlflow_places import MAX_TIME_MS

SECONDS_BELOW = 100_000_000_000
"""Times below, in lines of two columns, are seconds: the first releases wrote those."""


MetricFile = tuple[str, str, str, bytes]
"""Run, metric, path and bytes."""


@dataclass
class Points:
    """Points of series, file by file.

    Attributes:
        runs: The run of each file.
        keys: The metric of each file.
        counts: Points of each file.
        steps: Step of each point, of all files in their order.
        values: Likewise.
        times: Likewise, in microseconds since the epoch.
    """

    runs: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    steps: list[npt.NDArray[np.int64]] = field(default_factory=list)
    values: list[npt.NDArray[np.float64]] = field(default_factory=list)
    times: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def table(self) -> pa.Table:
        """The points, with columns as in `POINT_COLUMNS`."""
        counts = np.array(self.counts, np.int64)
        order = {
            name: np.concatenate(parts) if parts else np.zeros(0, kind)
            for name, parts, kind in (
                ("step", self.steps, np.int64),
                ("value", self.values, np.float64),
                ("event_at", self.times, np.int64),
            )
        }
        return pa.table(
            {"run_id": _repeated(self.runs, counts), "key": _repeated(self.keys, counts)}
            | {name: pa.array(values) for name, values in order.items()}
        )


def read_points(files: list[MetricFile], oddities: list[Oddity]) -> Points:
    """The points of metric files.

    Args:
        files: The files.
        oddities: Gets lines that can't be read.
    """
    plain: list[MetricFile] = []
    others: list[MetricFile] = []
    for file in files:
        (plain if _is_plain(file[3]) else others).append(file)
    points = _all_at_once(plain)
    if points is None:
        points = Points()
        others = files
    for run_id, key, path, content in others:
        _line_by_line(run_id, key, path, content, points, oddities)
    return points


def _is_plain(content: bytes) -> bool:
    """Whether there are lines of three columns, as far as counting tells."""
    n_lines = content.count(b"\n")
    return (
        n_lines > 0
        and content.endswith(b"\n")
        and content.count(b" ") == 2 * n_lines
        and b"\n\n" not in content
        and not content.startswith(b"\n")
        and b"\r" not in content
    )


def _all_at_once(files: list[MetricFile]) -> Points | None:
    """The points of plain files; None where one isn't plain."""
    if not files:
        return Points()
    counts = [content.count(b"\n") for *_, content in files]
    try:
        found = csv.read_csv(
            io.BytesIO(b"".join(content for *_, content in files)),
            read_options=csv.ReadOptions(column_names=["time", "value", "step"], block_size=16 * 1024 * 1024),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types={"time": pa.int64(), "value": pa.float64(), "step": pa.int64()},
                null_values=[],
                strings_can_be_null=False,
            ),
        ).combine_chunks()
    except pa.ArrowInvalid:
        return None
    times = found.column("time").to_numpy()
    if found.num_rows != sum(counts) or times.min() < 0 or times.max() > MAX_TIME_MS:
        return None
    return Points(
        [run_id for run_id, *_ in files],
        [key for _, key, *_ in files],
        counts,
        [found.column("step").to_numpy()],
        [found.column("value").to_numpy()],
        [times * 1000],
    )


def _line_by_line(run_id: str, key: str, path: str, content: bytes, points: Points, oddities: list[Oddity]) -> None:
    steps, values, times = [], [], []
    n_short = 0
    for number, line in enumerate(content.replace(b"\r\n", b"\n").split(b"\n"), start=1):
        if not line.strip():
            continue
        words = line.split()
        try:
            at, value = int(words[0]), float(words[1])
            step = int(words[2]) if len(words) > 2 else 0
            if not -(2**63) <= step < 2**63:
                raise ValueError("a step beyond 64 bits")
        except (ValueError, IndexError):
            detail = f"line {number} isn't `time value step` and was left out: {line[:80]!r}"
            oddities.append(Oddity("metric line unreadable", path, detail))
            continue
        if len(words) == 2:
            n_short += 1
            at *= 1000 if 0 <= at < SECONDS_BELOW else 1
        if not 0 <= at <= MAX_TIME_MS:
            oddities.append(Oddity("time out of reach", path, f"line {number} has the time {at}; it is 0 here"))
            at = 0
        steps.append(step)
        values.append(value)
        times.append(at * 1000)
    if n_short:
        detail = f"{n_short:,} lines have a time, in seconds if small, and a value; their step is 0"
        oddities.append(Oddity("metric lines of two columns", path, detail))
    if not steps:
        oddities.append(Oddity("metric file without points", path, "nothing of it could be read"))
        return
    points.runs.append(run_id)
    points.keys.append(key)
    points.counts.append(len(steps))
    points.steps.append(np.array(steps, np.int64))
    points.values.append(np.array(values, np.float64))
    points.times.append(np.array(times, np.int64))


def _repeated(texts: list[str], counts: npt.NDArray[np.int64]) -> pa.Array:
    coded = pa.array(texts, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(pa.array(np.repeat(coded.indices.to_numpy(), counts)), coded.dictionary)
