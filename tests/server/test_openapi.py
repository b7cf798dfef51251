"""Our OpenAPI document is one, and nothing that fits it, or doesn't, is answered as a fault of the server."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from mlwarehouse.mlflow_api import CALLS
from mlwarehouse.server.openapi import PREFIX, document

from .guarded import Guarded, guarded

EXAMPLES = 200 if os.environ.get("MLWAREHOUSE_SOAK") else 1
"""Of each call, of what fits the document, and of what doesn't."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("openapi") / "wh") as found:
        yield found


@pytest.fixture(scope="module")
def schema(server: Guarded) -> Any:
    """The document, in which names may also be those of what there is."""
    made = server.done("root", "POST", "experiments/create", {"name": "there"})["experiment_id"]
    run = server.done("root", "POST", "runs/create", {"experiment_id": made})["run"]["info"]["run_id"]
    logged = server.done("root", "POST", "logged-models", {"experiment_id": made, "source_run_id": run})
    server.done("root", "POST", "registered-models/create", {"name": "model"})
    server.done("root", "POST", "model-versions/create", {"name": "model", "source": f"runs:/{run}/model"})
    there = {
        "experiment_id": made,
        "run_id": run,
        "model_id": logged["model"]["info"]["model_id"],
        "name": "model",
        "version": "1",
    }
    found = copy.deepcopy(server.done("root", "GET", "/openapi.json"))
    for operations in found["paths"].values():
        for operation in operations.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            named = {p["name"]: p["schema"] for p in operation["parameters"]} | body.get("properties", {})
            for name, value in there.items():
                if named.get(name, {}).get("type") == "string":
                    was = dict(named[name])
                    named[name].clear()
                    named[name]["anyOf"] = [{"enum": [value]}, was]
    return schemathesis.openapi.from_dict(found)


def test_the_document_has_every_call_and_is_valid(schema: Any) -> None:
    schema.validate()
    told = {(m.upper(), path) for path, operations in document()["paths"].items() for m in operations}
    assert told == {(call.method, PREFIX + call.path) for call in CALLS}


OPERATIONS = [f"{call.method} {PREFIX}{call.path}" for call in CALLS]


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_that_is_asked_is_the_servers_fault(server: Guarded, schema: Any, label: str) -> None:
    operation = schema.find_operation_by_label(label)
    kinds = [operation.as_strategy(mode) for mode in GenerationMode]

    @settings(
        max_examples=EXAMPLES * 2,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize="MLWAREHOUSE_SOAK" not in os.environ,
    )
    @given(st.one_of(*kinds))
    def check(case: Case) -> None:
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1")
        sent["headers"] = {**dict(sent.get("headers") or {}), "Authorization": f"Bearer {server.tokens['root']}"}
        sent = {k: v for k, v in sent.items() if k in ("method", "url", "params", "json", "headers") and v is not None}
        if "json" not in sent and isinstance(case.body, str | bytes):
            sent["content"] = case.body
        answer = server.client.request(**sent)
        assert answer.status_code < 500 or (answer.status_code == 501 and answer.json()["error_code"]), (
            sent,
            answer.text,
        )

    check()
