"""Rows that a model fails on, found without losing the rows that came with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pyarrow as pa

from mlwarehouse.errors import ModelError, SignatureError

OnError = Literal["raise", "null", "return"]
"""What becomes of a row that the model fails on: the job fails; it has no prediction; and its error stands beside."""

ON_ERROR: tuple[OnError, ...] = ("raise", "null", "return")

_SHOWN_COLUMNS = 5
_SHOWN_CHARACTERS = 40


def predict_around(
    predict: Callable[[pa.Table], pa.Table], rows: pa.Table, on_error: OnError
) -> tuple[list[pa.Table], dict[int, str]]:
    """Predict rows; those that the model fails on are halved until each bad row is alone.

    Of n rows with one bad one the model is called some 2 log2(n) times more. What fails only as a whole, such as for
    lack of memory, is predicted in halves.

    Args:
        predict: Calls the model with some of the rows; one row of outputs for each.
        rows: The rows.
        on_error: What becomes of a bad row.

    Returns:
        The outputs of the good rows, in their order; and the error of each bad row by its place.

    Raises:
        ModelError: A row is bad and `on_error` is ``raise``; it says which.
    """
    good: list[pa.Table] = []
    bad: dict[int, str] = {}
    pending = [(0, rows.num_rows)]
    while pending:
        at, n = pending.pop()
        try:
            good.append(predict(rows.slice(at, n)))
        except (ModelError, SignatureError) as error:
            if n > 1:
                pending += [(at + n // 2, n - n // 2), (at, n // 2)]
            elif on_error == "raise":
                raise ModelError(
                    f"Row {at + 1} of {rows.num_rows} that were given to the model at once is one that it fails on "
                    f"({_shown(rows.slice(at, 1))}): {error}"
                ) from error
            else:
                bad[at] = str(error)
    return good, bad


def _shown(row: pa.Table) -> str:
    texts = []
    for name in row.column_names[:_SHOWN_COLUMNS]:
        text = repr(row.column(name)[0].as_py())
        texts.append(f"`{name}` = {text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''}")
    more = len(row.column_names) - _SHOWN_COLUMNS
    return ", ".join(texts) + (f" and {more} more columns" if more > 0 else "")
