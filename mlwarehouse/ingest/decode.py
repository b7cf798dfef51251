"""From stretches of spool to rows of tables: the same stretches always give the same rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.ingest.spool_reader import Slots
from mlwarehouse.tables import METRICS, TABLES_BY_NAME, TableSpec

_TIMESTAMP = pa.timestamp("us", tz="UTC")


def experiment_names(stretches: Iterable[Slots]) -> dict[str, str]:
    """Names by id of the experiments that stretches of spool ask to create."""
    names: dict[str, str] = {}
    for stretch in stretches:
        for record in stretch.records:
            table, common, columns, rows = record.payload
            if table == "experiment_events" and common.get("kind") == "created":
                for row in rows:
                    values = {**common, **dict(zip(columns, row, strict=True))}
                    names[values["experiment_id"]] = values["name"]
    return names


def cut(stretch: Slots, end: int) -> Slots:
    """A stretch without what lies at and behind a slot index."""
    if stretch.end <= end:
        return stretch
    last_seq = stretch.first_seq + end
    keep = stretch.seqs < last_seq
    return replace(
        stretch,
        end=end,
        points=stretch.points[keep],
        seqs=stretch.seqs[keep],
        records=[r for r in stretch.records if r.seq < last_seq],
    )


def behind(stretch: Slots, start: int) -> Slots:
    """A stretch without what lies before a slot index."""
    first_seq = stretch.first_seq + start
    keep = stretch.seqs >= first_seq
    return replace(
        stretch,
        points=stretch.points[keep],
        seqs=stretch.seqs[keep],
        records=[r for r in stretch.records if r.seq >= first_seq],
    )


def above(rows: pa.Table, floors: Mapping[str, int]) -> pa.Table:
    """Rows without those that a table has already.

    Args:
        rows: Rows of one table.
        floors: The last sequence number that the table has, by writer.
    """
    keep = np.ones(rows.num_rows, np.bool_)
    writers, seqs = rows.column("writer_id"), rows.column("writer_seq").to_numpy()
    for writer_id, floor in floors.items():
        keep &= ~(pc.equal(writers, writer_id).to_numpy() & (seqs <= floor))
    return rows if keep.all() else rows.filter(pa.array(keep))


def rows_of(
    stretches: Iterable[Slots],
    *,
    recorded_at: int,
    experiments: Mapping[str, str],
    floors: Mapping[str, Mapping[str, int]],
) -> dict[str, pa.Table]:
    """Decode stretches of spool.

    Args:
        stretches: What segments hold, from `SegmentReader.read`.
        recorded_at: Microseconds since the epoch, for all rows.
        experiments: Ids to write instead of others: of experiments whose name has another id already.
        floors: By table and writer, the sequence number up to which the table has the rows already.

    Returns:
        Rows in each table's Arrow schema, by table name; tables without rows are left out. A column of repeated text
        may be dictionary-encoded.
    """
    stretches = list(stretches)
    tables: dict[str, pa.Table] = {}
    points = _points(stretches, recorded_at)
    if points is not None:
        tables[METRICS.name] = points
    for name, columns in _records(stretches, experiments).items():
        spec = TABLES_BY_NAME[name]
        tables[name] = _table(spec, columns, recorded_at)
    for name in floors.keys() & tables.keys():
        tables[name] = above(tables[name], floors[name])
    return {name: rows for name, rows in tables.items() if rows.num_rows}


def _points(stretches: list[Slots], recorded_at: int) -> pa.Table | None:
    numbers: dict[tuple[str, int, str, str | None], int] = {}
    writers: dict[str, int] = {}
    parts = []
    for stretch in stretches:
        if not len(stretch.points):
            continue
        lookup = np.full(max(stretch.series, default=0) + 1, -1, np.int32)
        for number, name in stretch.series.items():
            lookup[number] = numbers.setdefault(name, len(numbers))
        writer = writers.setdefault(stretch.writer_id, len(writers))
        parts.append((lookup[stretch.points["series"]], stretch, writer))
    if not parts:
        return None
    series = np.concatenate([p[0] for p in parts])
    # Sorted by run and key, so that the file's statistics prune; within a series in the order written.
    by_name = sorted(numbers, key=lambda s: (s[0], s[2], s[3] or "", s[1]))
    rank = np.empty(len(numbers), np.int32)
    rank[[numbers[s] for s in by_name]] = np.arange(len(by_name), dtype=np.int32)
    rank_of_point = rank[series]
    order = np.argsort(rank_of_point, kind="stable")
    codes = rank_of_point[order]

    def gathered(field: str) -> np.ndarray[Any, Any]:
        return np.concatenate([p[1].points[field] for p in parts])[order]

    n = len(order)
    writer_codes = np.concatenate([np.full(len(p[0]), p[2], np.int32) for p in parts])[order]
    columns = {
        "run_id": _coded([s[0] for s in by_name], codes),
        "key": _coded([s[2] for s in by_name], codes),
        "step": pa.array(gathered("step")),
        "value": pa.array(gathered("value")),
        "context": _coded([s[3] for s in by_name], codes),
        "attempt": pa.array(np.array([s[1] for s in by_name], np.int32)[codes]),
        "event_at": pa.array(gathered("time")).cast(_TIMESTAMP),
        "recorded_at": pa.array(np.full(n, recorded_at, np.int64)).cast(_TIMESTAMP),
        "writer_id": _coded(list(writers), writer_codes),
        "writer_seq": pa.array(np.concatenate([p[1].seqs for p in parts])[order]),
    }
    return pa.table(columns)


def _coded(values: list[str | None], codes: np.ndarray[Any, Any]) -> pa.Array:
    """A text column from one value a series and the series of each row, without making each row's text."""
    distinct = list(dict.fromkeys(v for v in values if v is not None))
    position = {v: i for i, v in enumerate(distinct)}
    recode = np.array([position.get(v, -1) if v is not None else -1 for v in values], np.int32)
    indices = recode[codes]
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=indices < 0), pa.array(distinct, pa.string()))


def _records(stretches: list[Slots], experiments: Mapping[str, str]) -> dict[str, dict[str, list[Any]]]:
    """Columns by table, the envelope's included but for `recorded_at`."""
    tables: dict[str, dict[str, list[Any]]] = {}
    lengths: dict[str, int] = defaultdict(int)
    for stretch in stretches:
        for record in stretch.records:
            table, common, names, rows = record.payload
            if "experiment_id" in common and common["experiment_id"] in experiments:
                common = {**common, "experiment_id": experiments[common["experiment_id"]]}
            columns = tables.setdefault(table, {})
            shared = {
                "event_at": record.time_us,
                "writer_id": stretch.writer_id,
                "writer_seq": record.seq,
                **common,
            }
            before, n = lengths[table], len(rows)
            for name in (*shared, *names):
                if name not in columns:
                    columns[name] = [None] * before
            by_name = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
            for name, column in columns.items():
                if name in by_name:
                    column.extend(by_name[name])
                else:
                    column.extend([shared.get(name)] * n)
            lengths[table] += n
    return tables


def _table(spec: TableSpec, columns: dict[str, list[Any]], recorded_at: int) -> pa.Table:
    n = len(columns["writer_id"])
    columns["recorded_at"] = [recorded_at] * n
    arrays = []
    schema = spec.arrow_schema()
    for field in schema:
        values = columns.get(field.name, [None] * n)
        if pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.int64()).cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)
