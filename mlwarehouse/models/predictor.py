"""Predictions of a loaded model: a frame in, a frame out, whatever the model is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, WarehouseError
from mlwarehouse.models.columns import column_array
from mlwarehouse.models.frames import as_frame, conform, empty_outputs, output_frame
from mlwarehouse.models.signature import Signature
from mlwarehouse.models.torch_calling import call_with_array, has_predict, predict_by_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    ) -> None:
        """Wrap a loaded model; `load_predictor` does it for a package, with its flavor's way to call it."""
        self.model = model
        self.signature = signature
        self.digest = digest
        self._predict = predict

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict one row for each row.

        How the model is called is its flavor's matter: a model with a method ``predict(self, frame)`` gets the frame,
        a PyTorch module without one a tensor of the columns.

        Args:
            frame: The columns of the signature, further ones ignored; all of them when there is no signature.

        Returns:
            The output columns: those of the signature; without one, ``prediction`` or ``output_0``, ``output_1``, ...
            The index is the frame's.

        Raises:
            SignatureError: A column is missing or of the wrong type.
            ModelError: The model failed, or returned something that isn't one row for each row.
        """
        given = as_frame(frame) if self.signature is None else conform(frame, self.signature)
        outputs = self.signature.outputs if self.signature is not None else ()
        if len(given) == 0 and outputs:
            return empty_outputs(given.index, outputs)
        result = self._asked(lambda: self._predict(self.model, given), list(given.columns))
        return output_frame(result, given.index, outputs)

    def predict_table(self, rows: pa.Table) -> pd.DataFrame:
        """The same for Arrow's rows, without a frame between where the model takes a tensor of plain columns.

        Args:
            rows: As for `predict`.

        Returns:
            As `predict`.

        Raises:
            SignatureError: As `predict`.
            ModelError: As `predict`.
        """
        import pandas as pd

        is_plain = self._predict is predict_by_torch and not has_predict(self.model)
        array = column_array(rows, self.signature) if is_plain and rows.num_rows else None
        if array is None or self.signature is None:
            return self.predict(rows.to_pandas())
        names = [f.name for f in self.signature.inputs]
        result = self._asked(lambda: call_with_array(self.model, array, names), names)
        return output_frame(result, pd.RangeIndex(rows.num_rows), self.signature.outputs)

    def _asked(self, ask: Callable[[], Any], names: Sequence[str]) -> Any:
        try:
            return ask()
        except WarehouseError:
            raise
        except Exception as error:
            told = ", ".join(f"`{name}`" for name in names[:10])
            raise ModelError(
                f"The model {type(self.model).__qualname__} failed on a frame with the columns {told}: "
                f"{' '.join(str(error).split())}"
            ) from error
