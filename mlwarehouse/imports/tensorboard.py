"""TensorBoard's log folders: a run is a folder with event files, as TensorBoard shows it."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlwarehouse.imports.base import (
    FILE_COLUMNS,
    INPUT_COLUMNS,
    PARAM_COLUMNS,
    POINT_COLUMNS,
    RUN_COLUMNS,
    Batch,
    Oddity,
    SourceExperiment,
    local_kind,
    rows,
)
from mlwarehouse.imports.collected import LAST_SECOND, microseconds, run_id_of
from mlwarehouse.imports.folders import files_below
from mlwarehouse.imports.tfevents import Events, read_events
from mlwarehouse.imports.tfrecord import frames
from mlwarehouse.registry.importing import SourceModel

BATCH_BYTES = 64 * 1024 * 1024
"""A batch ends with the run that brings it to so many bytes of event files."""

_STATUS = {1: "FINISHED", 2: "FAILED", 3: "RUNNING"}
"""What the end of a session of hyper-parameters says."""


@dataclass
class TensorBoard:
    """A log folder of TensorBoard's. See `Source`."""

    place: str
    kind: str = "tensorboard"
    source_id: str = ""
    unit: str = "files"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look which runs there are."""
        self._runs: dict[str, list[str]] = {}
        for path, entry in sorted(files_below(self.place, [])):
            if _is_events(entry.name):
                self._runs.setdefault(path.rpartition("/")[0], []).append(entry.path)
                self.total += 1

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        return [SourceExperiment("", None, Path(self.place).name)]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        batch = _Batch()
        for name, paths in self._runs.items():
            events = _together([e for path in paths if (e := self._read(path, batch)) is not None])
            self._add(name, events, batch)
            batch.n_done += len(paths)
            if batch.n_bytes > BATCH_BYTES:
                yield batch.made()
                batch = _Batch()
        yield batch.made()

    def _read(self, path: str, batch: _Batch) -> Events | None:
        try:
            with Path(path).open("rb") as file:
                size = file.seek(0, 2)
                batch.n_bytes += size
                if not size:
                    self.oddities.append(Oddity("empty file", path, "it has no event"))
                    return None
                content = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
        except OSError as error:
            self.oddities.append(Oddity("file unreadable", path, str(error)))
            return None
        found = frames(content)
        events = read_events(content, found, batch.plugins(path.rpartition("/")[0]))
        if found.trouble is not None:
            detail = f"{found.trouble}; nothing was read from byte {found.end:,} of {size:,} on"
            self.oddities.append(Oddity("file without an end", path, detail))
        for place in (*found.damaged, *events.damaged):
            self.oddities.append(Oddity("event damaged", path, f"the one at byte {place:,} was left out"))
        for kind, n in events.others.items():
            self.oddities.append(Oddity(f"{kind} left out", path, f"{n:,} values that are neither scalar nor text"))
        return events

    def _add(self, name: str, events: Events, batch: _Batch) -> None:
        run_id = run_id_of(self.source_id, name)
        if events.first_time is None:
            self.oddities.append(Oddity("run without an event", name or ".", "it was left out"))
            return
        start = events.session.get("started", events.first_time)
        end = max(events.session.get("ended", 0.0), events.last_time or 0.0)
        row = {
            "run_id": run_id,
            "experiment": "",
            "name": name or Path(self.place).name,
            "user": None,
            "status": _STATUS.get(int(events.session.get("status", 0)), "FINISHED"),
            "started_at": microseconds(min(start, events.first_time)),
            "ended_at": microseconds(end),
            "deleted_at": None,
            "parent_run_id": None,
        }
        for column, values in batch.runs.items():
            values.append(row[column])
        counts = Counter(tag for tag, _ in events.texts)
        seen: Counter[str] = Counter()
        for tag, words in events.texts:
            seen[tag] += 1
            # The last one has the tag's name; those before it are numbered.
            key = tag if seen[tag] == counts[tag] else f"{tag} ({seen[tag]})"
            _append(batch.tags, run_id, key, words)
        for key, value in events.hparams.items():
            _append(batch.params, run_id, key, value)
        batch.points.append(_points(run_id, events))


class _Batch:
    """A batch as it grows."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Any]] = {name: [] for name in RUN_COLUMNS}
        self.params: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self.tags: dict[str, list[Any]] = {name: [] for name in PARAM_COLUMNS}
        self.points: list[pa.Table] = [rows(POINT_COLUMNS)]
        self.n_done = self.n_bytes = 0
        self._plugins: tuple[str, dict[str, str]] = ("", {})

    def plugins(self, folder: str) -> dict[str, str]:
        """What is known of the tags of a folder."""
        if self._plugins[0] != folder:
            self._plugins = (folder, {})
        return self._plugins[1]

    def made(self) -> Batch:
        """The batch."""
        return Batch(
            runs=rows(RUN_COLUMNS, self.runs),
            params=rows(PARAM_COLUMNS, self.params),
            points=pa.concat_tables(self.points),
            tags=rows(PARAM_COLUMNS, self.tags),
            inputs=rows(INPUT_COLUMNS),
            files=rows(FILE_COLUMNS),
            n_done=self.n_done,
        )


def _together(found: Sequence[Events]) -> Events:
    """The events of a run's files, one after the other."""
    whole = Events()
    for events in found:
        codes = np.array([whole.names.setdefault(name, len(whole.names)) for name in events.names], np.int64)
        # Within a file in its order.
        order = np.argsort(np.concatenate(events.order), kind="stable") if events.order else np.zeros(0, np.int64)
        for into, parts in (
            (whole.steps, events.steps),
            (whole.values, events.values),
            (whole.times, events.times),
        ):
            into += [np.concatenate(parts)[order]] if parts else []
        whole.tags += [codes[np.concatenate(events.tags)[order]]] if events.tags else []
        whole.texts += events.texts
        whole.hparams |= events.hparams
        whole.session |= events.session
        if events.first_time is not None and events.last_time is not None:
            whole.saw(events.first_time, events.last_time)
    if len(found) > 1 and whole.times:
        # Files may grow side by side: by time, what is new comes last.
        order = np.argsort(np.concatenate(whole.times), kind="stable")
        for column in (whole.tags, whole.steps, whole.values, whole.times):
            column[:] = [np.concatenate(column)[order]]
    return whole


def _points(run_id: str, events: Events) -> pa.Table:
    if not events.steps:
        return rows(POINT_COLUMNS)
    tags = np.concatenate(events.tags).astype(np.int32)
    times = np.concatenate(events.times)
    keys = pa.DictionaryArray.from_arrays(pa.array(tags), pa.array(list(events.names), pa.string()))
    return pa.table(
        {
            "run_id": pa.repeat(run_id, len(tags)),
            "key": keys.cast(pa.string()),
            "step": np.concatenate(events.steps),
            "value": np.concatenate(events.values),
            "event_at": (np.clip(np.nan_to_num(times), 0, LAST_SECOND) * 1e6).astype(np.int64),
        }
    )


def _append(columns: dict[str, list[Any]], run_id: str, key: str, value: str) -> None:
    for column, one in zip(columns.values(), (run_id, key, value), strict=True):
        column.append(one)


def _is_events(name: str) -> bool:
    return ".tfevents." in name or name.endswith(".tfevents")


def _claims(place: str) -> bool:
    path = Path(place)
    return path.is_dir() and any(_is_events(entry.name) for _, entry in files_below(str(path), []))


TENSORBOARD = local_kind(
    "tensorboard",
    "a log folder of TensorBoard's",
    needs="a folder with event files of TensorBoard's below it.",
    claims=_claims,
    of=TensorBoard,
)
