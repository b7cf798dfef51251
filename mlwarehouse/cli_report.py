"""Reports on the command line: parameters as ``NAME=VALUE``, and the list of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.tables.reports import LISTS, ReportSpec


def parameters_of(name: str, given: Sequence[str]) -> dict[str, Any]:
    """The parameters of a report from a command line; one that is a list may be given several times.

    Args:
        name: The report.
        given: Texts of the form ``NAME=VALUE``.

    Raises:
        NotFoundError: No such report.
        InvalidInputError: Another form, or a parameter twice that isn't a list.
    """
    # With the first use: what parses SQL would make every command start later.
    from mlwarehouse.query.reports import find_report

    lists = {p.name for p in find_report(name).parameters if p.type in LISTS}
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInputError(f"A parameter is written NAME=VALUE, as in metric=val/loss; got `{text}`.")
        if key in lists:
            found.setdefault(key, []).append(value)
        elif key in found:
            raise InvalidInputError(f"Parameter `{key}` of report `{name}` takes one value; two were given.")
        else:
            found[key] = value
    return found


def told(spec: ReportSpec) -> dict[str, Any]:
    """A report as a row of the list: its name, its parameters with their defaults, and what it answers."""
    parameters = [p.name if p.default is None else f"[{p.name}={p.default}]" for p in spec.parameters]
    return {"report": spec.name, "parameters": " ".join(parameters), "purpose": spec.purpose}
