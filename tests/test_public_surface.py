"""What the package offers: names, docstrings, arguments, and what a wheel holds."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mlwarehouse
from mlwarehouse import fluent
from mlwarehouse.ingest.run import ActiveRun
from mlwarehouse.warehouse import Warehouse

ROOT = Path(__file__).parent.parent

FUNCTIONS = {n: getattr(mlwarehouse, n) for n in mlwarehouse.__all__ if inspect.isfunction(getattr(mlwarehouse, n))}
NOT_OF_A_WAREHOUSE = {"set_warehouse", "get_warehouse"}


def test_all_is_what_the_reference_documents():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    functions = re.findall(r"^### (\w+)$", text.partition("## Functions")[2].partition("\n## ")[0], re.MULTILINE)
    words = re.findall(r"^### (\w+)$", text.partition("## Words of the field")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted([*functions, *words, "Warehouse", "__version__"]) == sorted(mlwarehouse.__all__)


def test_all_names_exist_once_and_are_all_that_fluent_offers():
    assert len(set(mlwarehouse.__all__)) == len(mlwarehouse.__all__)
    offered = {n for n, f in vars(fluent).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert offered == set(FUNCTIONS)


@pytest.mark.parametrize("name", mlwarehouse.__all__)
def test_a_public_name_has_a_docstring(name):
    assert name == "__version__" or inspect.getdoc(getattr(mlwarehouse, name))


@pytest.mark.parametrize("cls", [Warehouse, ActiveRun], ids=lambda c: c.__name__)
def test_public_methods_have_docstrings(cls):
    public = {n: m for n, m in inspect.getmembers(cls) if not n.startswith("_") and callable(m)}
    assert {n for n, m in public.items() if not inspect.getdoc(m)} == set()


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - NOT_OF_A_WAREHOUSE))
def test_a_function_has_the_arguments_of_its_method(name):
    method = getattr(Warehouse, name, None) or getattr(ActiveRun, name)
    wanted = [p for p in inspect.signature(method).parameters.values() if p.name != "self"]
    given = list(inspect.signature(FUNCTIONS[name]).parameters.values())
    passes_on = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in given)
    named = [p for p in given if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if passes_on:
        wanted = wanted[: len(named)]
    assert [(p.name, p.kind, p.default) for p in named] == [(p.name, p.kind, p.default) for p in wanted]


def test_a_wheel_ships_sql_and_dashboards_under_our_name(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling isn't installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.partition("/")[0] for n in names}
    assert tops == {"mlwarehouse", f"mlwarehouse-{mlwarehouse.__version__}.dist-info"}
    for folder in ("sql", "dashboards"):
        here = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*.*") if "__pycache__" not in p.parts}
        shipped = {n.removeprefix("mlwarehouse/") for n in names if n.startswith(f"mlwarehouse/{folder}/")}
        assert {"sql": "sql/views/runs.sql", "dashboards": "dashboards/app.py"}[folder] in here
        assert shipped == here
    assert {"mlwarehouse/py.typed", "mlwarehouse/demo/data/sentence_polarity.tsv.gz"} <= set(names)
