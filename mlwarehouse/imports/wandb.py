"""W&B's folders: the `.wandb` file of each run, as the client writes it, online and offline.

The numbers of fields are those of W&B's ``wandb_internal.proto``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlwarehouse.imports.base import Batch, Oddity, SourceExperiment, local_kind
from mlwarehouse.imports.collected import Collected, microseconds
from mlwarehouse.imports.folders import add_files, files_below
from mlwarehouse.imports.protobuf import Field, ProtobufError, fields, text
from mlwarehouse.imports.wandb_log import LogError, records
from mlwarehouse.registry.importing import SourceModel

_HISTORY, _SUMMARY, _CONFIG, _STATS, _RUN, _EXIT = 2, 3, 5, 7, 17, 18
_TAGS = {6: "wandb.group", 7: "wandb.job_type", 12: "wandb.sweep_id", 13: "wandb.host"}
_NOTES, _TAG_LIST, _START, _GIT = 9, 10, 17, 21
NO_PROJECT = "uncategorized"
"""The project of runs that name none, in W&B's own words."""


BATCH_POINTS = 1_000_000
"""A batch ends with the run that brings it to more points."""

HEAD_BYTES = 4 * 1024 * 1024
"""The record that says what a run is stands near the beginning."""


@dataclass
class _Run:
    """A run as its files tell it."""

    run_id: str = ""
    name: str | None = None
    user: str | None = None
    config: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    points: list[tuple[str, int, float, float | None]] = field(default_factory=list)
    start: float | None = None
    last: float | None = None
    runtime: float | None = None
    exit_code: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


@dataclass
class Wandb:
    """A folder of W&B's. See `Source`."""

    place: str
    kind: str = "wandb"
    source_id: str = ""
    unit: str = "files"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look which runs there are: a run may have several files, all of one name."""
        self._groups: dict[str, list[str]] = {}
        paths = [entry.path for _, entry in files_below(self.place, []) if entry.name.endswith(".wandb")]
        # The copy or link of the last run is looked at behind what it is a copy of.
        for path in sorted(paths, key=lambda p: ("latest-run" in p, Path(p).parent.name)):
            self._groups.setdefault(Path(path).name, []).append(path)
        self.total = len(paths)
        self._projects: dict[str, str] = {}
        self._runs: dict[str, _Run] = {}
        self._seen: set[str] = set()

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        for name, paths in self._groups.items():
            self._projects[name] = next(filter(None, map(_project_of, paths)), NO_PROJECT)
        return [SourceExperiment(p, None, p) for p in sorted(set(self._projects.values()))]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        batch, n_done = Collected(), 0
        for name, paths in self._groups.items():
            for run in self._load(paths):
                self._add(run, self._projects[name], batch)
            n_done += len(paths)
            if batch.n_points > BATCH_POINTS:
                yield batch.batch(n_done)
                batch, n_done = Collected(), 0
        yield batch.batch(n_done)

    def _load(self, paths: Sequence[str]) -> Collection[_Run]:
        """The run that files of one name are of; where they are copies gone wrong, several."""
        self._runs = {}
        digests: dict[bytes, str] = {}
        for path in paths:
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                self.oddities.append(Oddity("file unreadable", path, str(error)))
                continue
            digest = hashlib.sha256(content).digest()
            if not content:
                self.oddities.append(Oddity("empty file", path, "it has no record"))
            elif digest in digests:
                detail = f"it is the same as {digests[digest]}, and was left out"
                self.oddities.append(Oddity("file twice", path, detail))
            else:
                digests[digest] = path
                self._read(path, content)
        runs = [run for run in self._runs.values() if run.run_id not in self._seen]
        for run in self._runs.values():
            if run.run_id in self._seen:
                detail = f"run {run.run_id} came with a file of another name; this one was left out"
                self.oddities.append(Oddity("run twice", run.places[0], detail))
            self._seen.add(run.run_id)
        return runs

    def _add(self, run: _Run, project: str, batch: Collected) -> None:
        start = run.start if run.start is not None else (run.last or 0.0)
        end = None if run.exit_code is None else max(run.last or start, start + (run.runtime or 0.0))
        status = "RUNNING" if run.exit_code is None else "FAILED" if run.exit_code else "FINISHED"
        if run.exit_code is None:
            detail = "its file doesn't say how it ended; it is RUNNING here"
            self.oddities.append(Oddity("run without an end", run.places[-1], detail))
        batch.run(
            run.run_id,
            project,
            name=run.name,
            user=run.user,
            status=status,
            started_at=microseconds(start),
            ended_at=None if end is None else microseconds(end),
        )
        logged = {key for key, *_ in run.points}
        tags = dict(run.tags)
        tags |= {f"wandb.summary.{k}": v for k, v in run.summary.items() if k not in logged and k[:1] != "_"}
        if run.labels:
            tags["wandb.tags"] = json.dumps(run.labels)
        batch.params(run.run_id, run.config)
        batch.tags(run.run_id, tags)
        for key, step, number, at in run.points:
            batch.point(run.run_id, key, step, number, microseconds(start if at is None else at))
        # Of a run with several folders, a file of the last one.
        for n, folder in enumerate(run.folders):
            later = {path for other in run.folders[n + 1 :] for path, _ in files_below(other, [])}
            add_files(batch.files, folder, run.run_id, self.oddities, is_wanted=_outside(later))
        for what, n in run.left_out.items():
            self.oddities.append(Oddity(f"{what} left out", run.places[0], f"{n:,} of them"))

    def _read(self, path: str, content: bytes) -> None:
        # Records before the run's own are few; they wait in a run of their own.
        run = _Run()
        try:
            for record in records(content):
                try:
                    run = self._take(record, run)
                except (ProtobufError, ValueError) as error:
                    self.oddities.append(Oddity("record unreadable", path, f"{error}; it was left out"))
        except LogError as error:
            self.oddities.append(Oddity("file without an end", path, str(error)))
        if not run.run_id:
            self.oddities.append(Oddity("file without a run", path, "nothing of it can be told to be a run's"))
            return
        run.places.append(path)
        run.folders.append(str(Path(path).parent / "files"))

    def _take(self, record: bytes, run: _Run) -> _Run:
        for part in fields(record):
            if part.number == _RUN:
                run = self._take_run(record, part, run)
            elif part.number == _HISTORY:
                _take_history(record, part, run)
            elif part.number == _CONFIG:
                _take_config(record, part, run)
            elif part.number == _SUMMARY:
                for key, value, _ in _items(record, part, 1):
                    if value[:1] in ("{", "["):
                        run.left_out["summary values that aren't scalars"] += 1
                    else:
                        run.summary[key] = value
            elif part.number == _STATS:
                run.left_out["system metrics"] += sum(each.number == 3 for each in fields(record, part.start, part.end))
            elif part.number == _EXIT:
                run.exit_code, run.runtime = 0, None
                for each in fields(record, part.start, part.end):
                    if each.number == 1:
                        run.exit_code = each.value
                    elif each.number == 2:
                        run.runtime = float(each.value)
        return run

    def _take_run(self, record: bytes, part: Field, run: _Run) -> _Run:
        found = {each.number: each for each in fields(record, part.start, part.end)}
        run_id = text(record, found[1]) if 1 in found else ""
        if run_id and run.run_id != run_id:
            # Resumed, it has another file; what it is comes from the last one.
            run = self._runs.setdefault(run_id, run)
            run.run_id, run.exit_code = run_id, None
        for each in fields(record, part.start, part.end):
            if each.number == 2:
                run.user = text(record, each) or run.user
            elif each.number == 4:
                _take_config(record, each, run)
            elif each.number == 8:
                run.name = text(record, each) or run.name
            elif each.number == _NOTES:
                run.tags["mlflow.note.content"] = text(record, each)
            elif each.number == _TAG_LIST:
                if (label := text(record, each)) not in run.labels:
                    run.labels.append(label)
            elif each.number == _START:
                seconds = {p.number: p.value for p in fields(record, each.start, each.end)}
                at = seconds.get(1, 0) + seconds.get(2, 0) / 1e9
                run.start = at if run.start is None else min(run.start, at)
            elif each.number == _GIT:
                for p in fields(record, each.start, each.end):
                    key = {1: "mlflow.source.git.repoURL", 2: "mlflow.source.git.commit"}.get(p.number)
                    if key is not None:
                        run.tags[key] = text(record, p)
            elif each.number in _TAGS and each.kind == 2:
                run.tags[_TAGS[each.number]] = text(record, each)
        return run


def _outside(taken: set[str]) -> Callable[[str], bool]:
    return lambda path: path not in taken


def _project_of(path: str) -> str | None:
    """The project that a file's run is of; None where it can't be told."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
        for record in records(head):
            for part in fields(record):
                if part.number == _RUN:
                    found = (text(record, p) for p in fields(record, part.start, part.end) if p.number == 3)
                    return next(found, None) or None
    except (OSError, LogError, ProtobufError):
        # It is told where the file is read.
        return None
    return None


