"""How values are written: contexts as canonical JSON, params as text and number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def context_text(context: Mapping[str, Any]) -> str:
    """A context as the text that is stored: JSON with sorted keys, so equal contexts are equal texts."""
    return json.dumps(dict(context), sort_keys=True, separators=(",", ":"), default=str)


def param_text(value: Any) -> str:
    """A param's value as text, as Python prints it."""
    return str(value)


def param_number(text: str) -> float | None:
    """The number that a param's text is, or None. Truth values aren't numbers; nor is text with underscores."""
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None
