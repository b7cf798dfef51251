"""Asking the warehouse: searching runs, metric histories, SQL.

A search passes through small pure steps (`paging.READ_STEPS`, `paging.WRITE_STEPS`) that turn a filter and an order
into one question for a page of runs; what the frame shows of them is loaded as long tables and made wide at once.
"""

from __future__ import annotations

from mlwarehouse.query.changes import Change, ChangePage, chosen_kinds, read_changes
from mlwarehouse.query.experiments import (
    get_experiment,
    get_experiment_by_name,
    list_experiments,
    resolve_experiments,
)
from mlwarehouse.query.frames import FRAME_FORMATS, check_format
from mlwarehouse.query.history import metric_history
from mlwarehouse.query.runs import get_run
from mlwarehouse.query.search import search_runs
from mlwarehouse.query.sql import SQL_FORMATS, marks_in, spark_frame, sql

__all__ = [
    "FRAME_FORMATS",
    "SQL_FORMATS",
    "Change",
    "ChangePage",
    "check_format",
    "chosen_kinds",
    "get_experiment",
    "get_experiment_by_name",
    "get_run",
    "list_experiments",
    "marks_in",
    "metric_history",
    "read_changes",
    "resolve_experiments",
    "search_runs",
    "spark_frame",
    "sql",
]
