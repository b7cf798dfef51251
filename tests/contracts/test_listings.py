"""A folder that is listed while entries are added to its log: the listing may lack one, and have the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mlwarehouse.engines import embedded_follow
from mlwarehouse.engines.embedded_checks import table_damages
from mlwarehouse.engines.embedded_commit import StagedFile, commit
from mlwarehouse.engines.embedded_follow import open_table, write_checkpoint
from mlwarehouse.engines.embedded_log import entry_name, entry_path, replay
from mlwarehouse.engines.embedded_repair import mend_entry
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.storage import LocalStorage
from tests.contracts.conftest import PROBE

MISSED = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of versions 0 to 3."""
    tables = EmbeddedTables(tmp_path)
    tables.create([PROBE])
    for number in range(3):
        name = f"{number}.parquet"
        (tables.path(PROBE) / name).write_bytes(b"x")
        commit(tables.path(PROBE), PROBE, [StagedFile(name, 1, 1, '{"numRecords": 1}')], ())
    return tables.path(PROBE)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch):
    """Have our listings lack an entry that is there, or was a moment ago."""
    real = LocalStorage.files

    def lacking(self):
        return {name: info for name, info in real(self).items() if name != entry_name(MISSED)}

    monkeypatch.setattr(LocalStorage, "files", lacking)


def test_an_entry_that_a_listing_lacks_is_read(folder, listed):
    state = replay(folder)
    assert (state.version, len(state.files)) == (3, 3)
    assert table_damages(folder, PROBE) == []


def test_an_entry_that_is_nowhere_is_missing(folder, listed):
    entry_path(folder, MISSED).unlink()
    with pytest.raises(ValueError, match="the log has no entry 2"):
        replay(folder)
    assert [(d.kind, d.version) for d in table_damages(folder, PROBE)] == [("missing entry", MISSED)]


def test_entries_that_are_cleaned_up_meanwhile_are_not_missed(folder, monkeypatch):
    write_checkpoint(folder)
    real, listings = LocalStorage.files, []

    def cleaned_up_beside(self):
        found = real(self)
        if self.uri.endswith("_delta_log"):
            if not listings:
                for version in (0, 1, MISSED):
                    entry_path(folder, version).unlink()
                del found[entry_name(MISSED)]
            listings.append(1)
        return found

    monkeypatch.setattr(LocalStorage, "files", cleaned_up_beside)
    assert table_damages(folder, PROBE) == []
    assert len(listings) > 1


def test_a_repair_leaves_a_whole_entry_alone(folder):
    before = entry_path(folder, MISSED).read_bytes()
    mend_entry(folder, MISSED)
    assert entry_path(folder, MISSED).read_bytes() == before
    assert {Path(uri).name for uri in DeltaTable(folder).file_uris()} == {f"{n}.parquet" for n in range(3)}


def test_delta_rs_lists_again(folder, monkeypatch):
    entry, aside = entry_path(folder, MISSED), folder / "aside"
    entry.rename(aside)
    tries = []

    def meanwhile(_: float) -> None:
        tries.append(1)
        if len(tries) == 2:
            aside.rename(entry)

    monkeypatch.setattr(embedded_follow.time, "sleep", meanwhile)
    assert open_table(folder).version() == 3
    entry.rename(aside)
    tries[:] = [1, 1]
    with pytest.raises(DeltaError):
        open_table(folder)


def test_a_damaged_log_that_nobody_adds_to_is_looked_through_once(folder, monkeypatch):
    entry_path(folder, MISSED).unlink()
    log = folder / "_delta_log"
    os.utime(log, ns=(0, log.stat().st_mtime_ns - 2 * embedded_follow.SETTLED_NS))
    monkeypatch.setattr(embedded_follow.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(DeltaError):
        open_table(folder)
