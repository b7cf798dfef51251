"""The description of our own API, as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlwarehouse._version import __version__
from mlwarehouse.query.change_kinds import KINDS
from mlwarehouse.server.answers import answer
from mlwarehouse.server.api.bodies import ARROW, CSV, EVENTS, JSON
from mlwarehouse.server.api.problems import MEDIA_TYPE
from mlwarehouse.server.api.score import ScoreOptions, ScoreRequest
from mlwarehouse.server.api.snapshots import SnapshotRequest
from mlwarehouse.server.api.sql import SqlRequest

MODELS: tuple[type[BaseModel], ...] = (SqlRequest, SnapshotRequest, ScoreRequest)
"""The bodies of requests."""

_TEXT, _NUMBER, _YES = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_SNAPSHOT = {
    "type": "object",
    "required": ["snapshot", "taken_at", "versions"],
    "properties": {
        "snapshot": {"type": "string", "description": "Its text: pass it as `at`."},
        "taken_at": {"type": "integer", "description": "Milliseconds since the epoch."},
        "versions": {"type": "object", "additionalProperties": _NUMBER},
        "name": _TEXT,
        "note": {"type": ["string", "null"]},
        "kept_at": _NUMBER,
        "kept_by": _TEXT,
    },
}
_ROWS = {
    "type": "object",
    "required": ["columns", "rows", "is_truncated"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT, "type": _TEXT}}},
        "rows": {"type": "array", "items": {"type": "array"}},
        "is_truncated": _YES,
    },
}
_CHANGES = {
    "type": "object",
    "required": ["changes", "cursor"],
    "properties": {
        "changes": {"type": "array", "items": {"type": "object", "required": ["kind", "event_at", "recorded_at"]}},
        "cursor": {"type": ["string", "null"], "description": "Pass it as `since` for what comes after."},
    },
}
_PREDICTIONS = {
    "type": "object",
    "required": ["model", "n_lacking", "n_failed", "predictions"],
    "properties": {
        "model": {"type": "string", "description": "The model's address, with its version."},
        "n_lacking": {"type": "integer", "description": "Rows that lack a value which the model requires."},
        "n_failed": {"type": "integer", "description": "Rows that the model failed on."},
        "dataset": _TEXT,
        "source_id": _TEXT,
        "n_added": {"type": "integer", "description": "Predictions that were kept."},
        "predictions": {"type": "array", "items": {"type": "object"}},
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "code", "request_id"), _TEXT),
        "status": _NUMBER,
    },
}
_READINESS = {
    "type": "object",
    "required": ["status", "checks"],
    "properties": {"status": {"enum": ["ok", "failing"]}, "checks": {"type": "object", "additionalProperties": _TEXT}},
}
SCHEMAS: dict[str, Any] = {
    "Rows": _ROWS,
    "Snapshot": _SNAPSHOT,
    "Changes": _CHANGES,
    "Predictions": _PREDICTIONS,
    "Problem": _PROBLEM,
    "Readiness": _READINESS,
}
"""The bodies of answers."""


def _body(name: str, *more: str) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {"required": True, "content": content | {kind: {"schema": {}} for kind in more}}


def _found(description: str, name: str = "", *more: str) -> dict[str, Any]:
    if not name:
        return {"description": description}
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {"description": description, "content": content | {kind: {"schema": _TEXT} for kind in more}}


def _query(name: str, description: str, schema: dict[str, Any] = _TEXT, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema, "required": place == "path"}


def _many(*values: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", **({"enum": list(values)} if values else {})}}


_REFUSALS = {
    status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, text in (
        ("400", "What was asked can't be meant; `detail` says what would be right."),
        ("403", "Who asks may not."),
        ("404", "What is named isn't there."),
        ("406", "The answer doesn't come in the form that `Accept` asks for."),
        ("408", "The question was cancelled."),
        ("409", "What is named is there already."),
        ("410", "The past that is named can't be read any more."),
        ("415", "The body is of a kind that isn't read."),
        ("429", "It took more time, memory or room than it may."),
        ("501", "This machine lacks what it takes."),
        ("503", "The warehouse can't be read or written just now; ask again."),
    )
}


def _operation(summary: str, answers: dict[str, Any], refusals: str, **more: Any) -> dict[str, Any]:
    refused = {status: _REFUSALS[status] for status in refusals.split()}
    return {"summary": summary, "responses": {**answers, **refused}, **more}


_NAME = _query("name", "The name that it is kept under.", place="path")

PATHS: dict[str, dict[str, Any]] = {
    "/api/v1/sql": {
        "post": _operation(
            "Answer one SELECT",
            {"200": _found("The rows, as they come.", "Rows", ARROW, CSV)},
            "400 404 406 408 409 410 429 501 503",
            requestBody=_body("SqlRequest"),
        )
    },
    "/api/v1/sql/{query_id}": {
        "delete": _operation(
            "Cancel a question",
            {"204": _found("It ends.")},
            "404",
            parameters=[_query("query_id", "The question's id, from its header `X-Query-Id`.", place="path")],
        )
    },
    "/api/v1/snapshots": {
        "post": _operation(
            "Take a snapshot",
            {"201": _found("It is taken, and kept where that was asked for.", "Snapshot")},
            "400 404 409 410 503",
            requestBody=_body("SnapshotRequest"),
        ),
        "get": _operation(
            "List the kept snapshots",
            {
                "200": {
                    "description": "The kept snapshots, by name.",
                    "content": {
                        JSON: {
                            "schema": {
                                "type": "object",
                                "required": ["snapshots"],
                                "properties": {
                                    "snapshots": {"type": "array", "items": {"$ref": "#/components/schemas/Snapshot"}}
                                },
                            }
                        }
                    },
                }
            },
            "503",
        ),
    },
    "/api/v1/snapshots/{name}": {
        "get": _operation(
            "Tell of a kept snapshot", {"200": _found("The snapshot.", "Snapshot")}, "404 503", parameters=[_NAME]
        ),
        "delete": _operation(
            "Release a kept snapshot", {"204": _found("It is released.")}, "400 404 503", parameters=[_NAME]
        ),
    },
    "/api/v1/changes": {
        "get": _operation(
            "Tell what happened",
            {
                "200": _found(
                    "A page of changes; or events that go on, each with the cursor as its id.", "Changes", EVENTS
                )
            },
            "400 404 406 410 429 503",
            parameters=[
                _query("since", "A cursor, a snapshot's text or name, or a moment; without it everything is told."),
                _query("until", "A snapshot's text or name, or a moment; not with events."),
                _query("kind", "Only these kinds of change.", _many(*(kind.name for kind in KINDS))),
                _query("experiment", "Only changes of these experiments.", _many()),
                _query("best", "A metric whose new bests are told, as in `val/loss:min`.", _many()),
                _query("Last-Event-ID", "The id of the last event seen: goes before `since`.", place="header"),
            ],
        )
    },
    "/api/v1/score": {
        "post": _operation(
            "Score rows with a model",
            {"200": _found("The predictions, in the order of the rows.", "Predictions", ARROW)},
            "400 404 406 409 415 503",
            parameters=[
                _query(
                    name, f"With rows in Arrow: {(field.description or '')[:1].lower()}{(field.description or '')[1:]}"
                )
                for name, field in ScoreOptions.model_fields.items()
            ],
            requestBody=_body("ScoreRequest", ARROW),
        )
    },
    "/api/v1/openapi.json": {"get": _operation("This description", {"200": _found("OpenAPI.")}, "")},
    "/healthz": {"get": _operation("Whether the server lives", {"200": _found("It does.")}, "")},
    "/readyz": {
        "get": _operation(
            "Whether the warehouse can be read, logged to and committed to",
            {"200": _found("It can.", "Readiness"), "503": _found("It can't; `checks` says why.", "Readiness")},
            "",
        )
    },
    "/metrics": {"get": _operation("Measures for Prometheus", {"200": _found("Prometheus' text format.")}, "")},
}
"""What can be asked, by path and method."""


def description() -> dict[str, Any]:
    """The whole description."""
    _, made = models_json_schema(
        [(model, "validation") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlwarehouse",
            "version": __version__,
            "description": "Questions in SQL, snapshots, changes and predictions of an experiment warehouse.",
        },
        "paths": PATHS,
        "components": {"schemas": {**made["$defs"], **SCHEMAS}},
    }


async def _describe(request: Request) -> Response:
    del request
    return answer(description())


ROUTES: tuple[Route, ...] = (Route("/api/v1/openapi.json", _describe, methods=["GET"]),)
"""The address of the description."""
