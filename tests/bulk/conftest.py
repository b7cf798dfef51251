from __future__ import annotations

import pytest

from mlwarehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path):
    """A warehouse that commits only when told to."""
    made = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    yield made
    made.close()
