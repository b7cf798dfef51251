"""What MLflow's web page asks of features that aren't here: it is told that there is nothing of it, and shows that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHINGS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("GET", "3.0/mlflow/server-info"): {
        "store_type": None,
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "features_enabled": {"gateway": False},
    },
    # Nothing of what somebody does here is told to anybody else.
    ("GET", "3.0/mlflow/ui-telemetry"): {
        "disable_ui_telemetry": True,
        "disable_ui_events": [],
        "ui_rollout_percentage": 0,
    },
    ("POST", "3.0/mlflow/ui-telemetry"): {"status": "disabled"},
    ("GET", "2.0/mlflow/gateway-proxy"): {"endpoints": []},
    ("POST", "3.0/mlflow/traces/search"): {"traces": []},
}
"""The answers, by method and by path behind ``/ajax-api/``; MLflow's clients ask elsewhere, and are told the truth."""
