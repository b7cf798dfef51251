"""Describing a dataset by digest, columns and size, without keeping its rows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError, NotFoundError


def describe_dataset(dataset: Any, *, name: str | None, source: str | None) -> dict[str, str | None]:
    """Describe a dataset.

    Args:
        dataset: A pandas, Polars or Arrow table, a NumPy array, or the path of a file.
        name: Its name, or None.
        source: Where it came from, or None.

    Returns:
        The columns ``name``, ``digest`` (16 hexadecimal digits of a SHA-256 over the content), ``source_type``,
        ``source``, ``schema`` (JSON: type by column) and ``profile`` (JSON: ``num_rows`` and the like).

    Raises:
        InvalidInputError: Something else.
        NotFoundError: A path where there is no file.
    """
    if isinstance(dataset, str | Path):
        path = Path(dataset)
        if not path.is_file():
            raise NotFoundError(f"The dataset `{path}` can't be logged: there is no such file.")
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return _described(
            name or path.name,
            digest.hexdigest(),
            "file",
            source or str(path),
            None,
            {"size_bytes": path.stat().st_size},
        )
    kind = type(dataset).__module__.split(".")[0]
    if kind == "pandas" and hasattr(dataset, "dtypes"):
        import pandas as pd

        frame = dataset.to_frame() if isinstance(dataset, pd.Series) else dataset
        content = pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()
        schema = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
        return _table(name, source, content, schema, len(frame))
    if kind in ("pyarrow", "polars"):
        import pyarrow as pa

        table = dataset if isinstance(dataset, pa.Table) else dataset.to_arrow()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return _table(name, source, sink.getvalue(), {f.name: str(f.type) for f in table.schema}, table.num_rows)
    if kind == "numpy":
        import numpy as np

        array = np.ascontiguousarray(dataset)
        schema = {"shape": str(array.shape), "dtype": str(array.dtype)}
        return _table(name, source, array.tobytes(), schema, len(array) if array.ndim else 1)
    raise InvalidInputError(
        f"A dataset of type {type(dataset).__name__} can't be described; pass a pandas, Polars or Arrow table, a NumPy "
        "array, or the path of a file."
    )


def _table(
    name: str | None, source: str | None, content: Any, schema: dict[str, str], n_rows: int
) -> dict[str, str | None]:
    digest = hashlib.sha256(json.dumps(schema, sort_keys=True).encode())
    digest.update(content)
    return _described(name or "dataset", digest.hexdigest(), "local", source, schema, {"num_rows": n_rows})


def _described(
    name: str,
    digest: str,
    source_type: str,
    source: str | None,
    schema: dict[str, str] | None,
    profile: dict[str, int],
) -> dict[str, str | None]:
    return {
        "name": name,
        "digest": digest[:16],
        "source_type": source_type,
        "source": source,
        "schema": None if schema is None else json.dumps(schema),
        "profile": json.dumps(profile),
    }
