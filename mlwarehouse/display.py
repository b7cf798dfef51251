"""How objects show themselves: a small table in notebooks, one line in a terminal."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

MOST_ENTRIES = 12
"""Entries of a mapping that are shown; the rest is counted."""

MOST_TEXT = 80
"""Characters of a value that are shown."""


class Displayed:
    """Something that shows itself in notebooks and terminals by what `_shown` gives."""

    def _shown(self) -> Mapping[str, Any]:
        """What is shown, by its name; None and empty values are left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """One line."""
        parts = ", ".join(f"{name}={_text(value)}" for name, value in _filled(self))
        return f"{type(self).__name__}({parts})"

    def _repr_html_(self) -> str:
        """A table of two columns for notebooks; all that comes from data is escaped."""
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{_html(value)}</td></tr>'
            for name, value in _filled(self)
        )
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


def time_text(milliseconds: int | None) -> str | None:
    """A time of an entity in words, UTC."""
    if milliseconds is None:
        return None
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration_text(start: int | None, end: int | None) -> str | None:
    """The time between two in words."""
    if start is None or end is None:
        return None
    seconds = (end - start) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _filled(shown: Displayed) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in shown._shown().items() if value not in (None, "", {}, ())]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(_entries(value, lambda key: repr(key)[1:-1], _text))}}}"
    return repr(_short(value)) if isinstance(value, str) else _plain(value)


def _html(value: Any) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(_entries(value, html.escape, _html))
    return html.escape(_short(value) if isinstance(value, str) else _plain(value))


def _entries(entries: Mapping[Any, Any], key: Callable[[str], str], value: Callable[[Any], str]) -> list[str]:
    said = [f"{key(_short(str(k)))}: {value(v)}" for k, v in islice(entries.items(), MOST_ENTRIES)]
    return [*said, f"… {len(entries) - MOST_ENTRIES} more"] if len(entries) > MOST_ENTRIES else said


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
