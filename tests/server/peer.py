"""MLflow's own server, its real handlers over a real SQLite file, asked in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


class Peer:
    """Asks as `serving.Server` does."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Make a store in a folder."""
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        from mlflow.server import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR, app, handlers

        patch.setenv(BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{folder}/mlflow.db")
        patch.setenv(ARTIFACT_ROOT_ENV_VAR, "mlflow-artifacts:/")
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        patch.setattr(handlers, "_tracking_store", None)
        self._client = app.test_client()

    def ask(self, method: str, path: str, body: Any = None, **arguments: Any) -> tuple[int, Any]:
        """The status and the decoded answer of a call."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self._client.open(
            f"/api/2.0/mlflow/{path}",
            method=method,
            data=data,
            query_string=arguments,
            content_type=None if data is None else "application/json",
        )
        text = answer.get_data(as_text=True)
        return answer.status_code, json.loads(text) if text.startswith("{") else text
