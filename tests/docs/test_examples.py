"""Every Python block of the hand-written pages runs, page by page, as one program."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlwarehouse import fluent

from .pages import GUIDE, Block, blocks, name_of


def _python(page: Path) -> list[Block]:
    return [b for b in blocks(page) if b.language == "python"]


RUN = [p for p in GUIDE if any(b.mark == "" for b in _python(p))]
RUN_ON_SPARK = [p for p in GUIDE if any(b.mark == "spark" for b in _python(p))]


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, no warehouse chosen, and no process that would outlive the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fluent, "_current", None)
    monkeypatch.setenv("MLWAREHOUSE_COMMITTER", "off")
    yield tmp_path
    if fluent._current is not None:
        fluent._current.close()


def _run(page: Path, place: Path, marks: set[str]) -> None:
    """Run a page's blocks as one script, in which each line has the number that it has on the page."""
    lines: list[str] = []
    for block in _python(page):
        if block.mark in marks:
            lines += [""] * (block.line - len(lines)) + block.code.splitlines()
    program = place / f"{page.stem.lower()}.py"
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    runpy.run_path(str(program), run_name="__main__")


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_python_of_a_page_runs(page, own_place):
    _run(page, own_place, {""})


@pytest.mark.spark
@pytest.mark.parametrize("page", RUN_ON_SPARK, ids=name_of)
def test_the_python_of_a_page_runs_with_spark(page, own_place, spark):
    _run(page, own_place, {"", "spark"})


def test_what_is_not_run_has_a_reason():
    marked = [b for p in GUIDE for b in blocks(p) if b.mark.startswith("no-run:")]
    assert all(len(b.mark.removeprefix("no-run:").split()) >= 3 for b in marked)


def test_pages_with_python_are_found():
    assert {"README.md", "docs/quickstart.md", "docs/logging.md", "docs/querying.md"} <= {name_of(p) for p in RUN}
