"""Writers, compaction, garbage collection and readers of every kind at once: no file is missed, no count is wrong.

``MLWAREHOUSE_SOAK=1`` makes it ten minutes, or ``MLWAREHOUSE_SOAK_MINUTES``, with twenty readers, one of them Spark,
rather than seconds with three.
"""

from __future__ import annotations

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import ConflictError
from mlwarehouse.parts.maintainer import maintainer_lock
from tests.faults.conftest import SOAK
from tests.faults.racing import READERS, race


def test_nothing_is_missed_and_every_count_is_right(tmp_path, request):
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    readers = [kind for kind, count in READERS.items() for _ in range(count if SOAK else 1)]
    race(warehouse, tmp_path, readers, spark=request.getfixturevalue("spark") if SOAK else None)
    warehouse.close()


def test_only_one_maintains_at_a_time(tmp_path):
    root = tmp_path / "wh"
    warehouse = Warehouse(root, committer="off")
    warehouse.create()
    with (
        maintainer_lock(root),
        pytest.raises(ConflictError, match="Another process maintains"),
        maintainer_lock(root, wait_s=0.2),
    ):
        pass
