"""The rendered text of each view and report for each engine: ``python -m tests.views.golden`` writes it anew.

A change of a view, or of what renders it, then shows as a difference that a person can read.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mlwarehouse.engines.parse import parse_select
from mlwarehouse.engines.render import render
from mlwarehouse.tables.reports import PARAMETRIC, report_spec
from mlwarehouse.tables.views import all_views

FOLDER = Path(__file__).parent.parent / "golden"
DIALECTS = ("duckdb", "spark")


@cache
def rendered() -> dict[str, str]:
    """The text by path under the folder."""
    return {
        f"{dialect}/{spec.name}.sql": render(parse_select(spec.sql), dialect=dialect, pretty=True) + "\n"
        for dialect in DIALECTS
        for spec in (*all_views(), *(report_spec(name) for name in PARAMETRIC))
    }


def stored() -> dict[str, str]:
    """What is in the folder."""
    return {str(p.relative_to(FOLDER)): p.read_text(encoding="utf-8") for p in sorted(FOLDER.glob("*/*.sql"))}


def write() -> None:
    """Make the folder hold what is rendered now, and nothing else."""
    texts = rendered()
    for path in stored().keys() - texts.keys():
        (FOLDER / path).unlink()
    for path, text in texts.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")
    print(f"{len(texts)} texts in {FOLDER}")


if __name__ == "__main__":
    write()
