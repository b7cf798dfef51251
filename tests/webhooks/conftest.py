from __future__ import annotations

from pathlib import Path

import pytest

from mlwarehouse import Warehouse

from .receiver import receiving


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def warehouse(tmp_path: Path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", actor="ada", roles="admin")
    warehouse.create()
    yield warehouse
    warehouse.close()
