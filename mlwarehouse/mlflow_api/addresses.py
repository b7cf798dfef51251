"""Which call of MLflow's API an address means."""

from __future__ import annotations

import re

from mlwarehouse.mlflow_api.calls import CALLS, Call

_PREFIX = re.compile(r"/(?:ajax-)?api/[23]\.0/(?:preview/)?mlflow/(?P<path>.*)")
_BY_PLACE = {(call.method, call.path): call for call in CALLS}
_WITH_NAMES = tuple((re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", c.path)), c) for c in CALLS if "{" in c.path)


def call_path(address: str) -> str | None:
    """What stands behind MLflow's prefix in the path of an address; None where there is no such prefix."""
    match = _PREFIX.fullmatch(address)
    return match["path"] if match else None


def find_call(method: str, path: str) -> tuple[Call, dict[str, str]] | None:
    """The call of a method and path, with what its path says; None where there is none."""
    if (method, path) in _BY_PLACE:
        return _BY_PLACE[method, path], {}
    for pattern, call in _WITH_NAMES:
        match = pattern.fullmatch(path) if call.method == method else None
        if match:
            return call, match.groupdict()
    return None


def methods_of(path: str) -> list[str]:
    """The methods that a path is asked by."""
    return [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if find_call(method, path)]
