"""Making a call of MLflow's API for whoever asks: what each way to it has in common."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from mlwarehouse.access import acting
from mlwarehouse.mlflow_api import Call, MlflowStore
from mlwarehouse.server.admission import admit, changes


def answered(request: Request, call: Call, body: Any) -> dict[str, Any]:
    """Make a call, if whoever asks may.

    Args:
        request: The request; what the call needs was said of it by `require`.
        call: The call.
        body: What it is given, as it came.

    Returns:
        The body of the answer.

    Raises:
        WarehouseError: It can't be answered, or they may not ask it.
    """
    store: MlflowStore = request.app.state.store
    asked = call.read(body)
    admit(request, asked, action=f"{call.method} {call.path}")
    told = call.handle(store, asked)
    if changes(call.needs) and acting() is not None:
        # What changes the registry is committed by itself, and then the row of `audit` about it isn't on disk yet.
        store.recorder.make_durable()
    return told
