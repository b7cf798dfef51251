"""What is answered, in OpenAPI's words: made from the same tables that answer it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlwarehouse._version import __version__
from mlwarehouse.access import Need
from mlwarehouse.mlflow_api import CALLS, Call
from mlwarehouse.mlflow_api.messages import Field
from mlwarehouse.server.answers import answer

PREFIX = "/api/2.0/mlflow/"
"""Under which MLflow's clients write calls; see `mlwarehouse.mlflow_api.addresses` for the others."""

KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "word": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "float": {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]},
    "bool": {"type": "boolean"},
    "object": {"type": "object"},
}
"""The schema of each kind of field."""

REFUSED = {
    "description": "Why it isn't done.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
DONE = {"description": "What was asked for.", "content": {"application/json": {"schema": {"type": "object"}}}}


def document() -> dict[str, Any]:
    """The calls of MLflow's API that are answered, as an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(PREFIX + call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlwarehouse",
            "version": __version__,
            "description": "MLflow's tracking and registry API over a warehouse.",
        },
        "security": [{"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error_code", "message"],
                    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
                }
            },
        },
    }


def _operation(call: Call) -> dict[str, Any]:
    in_path = re.findall(r"\{(\w+)\}", call.path)
    words = re.sub(r"\W+", "-", call.path).strip("-")
    rest = [field for field in call.fields if field.name not in in_path]
    found: dict[str, Any] = {
        "operationId": f"{call.method.lower()}-{words}",
        "tags": [call.path.partition("/")[0]],
        "summary": (call.handle.__doc__ or "").partition("\n")[0],
        "description": _said(call.needs),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in in_path
        ],
        "responses": {"200": DONE, "default": REFUSED},
    }
    if call.method == "GET":
        found["parameters"] += [
            {"name": field.name, "in": "query", "required": field.required, "schema": _schema(field)} for field in rest
        ]
    else:
        found["requestBody"] = {"content": {"application/json": {"schema": _object(rest)}}}
    return found


def _said(needs: Sequence[Need]) -> str:
    said = ", and ".join(f"the role {n.role} on {f'what `{n.field}` names' if n.field else n.on}" for n in needs)
    return f"Takes {said}."


def _object(fields: Sequence[Field]) -> dict[str, Any]:
    required = [field.name for field in fields if field.required]
    return {
        "type": "object",
        "properties": {field.name: _schema(field) for field in fields},
        **({"required": required} if required else {}),
    }


def _schema(field: Field) -> dict[str, Any]:
    one = _object(field.of) if field.of else dict(KINDS[field.kind])
    if field.kind == "int":
        one["maximum"] = field.most if field.most is not None else 2**63 - 1
        one["minimum"] = -(2**63)
    if field.kind == "text" and field.required and not field.many:
        one["minLength"] = 1
    return {"type": "array", "items": one} if field.many else one


async def _document(request: Request) -> Response:
    del request
    return answer(document())


ROUTES: tuple[Route, ...] = (Route("/openapi.json", _document, methods=["GET"]),)
"""The address of the document."""
