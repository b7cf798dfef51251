"""The warehouse's tables, declared.

A new table is one new file here and one entry in `TABLES`; the docs page, the folder and the engines follow from it.

Schema evolution: a later schema version may only add nullable columns (`Column.since`). Writers bring an older table
up to date before they append; readers see null in the rows that lack a column; a table newer than this release is
read as far as it is known and never written.
"""

from __future__ import annotations

from mlwarehouse.tables.access import ACCESS_EVENTS
from mlwarehouse.tables.artifacts import ARTIFACT_EVENTS
from mlwarehouse.tables.audit import AUDIT
from mlwarehouse.tables.experiments import EXPERIMENT_EVENTS
from mlwarehouse.tables.inputs import INPUT_EVENTS
from mlwarehouse.tables.logged_models import LOGGED_MODEL_EVENTS
from mlwarehouse.tables.metrics import METRICS
from mlwarehouse.tables.params import PARAM_EVENTS
from mlwarehouse.tables.predictions import LABELS, PREDICTION_INPUTS, PREDICTIONS
from mlwarehouse.tables.registry import REGISTRY_EVENTS
from mlwarehouse.tables.runs import RUN_EVENTS
from mlwarehouse.tables.spec import ENVELOPE, EVENT_ORDER, Column, ColumnType, TableSpec
from mlwarehouse.tables.tags import TAG_EVENTS

TABLES: tuple[TableSpec, ...] = (
    EXPERIMENT_EVENTS,
    RUN_EVENTS,
    PARAM_EVENTS,
    METRICS,
    TAG_EVENTS,
    ARTIFACT_EVENTS,
    INPUT_EVENTS,
    LOGGED_MODEL_EVENTS,
    REGISTRY_EVENTS,
    PREDICTIONS,
    PREDICTION_INPUTS,
    LABELS,
    AUDIT,
    ACCESS_EVENTS,
)
"""Every event table of a warehouse."""

TABLES_BY_NAME: dict[str, TableSpec] = {t.name: t for t in TABLES}

__all__ = [
    "ACCESS_EVENTS",
    "ARTIFACT_EVENTS",
    "AUDIT",
    "ENVELOPE",
    "EVENT_ORDER",
    "EXPERIMENT_EVENTS",
    "INPUT_EVENTS",
    "LABELS",
    "LOGGED_MODEL_EVENTS",
    "METRICS",
    "PARAM_EVENTS",
    "PREDICTIONS",
    "PREDICTION_INPUTS",
    "REGISTRY_EVENTS",
    "RUN_EVENTS",
    "TABLES",
    "TABLES_BY_NAME",
    "TAG_EVENTS",
    "Column",
    "ColumnType",
    "TableSpec",
]
