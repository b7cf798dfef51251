"""Writers, compaction, garbage collection and readers of an object store's tables at once: nothing is missed."""

from __future__ import annotations

from mlwarehouse import Warehouse
from tests.faults.racing import READERS, race


def test_nothing_is_missed_and_every_count_is_right(uri, tmp_path):
    warehouse = Warehouse(uri, committer="off")
    # Who commits as fast as it can leaves no moment for a merge, which takes several requests.
    race(warehouse, tmp_path, list(READERS), pause_s=0.5)
    warehouse.close()