def _items(record: bytes, part: Field, number: int) -> Iterator[tuple[str, str, bool]]:
    """Keys with their values as JSON, and whether a key is of the top."""
    for item in fields(record, part.start, part.end):
        if item.number == number and item.kind == 2:
            key, nested, value = "", [], ""
            for each in fields(record, item.start, item.end):
                if each.number == 1:
                    key = text(record, each)
                elif each.number == 2:
                    nested.append(text(record, each))
                elif each.number == 16:
                    value = text(record, each)
            yield ".".join([key, *nested] if key else nested), value, len(nested) <= (0 if key else 1)


def _take_history(record: bytes, part: Field, run: _Run) -> None:
    step, at, found = None, None, []
    for key, value, is_top in _items(record, part, 1):
        number = _number(value)
        if key == "_step" and number is not None:
            step = int(number)
        elif key == "_timestamp" and number is not None:
            at = number
        elif key.startswith("_"):
            continue
        elif number is not None and is_top:
            found.append((key, number))
        else:
            run.left_out["history values that aren't numbers"] += 1
    for each in fields(record, part.start, part.end):
        if each.number == 2 and step is None:
            step = next((p.value for p in fields(record, each.start, each.end) if p.number == 1), 0)
    run.last = at if at is not None else run.last
    run.points += [(key, step or 0, number, at) for key, number in found]


def _number(value: str) -> float | None:
    found = json.loads(value) if value else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _take_config(record: bytes, part: Field, run: _Run) -> None:
    for key, value, _ in _items(record, part, 1):
        if key != "_wandb" and not key.startswith("_wandb."):
            decoded = json.loads(value) if value else None
            run.config[key] = decoded if isinstance(decoded, str) else value
    for each in fields(record, part.start, part.end):
        if each.number == 2:
            run.config.pop(
                next((text(record, p) for p in fields(record, each.start, each.end) if p.number == 1), ""), None
            )


def _claims(place: str) -> bool:
    return Path(place).is_dir() and any(e.name.endswith(".wandb") for _, e in files_below(place, []))


WANDB = local_kind(
    "wandb", "a folder of W&B's runs, `wandb`", needs="a folder with `.wandb` files below it.", claims=_claims, of=Wandb
)
