"""Reading page files: what some runs have, by their places; and which runs have something newer than that.

See `mlwarehouse.engines.embedded_page_files` for what the files are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlwarehouse.engines.arrays import one_array
from mlwarehouse.engines.base import RunRows
from mlwarehouse.engines.embedded_page_files import LISTS, PAGES, PART_RUNS, RUN_COLUMNS, page_names

OPEN_FILES = 512
"""Page files that a process keeps mapped; a million runs have eight."""

KNOWN_TAILS = 4096
"""Files of events whose runs a process remembers."""


class PageFile:
    """One mapped page file. Threads may share it."""

    def __init__(self, path: str) -> None:
        """Map a file.

        Raises:
            OSError: It isn't there.
            pa.ArrowInvalid: It isn't an Arrow file.
        """
        with pa.memory_map(path) as source:
            table = pa.ipc.open_file(source).read_all()
        self.columns: dict[str, pa.Array] = {name: one_array(table.column(name)) for name in table.column_names}
        self.numbers: np.ndarray[Any, Any] = self.columns["number"].to_numpy()
        self._by_id: np.ndarray[Any, Any] = self.columns["by_id"].to_numpy()

    def places(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Where runs are, -1 for those that aren't here."""
        places = np.searchsorted(self.numbers, numbers)
        places[places == len(self.numbers)] = 0
        return np.where(self.numbers[places] == numbers, places, -1)

    def place(self, run_id: str) -> int | None:
        """Where the run with an id is."""
        ids = self.columns["run_id"]
        low, high = 0, len(self._by_id)
        while low < high:
            middle = (low + high) // 2
            if ids[int(self._by_id[middle])].as_py() < run_id:
                low = middle + 1
            else:
                high = middle
        if low == len(self._by_id):
            return None
        place = int(self._by_id[low])
        return place if ids[place].as_py() == run_id else None


open_page = lru_cache(maxsize=OPEN_FILES)(PageFile)
"""A page file by its path, mapped once: what is under a path never changes."""


class Pages:
    """The page files that go with one choice of kept folds. Threads may share it."""

    def __init__(self, root: Path, folds: Mapping[str, Sequence[str]]) -> None:
        """Name the files; none is opened yet.

        Args:
            root: The folder of everything derived.
            folds: Files of each kept fold, by view.
        """
        self._paths = {part: str(root / PAGES / name) for part, name in page_names(folds).items()}

    def rows(self, numbers: pa.Array, kinds: Sequence[str], touched: frozenset[str]) -> RunRows:
        """What some runs have.

        Args:
            numbers: Their numbers, int64, of shape [n].
            kinds: Which of the columns of `LISTS` are wanted.
            touched: The ids of runs about which there is more than the folds have.

        Returns:
            The rows of those that are in a page file and not touched.
        """
        wanted = numbers.to_numpy()
        found = np.zeros(len(wanted), dtype=bool)
        runs: list[pa.Table] = []
        order: list[np.ndarray[Any, Any]] = []
        lists: dict[str, list[pa.Table]] = {column: [] for _, column, _, _, _ in LISTS}
        parts = wanted // PART_RUNS
        for part in np.unique(parts).tolist():
            file = self._open(part)
            if file is None:
                continue
            asked = np.flatnonzero(parts == part)
            places = file.places(wanted[asked])
            asked, places = asked[places >= 0], places[places >= 0]
            if touched:
                ids = file.columns["run_id"].take(pa.array(places))
                is_settled = ~pc.is_in(ids, value_set=pa.array(touched, pa.string())).to_numpy(zero_copy_only=False)
                asked, places = asked[is_settled], places[is_settled]
            found[asked] = True
            order.append(asked)
            where = pa.array(places)
            runs.append(pa.table({c: file.columns[c].take(where) for c in ("run_id", *RUN_COLUMNS)}))
            for column in kinds:
                lists[column].append(_long(file.columns[column].take(where), wanted[asked]))
        attributes = pa.concat_tables(runs).take(np.argsort(np.concatenate(order))) if runs else _no_runs()
        return RunRows(found, attributes, **{c: _joined(lists[c], kind) for _, c, _, _, kind in LISTS})

    def row(self, run_id: str) -> dict[str, Any] | None:
        """All that a page has of the run with an id: its columns, and dictionaries of metrics, params and tags."""
        for part in self._paths:
            file = self._open(part)
            place = None if file is None else file.place(run_id)
            if file is not None and place is not None:
                row = {name: array[place].as_py() for name, array in file.columns.items() if name != "by_id"}
                for _, column, _, _, _ in LISTS:
                    row[column] = {entry["key"]: entry["value"] for entry in row[column]}
                return row
        return None

    def _open(self, part: int) -> PageFile | None:
        path = self._paths.get(part)
        if path is None:
            return None
        try:
            return open_page(path)
        except (OSError, pa.ArrowInvalid):
            # Not written yet, dropped, or broken: the views answer.
            return None


def touched_runs(files: Iterable[str], overlay: pa.Table | None) -> frozenset[str]:
    """The ids of the runs that some events are about.

    Args:
        files: Files of events.
        overlay: Events that aren't committed.
    """
    found = [_runs_of_file(path) for path in files]
    if overlay is not None and overlay.num_rows:
        found.append(frozenset(pc.unique(overlay.column("run_id")).to_pylist()))
    return frozenset().union(*found)


@lru_cache(maxsize=KNOWN_TAILS)
def _runs_of_file(path: str) -> frozenset[str]:
    runs = pq.read_table(path, columns=["run_id"], read_dictionary=["run_id"]).column("run_id")
    return frozenset(pc.unique(runs).to_pylist())


def _no_runs() -> pa.Table:
    return pa.table({c: pa.array([], pa.string()) for c in ("run_id", *RUN_COLUMNS)})


def _long(lists: pa.Array, numbers: np.ndarray[Any, Any]) -> pa.Table:
    """A row for each entry of some runs' lists."""
    entries = lists.flatten()
    of = np.repeat(numbers, lists.value_lengths().to_numpy())
    return pa.table({"number": of, "key": entries.field("key"), "value": entries.field("value")})


def _joined(tables: list[pa.Table], kind: pa.DataType) -> pa.Table:
    schema = pa.schema([("number", pa.int64()), ("key", pa.dictionary(pa.int32(), pa.string())), ("value", kind)])
    return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()
