"""PyTorch, imported when a model is saved or loaded and never before."""

from __future__ import annotations

import importlib
from typing import Any

from mlwarehouse.errors import MissingDependencyError


def require_torch() -> Any:
    """The `torch` module.

    Raises:
        MissingDependencyError: PyTorch, or safetensors beside it, isn't installed.
    """
    try:
        import torch

        importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise MissingDependencyError(
            f"Models need PyTorch and safetensors ({error}); install them with `pip install 'mlwarehouse[torch]'`."
        ) from error
    return torch
