"""What stands in the data files that a commit writes."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlwarehouse.engines.embedded_commit import stage

RUNS = 6000
POINTS = 10


def test_a_text_of_many_values_is_not_in_row_groups_that_lack_it(tmp_path):
    ids = pa.array([hashlib.md5(str(n).encode(), usedforsecurity=False).hexdigest() for n in range(RUNS)])
    runs = np.repeat(np.arange(RUNS, dtype=np.int32), POINTS)
    keys = np.tile(np.arange(POINTS, dtype=np.int32), RUNS)
    rows = pa.table(
        {
            "run_id": pa.DictionaryArray.from_arrays(pa.array(runs), ids),
            "key": pa.DictionaryArray.from_arrays(pa.array(keys), pa.array([f"m{n}" for n in range(POINTS)])),
        }
    )
    written = stage(tmp_path, rows, row_group_rows=RUNS)
    file = pq.ParquetFile(tmp_path / written.path)
    assert file.num_row_groups == POINTS
    chunks = [file.metadata.row_group(n).column(0) for n in range(POINTS)]
    # Each group has a tenth of the ids, 32 letters each, and the same again for how long they are and where they stand.
    assert max(chunk.total_uncompressed_size for chunk in chunks) < 2 * 36 * RUNS / POINTS
    assert file.read().to_pydict() == rows.to_pydict()
    assert written.stats.count(min(ids.to_pylist())) == 1
