"""What of a batch is new: rows of a source compared with what imports have written before.

Only what imports wrote counts as imported, whatever source it was of: a run that is in two stores comes once. Points
are counted by series: a source adds to the end of a series, so those beyond what is there are the new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.engines.base import Engine, Reading

if TYPE_CHECKING:
    import numpy.typing as npt

WRITER = "import:"
"""What the `writer_id` of rows begins with that an import wrote."""

_OF_RUNS = "run_id IN (SELECT UNNEST($run_ids))"
_IMPORTED = f"{_OF_RUNS} AND STARTS_WITH(writer_id, '{WRITER}')"
_POSITION = "{'recorded_at': recorded_at, 'writer_id': writer_id, 'writer_seq': writer_seq}"

_RUNS = f"""
    SELECT
        run_id,
        BOOL_OR(kind = 'started') AS is_there,
        ARG_MAX(status, {_POSITION}) FILTER (WHERE status IS NOT NULL) AS status,
        ARG_MAX(name, {_POSITION}) FILTER (WHERE kind IN ('started', 'renamed') AND name IS NOT NULL) AS name,
        ARG_MAX(kind, {_POSITION}) FILTER (WHERE kind IN ('deleted', 'restored')) AS last_switch,
        EPOCH_US(ARG_MAX(event_at, {_POSITION}) FILTER (WHERE kind = 'ended')) AS ended_at,
        ARG_MAX(kind, {_POSITION}) FILTER (WHERE kind IN ('ended', 'resumed')) AS last_turn
    FROM run_events
    WHERE {_IMPORTED}
    GROUP BY run_id"""

_FOREIGN_RUNS = f"""
    SELECT run_id
    FROM run_events
    WHERE {_OF_RUNS} AND kind = 'started'
    GROUP BY run_id
    HAVING NOT BOOL_OR(STARTS_WITH(writer_id, '{WRITER}'))"""

_SERIES = f"SELECT run_id, key, COUNT(*) AS n FROM metrics WHERE {_IMPORTED} GROUP BY run_id, key"
_POINTS = f"SELECT run_id, key, step, value, EPOCH_US(event_at) AS event_at FROM metrics WHERE {_IMPORTED}"
_PARAMS = f"SELECT DISTINCT run_id, key FROM param_events WHERE {_OF_RUNS}"
_TAGS = f"""
    SELECT run_id, key, ARG_MAX(value, {_POSITION}) AS known
    FROM tag_events
    WHERE {_IMPORTED}
    GROUP BY run_id, key"""
_INPUTS = f"SELECT DISTINCT run_id, name, digest, COALESCE(context, '') AS context FROM input_events WHERE {_OF_RUNS}"
_FILES = f"""
    SELECT run_id, path, size_bytes, EPOCH_US(event_at) AS changed_at
    FROM artifact_events
    WHERE {_IMPORTED}"""


class Known:
    """What a warehouse has of some runs, at one version of a table."""

    def __init__(self, engine: Engine | None, run_ids: Iterable[str]) -> None:
        """Ask an engine about runs; without one nothing is known."""
        self._engine = engine
        self._run_ids = sorted(set(run_ids))

    def foreign_runs(self) -> set[str]:
        """Runs that are there and that no import has brought."""
        return set(self._rows(_FOREIGN_RUNS, None, ["run_id"]).column("run_id").to_pylist())

    def runs(self, reading: Reading | None) -> dict[str, dict[str, Any]]:
        """The state in which imports left each run."""
        return {row["run_id"]: row for row in self._rows(_RUNS, reading, []).to_pylist()}

    def new_points(
        self, points: pa.Table, reading: Reading | None, passed: Mapping[tuple[str, str], int] | None = None
    ) -> pa.Table:
        """Points beyond those that each series has.

        Args:
            points: As in `Batch.points`.
            reading: The state to look at.
            passed: By run and metric, points of the series that came before these.
        """
        if not points.num_rows:
            return points
        known = self._rows(_SERIES, reading, ["run_id", "key", "n"])
        if not known.num_rows:
            return points
        runs, keys = (points.column(name).combine_chunks() for name in ("run_id", "key"))
        runs, keys = (c if pa.types.is_dictionary(c.type) else c.dictionary_encode() for c in (runs, keys))
        run_codes, key_codes = (np.asarray(c.indices).astype(np.int64) for c in (runs, keys))
        series = run_codes * len(keys.dictionary) + key_codes
        known_runs, known_keys = (
            pc.fill_null(pc.index_in(known.column(name), column.dictionary), -1).to_numpy().astype(np.int64)
            for name, column in (("run_id", runs), ("key", keys))
        )
        known_series = np.where((known_runs < 0) | (known_keys < 0), -1, known_runs * len(keys.dictionary) + known_keys)
        there = _looked_up(series, known_series, known.column("n").to_numpy())
        positions = _positions(series)
        if passed:
            places = {text: n for n, text in enumerate(runs.dictionary.to_pylist())}
            codes = {text: n for n, text in enumerate(keys.dictionary.to_pylist())}
            for (run_id, key), n in passed.items():
                if run_id in places and key in codes:
                    positions[series == places[run_id] * len(codes) + codes[key]] += n
        return points.filter(pa.array(positions >= there))

    def unseen_points(self, points: pa.Table, reading: Reading | None) -> pa.Table:
        """Points that no import has written, of a source in which no two of a run are alike.

        Args:
            points: As in `Batch.points`.
            reading: The state to look at.
        """
        known = self._rows(_POINTS, reading, []) if points.num_rows else None
        if known is None or not known.num_rows:
            return points
        keyed = _told_apart(points).append_column("place", pa.array(np.arange(points.num_rows)))
        new = _without(keyed, _told_apart(known), ["run_id", "key", "step", "bits", "event_at"])
        return points.take(new.column("place").combine_chunks().sort())

    def new_params(self, params: pa.Table, reading: Reading | None) -> pa.Table:
        """Params that their runs don't have."""
        return _without(params, self._rows(_PARAMS, reading, ["run_id", "key"]), ["run_id", "key"])

    def new_tags(self, tags: pa.Table, reading: Reading | None) -> pa.Table:
        """Tags that no import has set, or that another value was set of."""
        known = self._rows(_TAGS, reading, ["run_id", "key", "known"])
        if not known.num_rows or not tags.num_rows:
            return tags
        joined = tags.join(known, ["run_id", "key"], join_type="left outer")
        is_same = pc.fill_null(pc.equal(joined.column("value"), joined.column("known")), False)
        return joined.filter(pc.invert(is_same)).select(tags.column_names)

    def new_inputs(self, inputs: pa.Table, reading: Reading | None) -> pa.Table:
        """Inputs that their runs don't have."""
        known = self._rows(_INPUTS, reading, ["run_id", "name", "digest", "context"])
        plain = inputs.set_column(3, "context", pc.fill_null(inputs.column("context"), ""))
        new = _without(plain, known, ["run_id", "name", "digest", "context"])
        context = new.column("context")
        return new.set_column(3, "context", pc.if_else(pc.equal(context, ""), pa.scalar(None, pa.string()), context))

    def new_files(self, files: pa.Table, reading: Reading | None) -> pa.Table:
        """Files that no import has brought, or that were changed since."""
        names = ["run_id", "path", "size_bytes", "changed_at"]
        return _without(files, self._rows(_FILES, reading, names), names)

    def _rows(self, sql: str, reading: Reading | None, columns: list[str]) -> pa.Table:
        if self._engine is None:
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        return self._engine.query(sql, reading=reading, parameters={"run_ids": self._run_ids})


