"""What a user can meet is explained: each name stands in a hand-written page, and what pages name exists."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
import typer.main

import mlwarehouse
from mlwarehouse import errors
from mlwarehouse.cli import app
from mlwarehouse.config import SETTINGS
from mlwarehouse.dashboards.app import PAGES
from mlwarehouse.models import FLAVORS
from mlwarehouse.tables import TABLES
from mlwarehouse.tables.reports import PARAMETRIC
from mlwarehouse.tables.views import REPORTS, VIEWS

from .pages import EVERYTHING, GUIDE, ROOT, name_of

GUIDE_TEXT = "\n".join(p.read_text(encoding="utf-8") for p in GUIDE)
ALL_TEXT = "\n".join(p.read_text(encoding="utf-8") for p in EVERYTHING)


def _commands(command, path=""):
    for name, sub in getattr(command, "commands", {}).items():
        if hasattr(sub, "commands"):
            yield from _commands(sub, f"{path}{name} ")
        else:
            yield f"{path}{name}"


COMMANDS = tuple(_commands(typer.main.get_command(app)))
FUNCTIONS = tuple(n for n in mlwarehouse.__all__ if inspect.isfunction(getattr(mlwarehouse, n)))
ERRORS = tuple(n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.WarehouseError))


@pytest.mark.parametrize("name", [s.name for s in SETTINGS])
def test_a_setting_is_explained(name):
    assert re.search(rf"`{name}`|`{name} = |MLWAREHOUSE_{name.upper()}\b|{name}=", GUIDE_TEXT)


@pytest.mark.parametrize("name", [t.name for t in TABLES] + [*VIEWS, *REPORTS, *PARAMETRIC] + [f.name for f in FLAVORS])
def test_a_table_view_or_flavor_is_explained(name):
    assert f"`{name}`" in GUIDE_TEXT


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_explained(name):
    assert re.search(rf"mlwarehouse {name}\b", GUIDE_TEXT)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_explained(name):
    assert re.search(rf"`{name}`|`{name}\(|\b{name}\(", GUIDE_TEXT)


@pytest.mark.parametrize("name", [n for n in mlwarehouse.__all__ if n not in FUNCTIONS])
def test_a_public_class_is_in_the_reference(name):
    reference = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert re.search(rf"^##+ {name}$|`mlw\.{name}`", reference, re.MULTILINE)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_in_the_reference(name):
    assert f"| `{name}` |" in (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_dashboard_page_is_explained(page):
    assert f"| {page.name} | `{page.path}` |" in (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")


def test_tests_that_guarantees_name_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, f"{path}::{name}"


def test_every_promise_names_a_test():
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").partition("## What isn't promised")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    assert rows
    assert [r for r in rows if "`tests/" not in r] == []


def test_errors_that_pages_name_exist():
    named = set(re.findall(r"`(\w+Error)`", ALL_TEXT))
    assert named <= set(ERRORS)


@pytest.mark.parametrize("page", EVERYTHING, ids=name_of)
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
    missing = [t for t in targets if not (page.parent / t).exists()]
    assert missing == []


def test_the_changelog_has_this_version():
    assert mlwarehouse.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_decisions_have_their_four_parts():
    pages = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [p.name[:3] for p in pages] == [f"{n:03d}" for n in range(1, len(pages) + 1)]
    for page in pages:
        headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Options", "Decision", "Consequences"], page.name
