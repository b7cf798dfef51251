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
    status: str = "READY"
    digest: str | None = None
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    last_updated_timestamp: int | None = None

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


@dataclass(frozen=True, repr=False)
class Snapshot(Displayed):
    """A pin: one table version per table, small and printable.

    Attributes:
        warehouse_id: The warehouse it belongs to.
        taken_at: Milliseconds since the epoch (UTC).
        versions: Delta table version by table name.
    """

    warehouse_id: str
    taken_at: int
    versions: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read a pin from its text.

        Raises:
            InvalidInputError: It isn't one.
        """
        try:
            values = json.loads(text)
            versions = {str(k): int(v) for k, v in values["versions"].items()}
            return cls(str(values["warehouse_id"]), int(values["taken_at"]), versions)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                f"`{text[:60]}` isn't a pin; pass what `snapshot()` returned, or its text."
            ) from error

    def __str__(self) -> str:
        return json.dumps(
            {"warehouse_id": self.warehouse_id, "taken_at": self.taken_at, "versions": dict(self.versions)},
            separators=(",", ":"),
        )

    def _shown(self) -> Mapping[str, object]:
        return {"warehouse_id": self.warehouse_id, "taken": time_text(self.taken_at), "versions": self.versions}
