"""Scoring a table of 32 floats without Spark, beside Parquet read + bare PyTorch, which keeps nothing.

Full size is 2 M rows; ``--scale 10`` scores 20 M.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.stores import VARIABLE

if TYPE_CHECKING:
    import numpy as np

FEATURES = [f"x{i}" for i in range(32)]
BATCH_ROWS = 65_536
ROW_GROUP_ROWS = 2 * BATCH_ROWS


def network() -> Any:
    """The small network, the same in each process."""
    from benchmarks.scoring_network import Network

    return Network().layers.eval()


def table(n: int) -> Path:
    """A Parquet file of `n` rows, made once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(os.environ[VARIABLE]) / f"rows-{n}.parquet"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    schema = pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in FEATURES)])
    with pq.ParquetWriter(path.with_suffix(".part"), schema) as writer:
        for at in range(0, n, ROW_GROUP_ROWS):
            size = min(ROW_GROUP_ROWS, n - at)
            columns = [rng.standard_normal(size, dtype=np.float32) for _ in FEATURES]
            writer.write_table(pa.table([pa.array(range(at, at + size)), *columns], schema=schema))
    path.with_suffix(".part").rename(path)
    return path


def digest(values: np.ndarray[Any, Any]) -> tuple[int, str]:
    """Predictions in the order of rows, to the last bit of what the network gives."""
    import numpy as np

    return len(values), hashlib.sha256(values.astype(np.float32).tobytes()).hexdigest()[:16]


def predict_bare(path: Path) -> np.ndarray[Any, Any]:
    """Read Parquet, call the network, keep what it says in memory."""
    import numpy as np
    import pyarrow.parquet as pq
    import torch

    model, found = network(), []
    with torch.inference_mode():
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=FEATURES):
            columns = np.stack([batch.column(i).to_numpy() for i in range(len(FEATURES))])
            found.append(model(torch.from_numpy(columns.T)).numpy()[:, 0])
    return np.concatenate(found)


@functools.cache
def expected(n: int) -> tuple[int, str]:
    """The answer."""
    return digest(predict_bare(table(n)))


def bare(_: Path, n: int) -> Measured:
    """Parquet read + bare PyTorch."""
    path = table(n)
    predict_bare(table(100))
    begun = time.perf_counter()
    values = predict_bare(path)
    return Measured(n / (time.perf_counter() - begun) / 1e6, digest(values))


def ours(place: Path, n: int) -> Measured:
    """`score` of the file: predictions as rows, durable."""
    import pandas as pd

    import mlwarehouse as mlw
    from benchmarks.scoring_network import Network

    path, few = table(n), table(100)
    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, committer="off")
    with mlw.start_run(experiment="bench"):
        example = pd.read_parquet(few, columns=FEATURES).head(2)
        uri = mlw.log_model(Network().eval(), input_example=example).model_uri
    mlw.score(few, uri, key="id", dataset="warm")
    begun = time.perf_counter()
    scored = mlw.score(path, uri, key="id", dataset="bench")
    seconds = time.perf_counter() - begun
    found = mlw.sql("SELECT value FROM predictions WHERE dataset = 'bench' ORDER BY writer_seq", output_format="arrow")
    size = sum(f.stat().st_size for f in (warehouse.root / "tables" / "predictions").glob("*.parquet"))
    warehouse.close()
    return Measured(n / seconds / 1e6, digest(found["value"].to_numpy()), extra={"bytes a row": size / scored.n_rows})


BENCHMARK = Benchmark(
    name="scoring",
    what="score 32 floats a row with a small network, from Parquet",
    unit="M rows/s",
    is_better_low=False,
    us=Side("mlwarehouse `score`, predictions kept as rows", ours, 2_000_000),
    others=(Side("Parquet read + bare PyTorch, nothing kept", bare, 2_000_000),),
    bar=Bar("≥ 70 % of bare", lambda value, best: value >= 0.7 * best),
    expected=expected,
)
