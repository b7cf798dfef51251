"""A run while it is being logged to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from mlwarehouse.artifacts import Stored, clean_path
from mlwarehouse.entities import RunInfo, RunStatus
from mlwarehouse.errors import InvalidInputError, NotFoundError, ParamConflictError, RunFinishedError
from mlwarehouse.ingest.batches import checked_pairs, checked_points
from mlwarehouse.ingest.datasets import describe_dataset
from mlwarehouse.ingest.joining import process_label
from mlwarehouse.ingest.shelf import Shelf
from mlwarehouse.ingest.spool_writer import SpoolWriter
from mlwarehouse.ingest.values import context_text, param_number, param_text

if TYPE_CHECKING:
    from typing import Self

HEARTBEATS_TO_MISS = 2
"""A run is lost when this many heartbeats in a row didn't come."""


class Ended(Protocol):
    """Told when a run ends."""

    def __call__(self, run: ActiveRun) -> None:
        """The run has ended and its records are in the spool."""
        ...


class ActiveRun:
    """A run that this process logs to. Get one from `start_run`; it is a context manager that ends the run.

    Its methods return when the operating system has the record, so killing the process loses nothing; they never wait
    for a disk or a commit. Threads may share it, and a forked child may go on logging to it.

    Attributes:
        info: Identity and state, in MLflow's shape.
        attempt: Counts the starts of the run, from 0.
        is_joined: Whether another process has started the attempt; that one ends it, and this one only leaves it.
        is_ended: Whether it has ended, or this process has left it; then it takes nothing more here.
    """

    def __init__(
        self,
        *,
        info: RunInfo,
        attempt: int,
        writer: SpoolWriter,
        shelf: Shelf,
        actor: str,
        params: Mapping[str, str],
        on_end: Ended,
        is_joined: bool = False,
    ) -> None:
        """Made by `Logger.start_run`."""
        self.info = info
        self.attempt = attempt
        self.is_joined = is_joined
        self._pid = os.getpid()
        self._before_end: list[Callable[[], None]] = []
        self._tagged: set[str] = set()
        self._writer = writer
        self._shelf = shelf
        self._actor = actor
        self._params = dict(params)
        self._on_end = on_end
        self.is_ended = False
        self._run = (info.run_id, attempt)
        self._series = writer.series_map()

    @property
    def run_id(self) -> str:
        """Short form of ``info.run_id``."""
        return self.info.run_id

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a fork of the one that started or joined the run."""
        return self._pid != os.getpid()

    @property
    def params(self) -> Mapping[str, str]:
        """The params that this process knows of: those it has set, and those that were set when it took up the run."""
        return self._params

    def log_metric(
        self,
        key: str,
        value: float,
        step: int | None = None,
        timestamp: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Log one metric point.

        Args:
            key: The metric's name.
            value: A number; NaN and the infinities are kept.
            step: The x of the point; None means 0.
            timestamp: Milliseconds since the epoch; None means now.
            context: What sets this series apart from others of the same name, such as ``{"subset": "val"}``.

        Raises:
            InvalidInputError: The value isn't a number, or the step isn't a whole number.
            RunFinishedError: The run has ended.
        """
        if self.is_ended:
            raise self._finished("metric", key)
        self._writer.put_point(
            self._series,
            key if context is None else (key, context_text(context)),
            self._run,
            0 if step is None else step,
            value,
            time_ns() // 1000 if timestamp is None else timestamp * 1000,
        )

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int | None = None,
        timestamp: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Log points of several metrics at one step and time; see `log_metric`.

        Raises:
            InvalidInputError: A value isn't a number; the metrics before it are kept.
            RunFinishedError: The run has ended.
        """
        if self.is_ended:
            raise self._finished("metrics", ", ".join(metrics))
        values: Iterable[tuple[Any, float]] = metrics.items()
        if context is not None:
            text = context_text(context)
            values = [((key, text), value) for key, value in values]
        at = time_ns() // 1000 if timestamp is None else timestamp * 1000
        self._writer.put_points(self._series, values, self._run, 0 if step is None else step, at)

    def log_param(self, key: str, value: Any) -> None:
        """Set one param; see `log_params`."""
        self.log_params({key: value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Set params: all of them, or none when one is refused.

        Args:
            params: Values by name; a value is kept as its text, of any length, and as a number where it is one.

        Raises:
            ParamConflictError: A param is set already with another value. The same value again is fine.
            RunFinishedError: The run has ended.
        """
        fresh = self._fresh_params(params.items())
        if self.is_ended:
            raise self._finished("params", ", ".join(params))
        self._put_params(fresh)

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag; the last value set wins."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; values are kept as text."""
        rows = [[self._name("tag", k), str(v)] for k, v in tags.items()]
        if self.is_ended:
            raise self._finished("tags", ", ".join(tags))
        if rows:
            self._tagged.update(tags)
            self._put("tag_events", {"actor": self._actor}, ["key", "value"], rows)

    def set_default_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags that nobody has set here yet: what was found out, after what was said.

        Raises:
            RunFinishedError: The run has ended.
        """
        self.set_tags({key: value for key, value in tags.items() if key not in self._tagged})

    def delete_tag(self, key: str) -> None:
        """Remove a tag; its history stays."""
        if self.is_ended:
            raise self._finished("tag", key)
        self._put("tag_events", {"actor": self._actor}, ["key", "value"], [[self._name("tag", key), None]])

    def log_batch(self, metrics: Iterable[Any] = (), params: Iterable[Any] = (), tags: Iterable[Any] = ()) -> None:
        """Log metric points, params and tags; all are checked before any is logged.

        Args:
            metrics: `Metric`, or MLflow's: what has ``key``, ``value``, ``timestamp`` (milliseconds) and ``step``.
            params: What has ``key`` and ``value``, as MLflow's ``Param``; or a dict.
            tags: What has ``key`` and ``value``, as MLflow's ``RunTag``; or a dict.

        Raises:
            InvalidInputError: Something isn't a point, param or tag; nothing was logged.
            ParamConflictError: A param is set already, or twice here, with another value; nothing was logged.
            RunFinishedError: The run has ended.
        """
        if self.is_ended:
            raise self._finished("call", "log_batch")
        points = checked_points(metrics)
        texts = self._fresh_params(checked_pairs("param", params))
        values = {self._name("tag", key): value for key, value in checked_pairs("tag", tags)}
        self._put_params(texts)
        self.set_tags(values)
        for key, value, timestamp, step in points:
            self.log_metric(key, value, step, timestamp)

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Store a file, or a folder with all that is in it.

        Args:
            local_path: The file or folder.
            artifact_path: Folder within the run's artifacts to put it in; None means at the top.

        Raises:
            NotFoundError: There is no such file.
            InvalidInputError: A path that leaves the run's artifacts.
            RunFinishedError: The run has ended.
        """
        path = Path(local_path)
        if path.is_dir():
            self.log_artifacts(path, path.name if artifact_path is None else f"{artifact_path}/{path.name}")
            return
        if not path.is_file():
            raise NotFoundError(f"The artifact `{path}` can't be logged: there is no such file.")
        name = path.name if artifact_path is None else f"{artifact_path}/{path.name}"
        self.log_files({name: path})

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Store all files under a folder; see `log_artifact`."""
        folder = Path(local_dir)
        if not folder.is_dir():
            raise NotFoundError(f"The artifacts in `{folder}` can't be logged: there is no such folder.")
        prefix = "" if artifact_path is None else f"{artifact_path}/"
        self.log_files(
            {f"{prefix}{p.relative_to(folder).as_posix()}": p for p in sorted(folder.rglob("*")) if p.is_file()}
        )

    def log_text(self, text: str, artifact_file: str) -> None:
        """Store text as a file, in UTF-8."""
        if self.is_ended:
            raise self._finished("artifact", artifact_file)
        self._shelf.keep(self, "file", {clean_path(artifact_file): text.encode("utf-8")})

    def log_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Store something as JSON."""
        self.log_text(json.dumps(dictionary, indent=2, default=str), artifact_file)

    def log_files(self, files: Mapping[str, Path], *, kind: str = "file", are_temporary: bool = False) -> bool:
        """Store files under given paths, and say whether all are stored: where the store refuses, some wait.

        Args:
            files: Local files by path within the run's artifacts.
            kind: ``file``, or ``model`` for the files of a model package.
            are_temporary: Whether the files go when this returns; only matters while the artifact store refuses them.
        """
        if self.is_ended:
            raise self._finished("artifacts", ", ".join(files))
        names = {clean_path(name): path for name, path in files.items()}
        return self._shelf.keep(self, kind, names, are_temporary=are_temporary)

    def log_stored(self, files: Mapping[str, Stored], *, kind: str = "file") -> None:
        """Record files whose bytes are in the artifact store already; see `log_files`."""
        if self.is_ended:
            raise self._finished("artifacts", ", ".join(files))
        if files:
            self.put_artifacts(kind, {clean_path(name): stored for name, stored in files.items()})

    def put_artifacts(self, kind: str, stored: Mapping[str, Stored]) -> None:
        """Record files that are stored, whatever has become of the run meanwhile; see `log_stored`."""
        rows = [[name, s.digest, s.size_bytes] for name, s in stored.items()]
        self._put("artifact_events", {"kind": kind}, ["path", "digest", "size_bytes"], rows)

    def before_end(self, act: Callable[[], None]) -> None:
        """Have something done when this process ends the run or leaves it, before the run takes nothing more."""
        self._before_end.append(act)

    def log_input(
        self, dataset: Any, *, name: str | None = None, context: str | None = None, source: str | None = None
    ) -> None:
        """Record a dataset that the run uses: its digest, columns and size; not its rows.

        Args:
            dataset: A pandas, Polars or Arrow table, a NumPy array, or the path of a file.
            name: Its name; None takes the file's name, or ``dataset``.
            context: What it is used for, such as ``training``.
            source: Where it came from; None takes the file's path.

        Raises:
            InvalidInputError: Something that can't be described.
            RunFinishedError: The run has ended.
        """
        described = describe_dataset(dataset, name=name, source=source)
        if self.is_ended:
            raise self._finished("input", str(described["name"]))
        row = {**described, "context": context}
        self._writer.put_rows("input_events", {"run_id": self.run_id}, list(row), [list(row.values())])

    def heartbeat(self, promise_s: float) -> None:
        """Record that the run is alive, and promise the next sign of life."""
        now = time_ns() // 1000
        due = now + int(promise_s * 1e6)
        self._event({"kind": "heartbeat", "heartbeat_due_at": due})

    def end(self, status: str = RunStatus.FINISHED) -> None:
        """End the run and force its records to disk; ending twice is fine.

        Only the process that started the attempt ends it. One that joined it, or a fork, leaves it: what it has logged
        is kept, and the run goes on.

        Args:
            status: `FINISHED`, `FAILED` or `KILLED`.

        Raises:
            InvalidInputError: Another status.
        """
        if status not in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED):
            raise InvalidInputError(f"A run can't end as `{status}`; it ends as FINISHED, FAILED or KILLED.")
        if self.is_ended:
            return
        while self._before_end and not self.is_inherited:
            self._before_end.pop()()
        self._shelf.finish(self)
        if not self.is_joined and not self.is_inherited:
            self._event({"kind": "ended", "status": str(status)})
        elif not self.is_inherited:
            self._event({"kind": "left", "name": process_label(status=str(status))})
        self.is_ended = True
        self._writer.forget_map(self._series)
        self._on_end(self)

    def __enter__(self) -> Self:
        """The run itself; it is active since `start_run`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run: as FINISHED, or FAILED when an exception passes, or KILLED when it is an interrupt."""
        if kind is None:
            self.end(RunStatus.FINISHED)
        else:
            self.end(RunStatus.KILLED if issubclass(kind, KeyboardInterrupt) else RunStatus.FAILED)

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else "active"
        return f"<ActiveRun {self.run_id} `{self.info.run_name}` of experiment {self.info.experiment_id}, {state}>"

    def _event(self, columns: dict[str, Any]) -> None:
        self._writer.put_rows(
            "run_events",
            {"run_id": self.run_id, "attempt": self.attempt, "actor": self._actor},
            list(columns),
            [list(columns.values())],
        )

    def _put(self, table: str, common: dict[str, Any], columns: list[str], rows: list[list[Any]]) -> None:
        self._writer.put_rows(table, {"run_id": self.run_id, "attempt": self.attempt, **common}, columns, rows)

    def _fresh_params(self, params: Iterable[tuple[Any, Any]]) -> dict[str, str]:
        """The texts of params that aren't set yet; refuses those that are, with another value."""
        fresh: dict[str, str] = {}
        for name, value in params:
            key, text = self._name("param", name), param_text(value)
            known = self._params.get(key, fresh.get(key, text))
            if known != text:
                raise ParamConflictError(
                    f"Param `{key}` of run `{self.run_id}` is `{known}` and was set again to `{text}`; params are "
                    "written once. Log a value that changes as a metric or a tag."
                )
            if key not in self._params:
                fresh[key] = text
        return fresh

    def _put_params(self, fresh: dict[str, str]) -> None:
        if fresh:
            rows = [[k, v, param_number(v)] for k, v in fresh.items()]
            self._put("param_events", {}, ["key", "value", "value_number"], rows)
            self._params.update(fresh)

    def _name(self, what: str, name: Any) -> str:
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"A {what}'s name must be text that isn't empty; got {name!r}.")
        return name

    def _finished(self, what: str, name: str) -> RunFinishedError:
        return RunFinishedError(
            f"The {what} `{name}` can't be logged: run `{self.run_id}` has ended. Resume it by "
            f"`start_run(run_id='{self.run_id}')`."
        )
