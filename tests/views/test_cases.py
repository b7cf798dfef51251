"""Each view against its given / expect cases, on both engines.

The cases of a view are asked in one question, each with ids of its own: a question is what costs time on Spark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from mlwarehouse.tables.views import VIEWS
from tests.views.conftest import Ask
from tests.views.rows import comparable, tables

FOLDER = Path(__file__).parent.parent / "cases" / "views"
IDS = ("run_id", "experiment_id", "model_name", "parent_run_id", "dataset", "principal")
NAMED = {"input_events": (*IDS, "name")}
"""Tables in which a name is what an id is elsewhere."""


def load(view: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = yaml.safe_load((FOLDER / f"{view}.yml").read_text(encoding="utf-8"))
    return cases


def marked(given: dict[str, list[dict[str, Any]]], mark: str) -> dict[str, pa.Table]:
    """The rows of a case, with a mark in front of each id."""
    result = {}
    for name, rows in tables(given).items():
        found = rows.to_pylist()
        for row in found:
            row.update({c: mark + row[c] for c in NAMED.get(name, IDS) if row.get(c) is not None})
        result[name] = pa.Table.from_pylist(found, schema=rows.schema)
    return result


def unmarked(rows: list[dict[str, Any]], mark: str) -> list[dict[str, Any]]:
    """The rows in which an id has a mark, without it."""
    return [{c: _without(v, mark) for c, v in row.items()} for row in rows if mark in str(row.values())]


def _without(value: Any, mark: str) -> Any:
    if isinstance(value, list):
        return [_without(v, mark) for v in value]
    return value.replace(mark, "") if isinstance(value, str) else value


@pytest.mark.parametrize("view", VIEWS)
def test_cases(view: str, ask: Ask) -> None:
    cases = load(view)
    parts: dict[str, list[pa.Table]] = {}
    for number, case in enumerate(cases):
        for table, rows in marked(case["given"], f"case{number:03}:").items():
            parts.setdefault(table, []).append(rows)
    found = ask(f"SELECT * FROM {view}", {table: pa.concat_tables(rows) for table, rows in parts.items()})
    wrong = {}
    for number, case in enumerate(cases):
        columns = sorted(set().union(*case["expect"])) if case["expect"] else []
        assert all(set(row) == set(columns) for row in case["expect"]), f"uneven expected rows in `{case['case']}`"
        got = comparable(unmarked(found, f"case{number:03}:"), columns)
        if got != comparable(case["expect"], columns):
            wrong[case["case"]] = {"got": got, "expected": comparable(case["expect"], columns)}
    assert wrong == {}


def test_each_file_belongs_to_a_view() -> None:
    assert {p.stem for p in FOLDER.glob("*.yml")} == set(VIEWS)
