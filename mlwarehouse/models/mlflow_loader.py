"""What MLflow calls to load our packages: the ``loader_module`` of their ``python_function`` flavor."""

from __future__ import annotations

from mlwarehouse.models.loading import load_predictor
from mlwarehouse.models.predictor import Predictor


def _load_pyfunc(path: str) -> Predictor:
    """Load a package's model for ``mlflow.pyfunc``; its files are checked and nothing is unpickled."""
    return load_predictor(path)
