"""Calling PyTorch's models with frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, WarehouseError
from mlwarehouse.models.frames import input_array
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def predict_by_torch(model: Any, frame: pd.DataFrame) -> Any:
    """Call a module without gradients: its method ``predict(frame)``, or else the module with one tensor.

    The tensor is the columns stacked to float32 [rows, columns], or the lists of a single column stacked.

    Raises:
        SignatureError: The columns don't make one tensor.
        ModelError: The model failed.
    """
    torch = require_torch()
    if takes_tensor(model):
        return predict_tensor(model, input_array(frame), list(frame.columns))
    with torch.inference_mode():
        return model.predict(frame)


def predict_tensor(model: Any, array: np.ndarray[Any, Any], names: Sequence[str]) -> Any:
    """Call a module with one tensor, without gradients.

    Args:
        model: A module that `takes_tensor`.
        array: What `input_array` makes.
        names: The columns that it was made of, for what an error says.

    Raises:
        ModelError: The model failed.
    """
    torch = require_torch()
    if not array.flags.writeable:
        array = array.copy()  # memory of Arrow's, which a model that computes in place must not change
    with torch.inference_mode():
        tensor = torch.from_numpy(array)
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
                f"{_columns(names)}: {' '.join(str(error).split())}"
            ) from error


def takes_tensor(model: Any) -> bool:
    """Whether a model is called with a tensor, and doesn't predict from frames itself.

    Scripts and exported graphs know nothing of frames.
    """
    torch = require_torch()
    if isinstance(model, torch.jit.ScriptModule | torch.fx.GraphModule):
        return True
    return not callable(getattr(model, "predict", None))


def _columns(given: Sequence[str]) -> str:
    names = [f"`{name}`" for name in given]
    if len(names) == 1:
        return f"column {names[0]}"
    return f"columns {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
