"""Commits that go on top of what is known from the commits before: never on top of something else.

``MLWAREHOUSE_SOAK=1`` tries five thousand histories, or ``MLWAREHOUSE_SOAK_EXAMPLES``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mlwarehouse.engines import embedded_follow
from mlwarehouse.engines.base import Txn
from mlwarehouse.engines.embedded_commit import StagedFile, commit
from mlwarehouse.engines.embedded_follow import TableLog, write_checkpoint
from mlwarehouse.engines.embedded_log import entry_path, log_entries
from mlwarehouse.engines.embedded_tables import EmbeddedTables
from mlwarehouse.errors import StorageError, UnsupportedTableError
from tests.contracts.conftest import PROBE

STATS = json.dumps({"numRecords": 1})


@pytest.fixture
def tables(tmp_path: Path) -> EmbeddedTables:
    made = EmbeddedTables(tmp_path)
    made.create([PROBE])
    return made


def add(log: TableLog, name: str, *txns: Txn, folder: Path) -> bool:
    """Commit a file that isn't there, which no commit looks at; whether it was added."""
    return commit(folder, PROBE, [StagedFile(name, 1, 1, STATS)], txns, log=log).applied


def files(folder: Path) -> set[str]:
    return {Path(uri).name for uri in DeltaTable(folder).file_uris()}


def test_a_commit_costs_the_same_however_many_there_were(tables, monkeypatch):
    """The folder, which grows with each commit, is only looked through for a checkpoint."""
    opened = []
    real = embedded_follow.DeltaTable

    def counted(*arguments, **options):
        opened.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(embedded_follow, "DeltaTable", counted)
    log = tables.log(PROBE)
    for number in range(148):
        assert add(log, f"{number}.parquet", Txn("a", number + 1), folder=tables.path(PROBE))
        assert tables.log(PROBE) is log
    # At the start, and at versions 49 and 99 for the checkpoint.
    assert len(opened) == 3
    checkpoints = {p.name[:20] for p in (tables.path(PROBE) / "_delta_log").glob("*.checkpoint.parquet")}
    assert checkpoints == {f"{v:020d}" for v in (49, 99)}
    assert len(files(tables.path(PROBE))) == 148


def test_an_entry_is_on_disk_before_it_is_seen(tables, monkeypatch):
    """So that after a power cut no entry is empty or torn."""
    done = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (done.append(name), real(*a))[1])
    add(tables.log(PROBE), "a.parquet", folder=tables.path(PROBE))
    assert done == ["fsync", "link", "fsync"]


def test_columns_of_a_later_release_are_noticed(tables):
    tables.log(PROBE)
    DeltaTable(tables.path(PROBE)).alter.add_columns([Field("later", PrimitiveType("string"))])
    with pytest.raises(UnsupportedTableError, match="`probe` has the columns later"):
        tables.log(PROBE)


def test_of_threads_that_share_a_log_and_others_each_gets_its_commit_in_once(tables, at_once):
    folder = tables.path(PROBE)
    shared = TableLog(folder)

    def work(log: TableLog, number: int) -> int:
        return sum(add(log, f"{number}-{i}.parquet", Txn("all", i + 1), folder=folder) for i in range(20))

    jobs = [lambda n=n: work(shared if n < 3 else TableLog(folder), n) for n in range(5)]
    # Each number is taken once, by whoever was first.
    assert sum(at_once(jobs)) == DeltaTable(folder).version() == 20
    assert len(files(folder)) == 20


@pytest.mark.parametrize("txns", [(), (Txn("a", 1),)], ids=["without", "with"])
def test_a_commit_into_a_log_that_is_cut_at_that_moment_says_that_its_outcome_is_not_known(tables, monkeypatch, txns):
    """Another process commits, writes a checkpoint and removes the entries before, all between look and link."""
    folder = tables.path(PROBE)
    log = tables.log(PROBE)
    add(log, "0.parquet", folder=folder)
    real = os.link

    def late(source, target):
        monkeypatch.setattr(os, "link", real)
        for number in range(3):
            add(TableLog(folder), f"other-{number}.parquet", folder=folder)
        write_checkpoint(folder)
        for version, entry in log_entries(folder).items():
            if version < 4:
                entry.unlink()
        real(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(StorageError, match="can't be told until it can be read again"):
        add(log, "mine.parquet", *txns, folder=folder)
    assert "mine.parquet" not in files(folder)
    # Whoever has a number tries again.
    assert add(log, "mine.parquet", *txns, folder=folder)
    assert "mine.parquet" in files(folder)


@pytest.mark.parametrize("txns", [(), (Txn("a", 1),)], ids=["without", "with"])
def test_a_link_whose_answer_is_lost_is_known_by_its_content(tables, monkeypatch, txns):
    """As a file system of a network may do it: linked, and told that the name is taken."""
    folder = tables.path(PROBE)
    real = os.link

    def losing(source, target):
        real(source, target)
        raise FileExistsError(str(target))

    monkeypatch.setattr(os, "link", losing)
    (folder / "mine.parquet").touch()
    assert add(tables.log(PROBE), "mine.parquet", *txns, folder=folder)
    assert (files(folder), DeltaTable(folder).version()) == ({"mine.parquet"}, 1)
    assert (folder / "mine.parquet").exists()


def test_a_checkpoint_that_cannot_be_written_is_no_failed_commit(tables, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded_follow, "CHECKPOINT_INTERVAL", 2)
    monkeypatch.setattr(embedded_follow, "write_checkpoint", full)
    log = tables.log(PROBE)
    for number in range(3):
        assert add(log, f"{number}.parquet", folder=tables.path(PROBE))
    assert "No checkpoint of table `probe` could be written: [Errno 28]" in caplog.text
    assert len(files(tables.path(PROBE))) == 3


def test_a_reader_notices_a_table_in_the_place_of_another(tables):
    folder = tables.path(PROBE)
    log = TableLog(folder)
    for number in range(3):
        add(log, f"{number}.parquet", folder=folder)
    assert tables.at(PROBE, None)[0] == 3
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match="isn't in"):
        tables.handle(PROBE)
    other = EmbeddedTables(tables.folder)
    other.create([PROBE])
    for number in range(4):
        add(log, f"other-{number}.parquet", folder=folder)
    version, found = tables.at(PROBE, None)
    assert (version, {Path(f).name for f in found}) == (4, {f"other-{n}.parquet" for n in range(4)})


