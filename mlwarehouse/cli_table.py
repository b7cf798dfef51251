"""Answers on a terminal: a table that fits its width, says what it leaves out, and goes through a pager when long."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

NULL = "NULL"
NARROWEST = 8
"""No column is made narrower than this to fit; the last ones are left out instead."""

WIDEST = 60
"""The most that a cell takes where the width isn't limited."""

_GAP = "  "


def table_lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, width: int | None) -> list[str]:
    """Lay a table out.

    Args:
        rows: The rows.
        columns: Their columns, in order.
        width: The characters of a line; None means as many as it takes.

    Returns:
        Head, rule and rows; then what was left out or cut. Null stands as ``NULL``, and a text of these letters in
        quotes; numbers are to the right.
    """
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    heads = [_printable(name) for name in columns]
    full = [max([len(head), *(len(row[i]) for row in cells)]) for i, head in enumerate(heads)]
    widths = _fitting([min(w, WIDEST) for w in full], width)
    n = len(widths)
    right = [all(_is_number(row[name]) for row in rows) and bool(rows) for name in columns]

    def line(texts: Sequence[str]) -> str:
        parts = (_aligned(_cut(t, w), w, r) for t, w, r in zip(texts[:n], widths, right[:n], strict=True))
        return _GAP.join(parts).rstrip()

    lines = [line(heads), _GAP.join("-" * w for w in widths), *(line(row) for row in cells)]
    if n < len(columns):
        left_out = ", ".join(columns[n:])
        lines.append(f"({len(columns) - n} columns left out: {left_out}; --format csv or json has them)")
    elif any(w < f for w, f in zip(widths, full, strict=True)):
        lines.append("(long values are cut and end in …; --format csv or json has them whole)")
    return lines


def markdown_lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """A table in Markdown, with whole values."""
    right = [all(_is_number(row[name]) for row in rows) and bool(rows) for name in columns]

    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(t.replace(chr(92), chr(92) * 2).replace('|', chr(92) + '|') for t in texts)} |"

    rule = [("---:" if r else "---") for r in right]
    return [line([_printable(c) for c in columns]), f"| {' | '.join(rule)} |"] + [
        line([_cell(row[name]) for name in columns]) for row in rows
    ]


def page(lines: Sequence[str]) -> None:
    """Print lines; on a terminal that they don't fit into, through ``$PAGER``."""
    text = "\n".join(lines)
    pager = os.environ.get("PAGER", "less")
    height = shutil.get_terminal_size().lines
    if not sys.stdout.isatty() or len(lines) < height or not pager or shutil.which(pager.split()[0]) is None:
        print(text)
        return
    # less: leave when it fits, keep the screen, don't wrap.
    settings = {"LESS": "FRSX", **os.environ}
    with subprocess.Popen(pager, shell=True, stdin=subprocess.PIPE, text=True, env=settings) as process:
        try:
            process.communicate(text + "\n")
        except BrokenPipeError:
            return  # the reader has seen enough


def _fitting(widths: list[int], width: int | None) -> list[int]:
    """Widths that fit in a line: the widest give way first, and then the last columns."""
    if width is None:
        return widths
    while widths and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(widths)
        if widest <= NARROWEST and len(widths) > 1:
            widths = widths[:-1]
            continue
        if widest <= 1:
            break
        widths = [w - 1 if i == widths.index(widest) else w for i, w in enumerate(widths)]
    return widths


def _cell(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ")) if hasattr(value, "hour") and hasattr(value, "year") else str(value)
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text = _printable(str(value))
    return f"'{text}'" if text == NULL else text


def _printable(text: str) -> str:
    """One line that can't steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
