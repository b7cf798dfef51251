"""MLflow's tracking contract over a warehouse: what each call of its REST API means, without any HTTP.

The server and MLflow's plug-ins both make these calls: see `mlwarehouse.mlflow_api.calls.CALLS` for all there are.
"""

from mlwarehouse.mlflow_api.addresses import call_path, find_call, methods_of
from mlwarehouse.mlflow_api.calls import CALLS, Call
from mlwarehouse.mlflow_api.store import MlflowStore

__all__ = ["CALLS", "Call", "MlflowStore", "call_path", "find_call", "methods_of"]