def _told_apart(points: pa.Table) -> pa.Table:
    """Points by what tells them apart: values as their bits, since NaN equals nothing."""
    value = points.column("value").to_numpy()
    bits = np.where(np.isnan(value), np.nan, value).view(np.int64)
    texts = {name: points.column(name).cast(pa.string()) for name in ("run_id", "key")}
    return pa.table({**texts, "step": points.column("step"), "bits": bits, "event_at": points.column("event_at")})


def _positions(series: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of each point its place in its series, from 0."""
    order = np.argsort(series, kind="stable")
    ordered = series[order]
    is_first = np.ones(len(series), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    places = np.empty(len(series), np.int64)
    places[order] = np.arange(len(series)) - np.repeat(starts, np.diff(np.append(starts, len(series))))
    return places


def _looked_up(
    series: npt.NDArray[np.int64], known_series: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Of each point how many its series has already."""
    order = np.argsort(known_series)
    numbers = known_series[order]
    found = np.minimum(np.searchsorted(numbers, series), len(numbers) - 1)
    return np.where(numbers[found] == series, counts[order][found], 0)


def _without(given: pa.Table, known: pa.Table, keys: list[str]) -> pa.Table:
    if not known.num_rows or not given.num_rows:
        return given
    schema: Mapping[str, pa.DataType] = {f.name: f.type for f in given.schema}
    keyed = pa.table({name: known.column(name).cast(schema[name]) for name in keys})
    return given.join(keyed, keys, join_type="left anti").select(given.column_names)
