from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlwarehouse.models.package import MANIFEST, write_manifest


@pytest.fixture
def rewrite():
    """Change a package's file and make the manifest agree, as somebody who forges a package would."""

    def change(folder: Path, name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        (folder / MANIFEST).unlink()
        write_manifest(folder)
        assert name in json.loads((folder / MANIFEST).read_text())["files"]

    return change
