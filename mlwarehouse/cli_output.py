"""How the command line prints: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_WIDTH = 60
"""Longer cells are cut in tables; JSON has them whole."""


def print_json(value: Any) -> None:
    """Print a value as JSON: NaN and the infinities as text, times in ISO form."""
    print(json.dumps(plain(value), ensure_ascii=False, default=str))


def record(value: Any) -> dict[str, Any]:
    """A dataclass object as a dictionary of its fields, those of objects within it too."""
    return {f.name: _recorded(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _recorded(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return record(value)
    return [_recorded(v) for v in value] if isinstance(value, list | tuple) else value


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Print rows: as a JSON list, or as a table.

    Args:
        rows: The rows.
        as_json: For a program.
        columns: The columns of the table, in order; None takes those of the first row.
    """
    if as_json:
        print_json(list(rows))
        return
    names = list(columns or (rows[0] if rows else ()))
    if not rows:
        print("(no rows)")
        return
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    numeric = [all(_is_number(row.get(name)) for row in rows) for name in names]
    print("  ".join(_aligned(n, w, r) for n, w, r in zip(names, widths, numeric, strict=True)).rstrip())
    print("  ".join("-" * w for w in widths))
    for row in cells:
        print("  ".join(_aligned(c, w, r) for c, w, r in zip(row, widths, numeric, strict=True)).rstrip())


def note(text: str) -> None:
    """Tell a person something, beside the output."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A line of progress on standard error: rewritten on a terminal, one line a step elsewhere."""

    def __init__(self, what: str, total: int) -> None:
        """Begin.

        Args:
            what: What is being done.
            total: How many steps there are.
        """
        self._what = what
        self._total = total
        self._done = 0
        self._is_terminal = sys.stderr.isatty()

    def step(self, detail: str = "") -> None:
        """One more step is done."""
        self._done += 1
        line = f"{self._what} {self._done}/{self._total} {detail}".rstrip()
        if self._is_terminal:
            end = "\n" if self._done == self._total else ""
            print(f"\r\033[K{line}", end=end, file=sys.stderr, flush=True)
        else:
            note(line)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    if isinstance(value, Mapping):
        value = json.dumps(plain(value), default=str)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        value = ", ".join(str(v) for v in value)
    text = " ".join(str(value).split())
    # What comes from data must not steer the terminal.
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= MOST_WIDTH else text[: MOST_WIDTH - 1] + "…"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: NaN and the infinities as text, times in ISO form."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value
