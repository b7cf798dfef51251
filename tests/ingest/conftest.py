from __future__ import annotations

from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.ingest.spool_folder import SpoolFolder


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    found = SpoolFolder(tmp_path / "spool")
    found.create()
    return found


@pytest.fixture
def warehouse(tmp_path: Path):
    """A warehouse that commits only when told to."""
    made = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    yield made
    made.close()
