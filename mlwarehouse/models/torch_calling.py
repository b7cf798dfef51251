"""Calling PyTorch's models with frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, WarehouseError
from mlwarehouse.models.frames import input_array
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    import pandas as pd


def predict_by_torch(model: Any, frame: pd.DataFrame) -> Any:
    """Call a module without gradients: its method ``predict(frame)``, or else the module with one tensor.

    The tensor is the columns stacked to float32 [rows, columns], or the lists of a single column stacked.

    Raises:
        SignatureError: The columns don't make one tensor.
        ModelError: The model failed.
    """
    torch = require_torch()
    with torch.inference_mode():
        if _has_predict(model):
            return model.predict(frame)
        tensor = torch.from_numpy(input_array(frame))
        weights = next((p for p in model.parameters() if p.is_floating_point()), None)
        if weights is not None:
            # A model in half precision, or on another device, takes only its own kind.
            tensor = tensor.to(weights.device, weights.dtype if tensor.is_floating_point() else None)
        try:
            return model(tensor)
        except WarehouseError:
            raise
        except Exception as error:
            raise ModelError(
                f"The model {type(model).__qualname__} failed on a tensor of shape {list(tensor.shape)}, made of "
                f"{_columns(frame)}: {' '.join(str(error).split())}"
            ) from error


def _has_predict(model: Any) -> bool:
    """Whether a model predicts from frames itself; scripts and exported graphs know nothing of frames."""
    torch = require_torch()
    if isinstance(model, torch.jit.ScriptModule | torch.fx.GraphModule):
        return False
    return callable(getattr(model, "predict", None))


def _columns(frame: pd.DataFrame) -> str:
    names = [f"`{name}`" for name in frame.columns]
    if len(names) == 1:
        return f"column {names[0]}"
    return f"columns {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
