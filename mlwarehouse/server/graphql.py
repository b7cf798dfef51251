"""The few questions that MLflow's web page asks in GraphQL, answered by the calls that say the same over REST.

This is no GraphQL engine: a document is read for the one field that it asks for and what it wants of it. Numbers that
may have 64 bits are text, as in MLflow's schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlwarehouse.errors import InvalidInputError

Selection = dict[str, "Selection"]
"""The fields that are wanted, each with those wanted of it."""

Ask = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]
"""Makes a call of MLflow's API, by method and path, for whoever asks."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\.\.\.|[A-Za-z_]\w*|-?\d+(?:\.\d+)?|[^\s,]')
_DEEPEST = 20
_LONGEST = 20_000

LISTS = frozenset(
    {"tags", "metrics", "params", "datasetInputs", "modelInputs", "modelOutputs", "modelVersions", "runs", "aliases"}
)
"""Fields that are lists: where a call leaves an empty one out, it is one."""

GROUPS = frozenset({"info", "data", "inputs", "outputs"})
"""Fields that are objects: where a call leaves an empty one out, it is one."""


@dataclass(frozen=True)
class Wanted:
    """What a document asks.

    Attributes:
        field: The field of the query, such as ``mlflowGetRun``.
        selection: What is wanted of it.
    """

    field: str
    selection: Selection


def read_document(text: str) -> Wanted:
    """Read a document.

    Raises:
        InvalidInputError: It isn't one query for one field, or has what such pages don't write.
    """
    if len(text) > _LONGEST:
        raise InvalidInputError(f"The document has {len(text)} characters, and {_LONGEST} are read.")
    tokens = _TOKEN.findall(text)
    tokens.reverse()
    if tokens and tokens[-1] == "query":
        tokens.pop()
        if tokens and tokens[-1].isidentifier():
            tokens.pop()
        _skip(tokens)
    fields = _read_selection(tokens, 0)
    fields.pop("__typename", None)
    if len(fields) != 1 or tokens:
        raise InvalidInputError("A document asks for one field by one query.")
    [(field, selection)] = fields.items()
    return Wanted(field, selection)


def _read_selection(tokens: list[str], depth: int) -> Selection:
    if depth > _DEEPEST:
        raise InvalidInputError(f"The document is nested more than {_DEEPEST} deep.")
    if not tokens or tokens.pop() != "{":
        raise InvalidInputError("The document lacks a selection of fields.")
    found: Selection = {}
    while tokens:
        token = tokens.pop()
        if token == "}":
            return found
        if not token.isidentifier():
            raise InvalidInputError(f"The document has `{token[:20]}` in place of a field; fragments aren't read.")
        if tokens and tokens[-1] == ":":
            raise InvalidInputError("Aliases of fields aren't read.")
        _skip(tokens)
        found[token] = _read_selection(tokens, depth + 1) if tokens and tokens[-1] == "{" else {}
    raise InvalidInputError("The document ends in the middle.")


def _skip(tokens: list[str]) -> None:
    """Pass over arguments and directives."""
    while tokens and tokens[-1] in ("(", "@"):
        if tokens.pop() == "@":
            if tokens:
                tokens.pop()
            continue
        depth = 1
        while tokens and depth:
            depth += {"(": 1, ")": -1}.get(tokens.pop(), 0)


def answer_document(body: Any, ask: Ask) -> dict[str, Any]:
    """Answer a request.

    Args:
        body: The request: ``query``, the document, and ``variables``.
        ask: Makes the calls.

    Returns:
        ``data``, with what was wanted.

    Raises:
        InvalidInputError: It can't be read, or asks what isn't answered.
        WarehouseError: As the call.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("query"), str):
        raise InvalidInputError("The body is JSON with `query`, a document in GraphQL.")
    wanted = read_document(body["query"])
    if wanted.field not in FIELDS:
        raise InvalidInputError(f"`{wanted.field}` isn't asked in GraphQL here; {', '.join(FIELDS)} are.")
    variables = body.get("variables")
    given = list(variables.values()) if isinstance(variables, Mapping) else []
    if len(given) > 1 or not all(isinstance(value, Mapping) for value in given):
        raise InvalidInputError("The document has one variable, an object.")
    told = FIELDS[wanted.field](ask, given[0] if given else {}, wanted.selection)
    return {"data": {wanted.field: _projected(told, wanted.selection)}}


def _experiment(ask: Ask, given: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    del selection
    return ask("GET", "experiments/get", given)


def _run(ask: Ask, given: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    run = ask("GET", "runs/get", given)["run"]
    return {"run": {**run, **_around(ask, run, selection.get("run", {}))}}


def _runs(ask: Ask, given: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    told = ask("POST", "runs/search", given)
    runs = [{**run, **_around(ask, run, selection.get("runs", {}))} for run in told.get("runs", [])]
    return {**told, "runs": runs}


def _around(ask: Ask, run: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """What is wanted of a run that isn't the run's own."""
    found: dict[str, Any] = {}
    info = run["info"]
    if "experiment" in selection:
        found["experiment"] = ask("GET", "experiments/get", {"experiment_id": info["experiment_id"]})["experiment"]
    if "modelVersions" in selection:
        asked = {"filter": f"run_id = '{info['run_id']}'"}
        found["model_versions"] = ask("GET", "model-versions/search", asked).get("model_versions", [])
    return found


def _history(ask: Ask, given: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    del selection
    return ask("GET", "metrics/get-history-bulk-interval", given)


FIELDS: Mapping[str, Callable[[Ask, Mapping[str, Any], Selection], dict[str, Any]]] = {
    "mlflowGetExperiment": _experiment,
    "mlflowGetRun": _run,
    "mlflowSearchRuns": _runs,
    "mlflowGetMetricHistoryBulkInterval": _history,
}
"""What the page of the release that is served asks."""


def _projected(value: Any, selection: Selection, kind: str = "") -> Any:
    """What is wanted of a value, under the names that GraphQL has for it."""
    if isinstance(value, list):
        return [_projected(entry, selection, kind) for entry in value]
    if isinstance(value, Mapping):
        named = {_camel(name): inner for name, inner in value.items()}
        found: dict[str, Any] = {}
        for field, inner in selection.items():
            if field == "__typename":
                found[field] = f"Mlflow{kind[:1].upper()}{kind[1:]}"
                continue
            empty: Any = [] if field in LISTS else {} if field in GROUPS else None
            found[field] = _projected(named.get(field, empty), inner, field)
        if kind == "metrics" and isinstance(found.get("value"), str):
            # NaN and the infinities, which REST has as text, and GraphQL has no number for.
            found["value"] = None
        return found
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
