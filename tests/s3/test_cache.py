"""Local copies of data files: fetched once, and removed when they are many and unused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlwarehouse.engines import embedded_cache
from mlwarehouse.engines.embedded_cache import FileCache
from mlwarehouse.storage import LocalStorage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "tables" / "metrics"
    folder.mkdir(parents=True)
    for name in ("a.parquet", "b.parquet", "c.parquet"):
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def cached(root: Path) -> list[str]:
    return sorted(p.name for p in root.rglob("*") if p.is_file())


def test_a_file_is_fetched_once(source, tmp_path):
    cache = FileCache(LocalStorage(source.parent), tmp_path / "cache")
    first = cache.fetch("metrics", ["b.parquet", "a.parquet"])
    assert [Path(p).read_bytes()[:1] for p in first] == [b"b", b"a"]
    (source / "a.parquet").unlink()
    assert cache.fetch("metrics", ["a.parquet", "b.parquet", "c.parquet"])[:2] == first[::-1]
    assert cached(tmp_path / "cache") == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_file_that_is_gone_is_an_error_and_leaves_nothing(source, tmp_path):
    cache = FileCache(LocalStorage(source.parent), tmp_path / "cache")
    with pytest.raises(FileNotFoundError):
        cache.fetch("metrics", ["none.parquet"])
    assert cached(tmp_path / "cache") == []


def test_what_was_asked_longest_ago_goes_first_and_what_is_in_use_stays(source, tmp_path, monkeypatch):
    cache = FileCache(LocalStorage(source.parent), tmp_path / "cache")
    a, b, c = map(Path, cache.fetch("metrics", ["a.parquet", "b.parquet", "c.parquet"]))
    monkeypatch.setattr(embedded_cache, "CACHE_BYTES", 1000)
    cache.make_room()
    assert cached(tmp_path / "cache") == ["a.parquet", "b.parquet", "c.parquet"]
    for hours, path in ((3, b), (2, a), (1.5, c)):
        moment = path.stat().st_mtime - 3600 * hours
        os.utime(path, (moment, moment))
    cache.make_room()
    assert cached(tmp_path / "cache") == ["c.parquet"]