def test_to_know_the_version_takes_no_opening_but_of_a_damaged_log(tables, monkeypatch):
    folder = tables.path(PROBE)
    log = TableLog(folder)
    for number in range(5):
        add(log, f"{number}.parquet", folder=folder)
    tables = EmbeddedTables(tables.folder)
    with monkeypatch.context() as closed:
        closed.setattr(embedded_follow, "DeltaTable", None)
        assert tables.version(PROBE) == EmbeddedTables(tables.folder).version(PROBE) == 5
    entry_path(folder, 3).rename(folder / "aside")
    # Who was there before has nothing to look for behind it.
    assert tables.version(PROBE) == 5
    with pytest.raises(StorageError, match="can't be read"):
        EmbeddedTables(tables.folder).version(PROBE)
    (folder / "aside").rename(entry_path(folder, 3))
    (folder / "_delta_log" / "_last_checkpoint").write_text("{")
    assert EmbeddedTables(tables.folder).version(PROBE) == 5


class Followed(RuleBasedStateMachine):
    """Writers that keep what they know, one that doesn't, delta-rs itself, and a folder that goes back to its past."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / PROBE.name
        EmbeddedTables(self.root).create([PROBE])
        self.logs = [TableLog(self.folder), TableLog(self.folder)]
        self.reader = EmbeddedTables(self.root)
        self.files: set[str] = set()
        self.txns: dict[str, int] = {}
        self.n = 0
        self.copy: tuple[set[str], dict[str, int]] | None = None
        self.n_changes = 0

    def _name(self) -> str:
        self.n += 1
        return f"{self.n}.parquet"

    @rule(who=st.integers(0, 2), app=st.sampled_from("ab"), number=st.integers(1, 12))
    def commit_once(self, who: int, app: str, number: int) -> None:
        name = self._name()
        log = self.logs[who] if who < 2 else TableLog(self.folder)
        applied = add(log, name, Txn(app, number), folder=self.folder)
        assert applied == (number > self.txns.get(app, 0))
        if applied:
            self.files.add(name)
            self.txns[app] = number

    @rule(who=st.integers(0, 1), n=st.integers(1, 5))
    def commit(self, who: int, n: int) -> None:
        for _ in range(n):
            name = self._name()
            assert add(self.logs[who], name, folder=self.folder)
            self.files.add(name)

    @rule(app=st.sampled_from("ab"))
    def commit_by_delta_rs(self, app: str) -> None:
        name, number = self._name(), self.txns.get(app, 0) + 1
        table = DeltaTable(self.folder)
        table.create_write_transaction(
            [AddAction(name, 1, {}, 0, True, STATS)],
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(app_transactions=[Transaction(app, number)]),
        )
        self.files.add(name)
        self.txns[app] = number

    @rule()
    def change_properties(self) -> None:
        self.n_changes += 1
        DeltaTable(self.folder).alter.set_table_properties({"delta.checkpointInterval": str(100 + self.n_changes)})

    @rule()
    def forget_the_past(self) -> None:
        write_checkpoint(self.folder)
        entries = log_entries(self.folder)
        for version in sorted(entries)[:-1]:
            entries[version].unlink()

    @rule()
    def back_up(self) -> None:
        shutil.rmtree(self.root / "copy", ignore_errors=True)
        shutil.copytree(self.folder, self.root / "copy")
        self.copy = set(self.files), dict(self.txns)

    @precondition(lambda self: self.copy is not None)
    @rule()
    def restore(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.root / "copy", self.folder)
        assert self.copy is not None
        self.files, self.txns = set(self.copy[0]), dict(self.copy[1])

    @invariant()
    def the_table_says_the_same(self) -> None:
        table = DeltaTable(self.folder)
        assert {Path(uri).name for uri in table.file_uris()} == self.files
        for reader in (self.reader, EmbeddedTables(self.root)):
            assert reader.version(PROBE) == table.version()
        assert {a: table.transaction_version(a) or 0 for a in "ab"} == {a: self.txns.get(a, 0) for a in "ab"}
        assert not list((self.folder / "_delta_log").glob(".*"))

    def teardown(self) -> None:
        shutil.rmtree(self.root)


def test_whatever_happens_to_a_log_each_commit_is_in_it_once(monkeypatch):
    monkeypatch.setattr(embedded_follow, "CHECKPOINT_INTERVAL", 5)
    monkeypatch.setattr(embedded_follow, "MOST_FOLLOWED", 3)
    monkeypatch.setattr(embedded_follow, "CLEANUPS", 2)
    n = int(os.environ.get("MLWAREHOUSE_SOAK_EXAMPLES", "5000")) if os.environ.get("MLWAREHOUSE_SOAK") else 10
    run_state_machine_as_test(Followed, settings=settings(max_examples=n, stateful_step_count=25, deadline=None))
