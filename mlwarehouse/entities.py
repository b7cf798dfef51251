"""The words of the field as small immutable objects, in MLflow's attribute shape.

Times are integers of milliseconds since the epoch (UTC) where MLflow has them so (`RunInfo.start_time`,
`Metric.timestamp`); the tables hold UTC microseconds.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlwarehouse.display import Displayed, duration_text, time_text
from mlwarehouse.errors import InvalidInputError

FORK_RUN_TAG = "mlwarehouse.fork.run_id"
"""The tag of a forked run that names the run it was forked from."""

FORK_STEP_TAG = "mlwarehouse.fork.step"
"""The tag of a forked run with the last step of that run that it continues."""


class RunStatus(enum.StrEnum):
    """The status of a run, in MLflow's words."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class ViewType(enum.IntEnum):
    """Which runs or experiments a search looks at; the numbers are MLflow's."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3


class Stage(enum.StrEnum):
    """The stages a model version can be in."""

    NONE = "None"
    DEVELOPMENT = "Development"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


class VersionStatus(enum.StrEnum):
    """How far a model version has come; all but one of those that are registered are ready at once."""

    PENDING = "PENDING_REGISTRATION"
    FAILED = "FAILED_REGISTRATION"
    READY = "READY"


@dataclass(frozen=True, repr=False)
class Experiment(Displayed):
    """A named group of runs."""

    experiment_id: str
    name: str
    lifecycle_stage: str = "active"
    tags: Mapping[str, str] = field(default_factory=dict)
    creation_time: int | None = None
    last_update_time: int | None = None

    def _shown(self) -> Mapping[str, object]:
        return {
            "experiment_id": self.experiment_id,
            "name": self.name,
            "lifecycle_stage": self.lifecycle_stage,
            "created": time_text(self.creation_time),
            "tags": self.tags,
        }


@dataclass(frozen=True)
class Metric:
    """One metric point."""

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str | None = None


@dataclass(frozen=True)
class RunInfo:
    """A run's identity and state."""

    run_id: str
    experiment_id: str
    run_name: str | None
    user_id: str | None
    status: str
    start_time: int
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str


@dataclass(frozen=True)
class RunData:
    """A run's latest metrics, its params and its tags."""

    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, repr=False)
class Run(Displayed):
    """A recorded run: what `get_run` returns and `search_runs(output_format="list")` lists."""

    info: RunInfo
    data: RunData

    @property
    def run_id(self) -> str:
        """Short form of ``info.run_id``."""
        return self.info.run_id

    def _shown(self) -> Mapping[str, object]:
        info = self.info
        return {
            "run_id": info.run_id,
            "name": info.run_name,
            "status": str(info.status),
            "started": time_text(info.start_time),
            "took": duration_text(info.start_time, info.end_time),
            "by": info.user_id,
            "metrics": self.data.metrics,
            "params": self.data.params,
            "tags": {k: v for k, v in self.data.tags.items() if not k.startswith(("mlflow.", "mlwarehouse."))},
        }


@dataclass(frozen=True, repr=False)
class ModelVersion(Displayed):
    """One numbered, immutable entry under a registered model."""

    name: str
    version: int
    creation_timestamp: int
    current_stage: str = Stage.NONE
    description: str | None = None
    user_id: str | None = None
    source: str | None = None
    run_id: str | None = None
    status: str = VersionStatus.READY
    digest: str | None = None
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    last_updated_timestamp: int | None = None
    parent: str | None = None

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"

    def _shown(self) -> Mapping[str, object]:
        return {
            "name": self.name,
            "version": self.version,
            "stage": str(self.current_stage),
            "aliases": self.aliases,
            "created": time_text(self.creation_timestamp),
            "by": self.user_id,
            "run_id": self.run_id,
            "description": self.description,
            "tags": self.tags,
        }


