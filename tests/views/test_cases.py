"""Each view against its given / expect cases, on both engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlwarehouse.tables.views import VIEWS
from tests.views.conftest import Ask
from tests.views.rows import comparable, tables

FOLDER = Path(__file__).parent.parent / "cases" / "views"


def load() -> list[Any]:
    cases = []
    for view in VIEWS:
        for case in yaml.safe_load((FOLDER / f"{view}.yml").read_text(encoding="utf-8")):
            cases.append(pytest.param(view, case, id=f"{view}-{case['case'][:40]}"))
    return cases


@pytest.mark.parametrize(("view", "case"), load())
def test_case(view: str, case: dict[str, Any], ask: Ask) -> None:
    found = ask(f"SELECT * FROM {view}", tables(case["given"]))
    columns = sorted(set().union(*case["expect"])) if case["expect"] else []
    assert all(set(row) == set(columns) for row in case["expect"]), "each expected row names the same columns"
    assert comparable(found, columns) == comparable(case["expect"], columns)


def test_each_file_belongs_to_a_view() -> None:
    assert {p.stem for p in FOLDER.glob("*.yml")} == set(VIEWS)
