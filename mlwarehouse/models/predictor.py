"""Predictions of a loaded model: a frame in, a frame out, whatever the model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, WarehouseError
from mlwarehouse.models.frames import as_frame, conform, empty_outputs, output_frame
from mlwarehouse.models.signature import Field, Signature
from mlwarehouse.models.torch_calling import predict_by_torch

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class Predictor:
    """A model ready to predict.

    Attributes:
        model: The native object.
        signature: The columns it takes and gives, or None.
        digest: The digest of its package.
    """

    def __init__(
        self,
        model: Any,
        signature: Signature | None,
        digest: str,
        predict: Callable[[Any, pd.DataFrame], Any] = predict_by_torch,
        predict_array: Callable[[Any, np.ndarray[Any, Any], Sequence[str]], Any] | None = None,
    ) -> None:
        """Wrap a loaded model; `load_predictor` does it for a package, with its flavor's ways to call it."""
        self.model = model
        self.signature = signature
        self.digest = digest
        self._predict = predict
        self._predict_array = predict_array

    def predict(self, frame: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
        """Predict one row for each row.

        How the model is called is its flavor's matter: a model with a method ``predict(self, frame)`` gets the frame,
        a PyTorch module without one a tensor of the columns.

        Args:
            frame: The columns of the signature, further ones ignored; all of them when there is no signature. A
                mapping of columns or arrays is one too.

        Returns:
            The output columns: those of the signature; without one, ``prediction`` or ``output_0``, ``output_1``, ...
            The index is the frame's.

        Raises:
            SignatureError: A column is missing or of the wrong type.
            ModelError: The model failed, or returned something that isn't one row for each row.
        """
        if self.signature is None:
            given = as_frame(frame)
        elif isinstance(frame, Mapping):
            # MLflow gives arrays by name where the signature is one of tensors.
            given = conform(as_frame(frame), self.signature)
        else:
            given = conform(frame, self.signature)
        outputs = self._outputs
        if len(given) == 0 and outputs:
            return empty_outputs(given.index, outputs)
        result = self._asked(lambda: self._predict(self.model, given), list(given.columns))
        return output_frame(result, given.index, outputs)

    def predict_rows(self, rows: pa.Table) -> pa.Table:
        """Predict Arrow rows; a model that takes one array gets it without a frame between, with the same result.

        Args:
            rows: As for `predict`.

        Returns:
            The output columns, as for `predict`.

        Raises:
            SignatureError: A column is missing or of the wrong type.
            ModelError: The model failed, or returned something that isn't one row for each row.
        """
        from mlwarehouse.models.arrow_rows import array_of, frame_of, table_of, table_of_frame

        by_array = self._predict_array
        if by_array is not None and self.signature is not None and rows.num_rows:
            array = array_of(rows, self.signature)
            if array is not None:
                names = [f.name for f in self.signature.inputs]
                return table_of(
                    self._asked(lambda: by_array(self.model, array, names), names), rows.num_rows, self._outputs
                )
        return table_of_frame(self.predict(frame_of(rows)), self._outputs)

    @property
    def _outputs(self) -> tuple[Field, ...]:
        return self.signature.outputs if self.signature is not None else ()

    def _asked(self, ask: Callable[[], Any], columns: Sequence[str]) -> Any:
        try:
            return ask()
        except WarehouseError:
            raise
        except Exception as error:
            names = ", ".join(f"`{name}`" for name in columns[:10])
            raise ModelError(
                f"The model {type(self.model).__qualname__} failed on a frame with the columns {names}: "
                f"{' '.join(str(error).split())}"
            ) from error