@dataclass(frozen=True, repr=False)
class RegisteredModel(Displayed):
    """A name under which model versions are numbered."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int | None = None
    description: str | None = None
    aliases: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def _shown(self) -> Mapping[str, object]:
        return {
            "name": self.name,
            "created": time_text(self.creation_timestamp),
            "aliases": self.aliases,
            "description": self.description,
            "tags": self.tags,
        }


@dataclass(frozen=True)
class ModelComment:
    """A comment on a registered model, or on one of its versions.

    Attributes:
        comment_id: Its number within the model.
        name: The registered model.
        version: The version; None for the model.
        text: Markdown.
        user_id: Who wrote it.
        creation_timestamp: When, milliseconds since the epoch (UTC).
        last_updated_timestamp: When it was last edited.
    """

    comment_id: int
    name: str
    version: int | None
    text: str
    user_id: str | None
    creation_timestamp: int
    last_updated_timestamp: int


@dataclass(frozen=True)
class TransitionRequest:
    """A request that a model version is moved to a stage or alias.

    Attributes:
        request_id: Its number within the model.
        name: The registered model.
        version: The version.
        stage: The stage it shall come to; None when it is an alias.
        alias: The alias; None when it is a stage.
        status: ``open``, ``approved``, ``rejected`` or ``cancelled``.
        user_id: Who requested it.
        comment: Why, in their words.
        creation_timestamp: When, milliseconds since the epoch (UTC).
        decided_by: Who decided; None while it is open.
        decision_comment: Why, in their words.
        decision_timestamp: When.
    """

    request_id: int
    name: str
    version: int
    stage: str | None
    alias: str | None
    status: str
    user_id: str | None
    comment: str | None
    creation_timestamp: int
    decided_by: str | None = None
    decision_comment: str | None = None
    decision_timestamp: int | None = None


@dataclass(frozen=True)
class GateResult:
    """The last result of a check for a model version.

    Attributes:
        name: The registered model.
        version: The version.
        gate: The check's name.
        passed: Whether it passed.
        detail: What it found.
        user_id: Who ran it.
        checked_timestamp: When, milliseconds since the epoch (UTC).
    """

    name: str
    version: int
    gate: str
    passed: bool
    detail: str | None
    user_id: str | None
    checked_timestamp: int


SNAPSHOT_FORM = 1
"""The form of a snapshot's text; a text that names none is of the first."""


@dataclass(frozen=True, repr=False)
class Snapshot(Displayed):
    """One version of each table: small, printable, and the same state whenever it is asked.

    Attributes:
        warehouse_id: The warehouse it belongs to.
        taken_at: Milliseconds since the epoch (UTC).
        versions: Delta table version by table name.
        checks: Check sum (CRC-32) of each version's log entry, by table name: so that a version is told from one of the
            same number in a warehouse that was restored from a backup, or copied and written since. A table whose entry
            had been cleaned up is left out.
    """

    warehouse_id: str
    taken_at: int
    versions: Mapping[str, int]
    checks: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read a snapshot from its text.

        Raises:
            InvalidInputError: It isn't one, or is of a later release.
        """
        try:
            values = json.loads(text)
            if int(values.get("form", SNAPSHOT_FORM)) > SNAPSHOT_FORM:
                raise InvalidInputError(
                    f"The snapshot `{text[:60]}` was written by a later release of mlwarehouse; upgrade to read it."
                )
            versions = {str(k): int(v) for k, v in values["versions"].items()}
            checks = {str(k): int(v, 16) for k, v in values.get("checks", {}).items()}
            if min(versions.values(), default=0) < 0 or not checks.keys() <= versions.keys():
                raise ValueError("versions that no table has")
            return cls(str(values["warehouse_id"]), int(values["taken_at"]), versions, checks)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"`{text[:60]}` isn't a snapshot; pass what `snapshot()` returned, or its text."
            ) from error

    def __str__(self) -> str:
        values = {
            "form": SNAPSHOT_FORM,
            "warehouse_id": self.warehouse_id,
            "taken_at": self.taken_at,
            "versions": dict(self.versions),
            "checks": {name: f"{check:08x}" for name, check in self.checks.items()},
        }
        return json.dumps(values, separators=(",", ":"))

    def _shown(self) -> Mapping[str, object]:
        return {"warehouse_id": self.warehouse_id, "taken": time_text(self.taken_at), "versions": self.versions}


@dataclass(frozen=True)
class KeptSnapshot:
    """A snapshot whose files are protected until it is released.

    Attributes:
        name: Its name: pass it as ``at=`` to the asking functions.
        snapshot: The table versions.
        note: What it was kept for, in somebody's words.
        kept_at: When it was kept, milliseconds since the epoch (UTC).
        kept_by: Who kept it.
    """

    name: str
    snapshot: Snapshot
    note: str | None = None
    kept_at: int | None = None
    kept_by: str | None = None
