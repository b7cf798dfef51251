"""What a filter can name: one visible tuple of attributes, and the namespaces for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["metric", "param", "tag", "attribute", "dataset"]
"""The namespaces of names."""

NAMESPACES: dict[str, Kind] = {
    "metrics": "metric",
    "metric": "metric",
    "params": "param",
    "param": "param",
    "parameters": "param",
    "parameter": "param",
    "tags": "tag",
    "tag": "tag",
    "attributes": "attribute",
    "attribute": "attribute",
    "attr": "attribute",
    "run": "attribute",
    "datasets": "dataset",
    "dataset": "dataset",
}
"""The first part of a name, in each spelling that MLflow takes; a name of one part is an attribute."""

STATS: tuple[str, ...] = ("last", "first", "min", "max", "mean", "count")
"""What can follow a metric's name; `last` is meant when nothing does."""

AT_STEP = "at_step"
"""What can follow too, with a step in parentheses: the value there."""

NUMBER = "number"
"""What can stand around a param or tag: its text as a number, null where it is none."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of a run.

    Attributes:
        name: Its name in a filter, and in a frame's columns.
        type: `text`; `number`; or `time`, compared with milliseconds since the epoch or with an ISO 8601 text.
        sql: The expression over the view `runs`.
        aliases: Other spellings that MLflow takes.
        choices: The only values it can have; empty when any.
    """

    name: str
    type: Literal["text", "number", "time"]
    sql: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("run_id", "text", "runs.run_id"),
    Attribute("experiment_id", "text", "runs.experiment_id"),
    Attribute("status", "text", "runs.status", choices=("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")),
    Attribute("artifact_uri", "text", "'runs:/' || runs.run_id"),
    Attribute("start_time", "time", "runs.started_at", aliases=("created", "Created")),
    Attribute("end_time", "time", "runs.ended_at"),
    Attribute("run_name", "text", "runs.run_name", aliases=("run name", "Run name", "Run Name")),
    Attribute("user_id", "text", "runs.user_id"),
    Attribute("experiment_name", "text", "runs.experiment_name"),
    Attribute("lifecycle_stage", "text", "runs.lifecycle_stage", choices=("active", "deleted")),
    Attribute("parent_run_id", "text", "runs.parent_run_id"),
    Attribute("duration_s", "number", "runs.duration_s"),
    Attribute("attempt", "number", "runs.attempt"),
)
"""Every attribute; the first six are a frame's columns in MLflow's order."""

FRAME_ATTRIBUTES: tuple[str, ...] = tuple(a.name for a in ATTRIBUTES[:6])
"""The attributes that a frame has unless told otherwise."""

ATTRIBUTES_BY_NAME: dict[str, Attribute] = {word: a for a in ATTRIBUTES for word in (a.name, *a.aliases)}

DATASET_FIELDS: tuple[str, ...] = ("name", "digest", "context")
"""What can be asked about a run's datasets."""
