"""Columns of Arrow as one array each."""

from __future__ import annotations

import pyarrow as pa


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; nothing is copied where it is one already.

    Args:
        column: The column, in any number of chunks.

    Raises:
        pyarrow.ArrowInvalid: Text of more than 2 GiB in one column whose offsets have 32 bits.
    """
    # Not by combining alone: that copies, also where there is nothing to combine.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
