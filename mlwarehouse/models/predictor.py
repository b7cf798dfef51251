"""Predictions of a loaded model: a frame in, a frame out, whatever the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, WarehouseError
from mlwarehouse.models.frames import as_frame, conform, empty_outputs, input_array, output_frame
from mlwarehouse.models.signature import Signature
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    import pandas as pd


class Predictor:
    """A model ready to predict.

    Attributes:
        model: The native object.
        signature: The columns it takes and gives, or None.
        digest: The digest of its package.
    """

    def __init__(self, model: Any, signature: Signature | None, digest: str) -> None:
        """Wrap a loaded model; `load_predictor` does it for a package."""
        self.model = model
        self.signature = signature
        self.digest = digest
        self._has_predict = _has_predict(model)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict one row for each row.

        A model with a method ``predict(self, frame)`` gets the frame. Any other is called with one tensor: the
        columns stacked to float32 [rows, columns], or the lists of a single column stacked.

        Args:
            frame: The columns of the signature, further ones ignored; all of them when there is no signature.

        Returns:
            The output columns: those of the signature; without one, ``prediction`` or ``output_0``, ``output_1``, ...
            The index is the frame's.

        Raises:
            SignatureError: A column is missing or of the wrong type.
            ModelError: The model failed, or returned something that isn't one row for each row.
        """
        torch = require_torch()
        given = as_frame(frame) if self.signature is None else conform(frame, self.signature)
        outputs = self.signature.outputs if self.signature is not None else ()
        if len(given) == 0 and outputs:
            return empty_outputs(given.index, outputs)
        with torch.inference_mode():
            if self._has_predict:
                result = self._guarded(self.model.predict, given)
            else:
                result = self._guarded(self.model, self._tensor(given))
        return output_frame(result, given.index, outputs)

    def _tensor(self, frame: pd.DataFrame) -> Any:
        torch = require_torch()
        tensor = torch.from_numpy(input_array(frame))
        weights = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        if weights is not None:
            # A model in half precision, or on another device, takes only its own kind.
            tensor = tensor.to(weights.device, weights.dtype if tensor.is_floating_point() else None)
        return tensor

    def _guarded(self, function: Any, argument: Any) -> Any:
        try:
            return function(argument)
        except WarehouseError:
            raise
        except Exception as error:
            what = f"a tensor of shape {list(argument.shape)}" if hasattr(argument, "detach") else "a frame"
            raise ModelError(
                f"The model {type(self.model).__qualname__} failed on {what}: {' '.join(str(error).split())}"
            ) from error


def _has_predict(model: Any) -> bool:
    """Whether a model predicts from frames itself; scripts and exported graphs know nothing of frames."""
    torch = require_torch()
    if isinstance(model, torch.jit.ScriptModule | torch.fx.GraphModule):
        return False
    return callable(getattr(model, "predict", None))
