"""Importing what Neptune's exporter writes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from pyarrow import parquet

from mlwarehouse.errors import InvalidInputError

from .mlruns_store import write

SCHEMA = pa.schema(
    {
        "project_id": pa.string(),
        "run_id": pa.string(),
        "attribute_path": pa.string(),
        "attribute_type": pa.string(),
        "step": pa.decimal128(18, 6),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "int_value": pa.int64(),
        "float_value": pa.float64(),
        "string_value": pa.string(),
        "bool_value": pa.bool_(),
        "datetime_value": pa.timestamp("ms", tz="UTC"),
        "string_set_value": pa.list_(pa.string()),
        "file_value": pa.struct({"path": pa.string()}),
    }
)
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def scalar(path, kind, value):
    return {"attribute_path": path, "attribute_type": kind, f"{kind}_value": value}


def point(path, step, value, second=0):
    at = DAY + dt.timedelta(seconds=second)
    kind = "float_series"
    return {
        "attribute_path": path,
        "attribute_type": kind,
        "step": Decimal(step),
        "timestamp": at,
        "float_value": value,
    }


def export(root, project, run, *parts):
    folder = root / project.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    for n, part in enumerate(parts):
        filled = [{"project_id": project, "run_id": run, **row} for row in part]
        parquet.write_table(pa.Table.from_pylist(filled, schema=SCHEMA), folder / f"{run}_part_{n}.parquet")


def test_runs_of_an_export_come(warehouse, tmp_path, ask):
    root = tmp_path / "exports" / "data"
    write(tmp_path / "exports" / "files" / "org_digits" / "RUN-1" / "weights.bin", "123")
    export(
        root,
        "org/digits",
        "RUN-1",
        [
            scalar("sys/name", "string", "first"),
            scalar("sys/owner", "string", "ann"),
            scalar("sys/creation_time", "datetime", DAY),
            scalar("sys/modification_time", "datetime", DAY + dt.timedelta(minutes=1)),
            scalar("sys/failed", "bool", True),
            scalar("sys/trashed", "bool", True),
            scalar("sys/description", "string", "# why"),
            scalar("sys/tags", "string_set", ["a", "b"]),
            scalar("config/lr", "float", 0.1),
            scalar("config/depth", "int", 3),
            scalar("model", "file", {"path": "RUN-1/weights.bin"}),
            scalar("other", "file", {"path": "../../../secret"}),
            point("loss", "0", 0.5),
            point("loss", "1", float("nan"), 1),
        ],
        [
            point("loss", "2", 0.25, 2),
            point("fine", "0.5", 1.0),
            {**point("log", "0", None), "attribute_type": "string_series"},
        ],
    )
    export(root, "org/text", "RUN-1", [point("loss", "0", 1.0, 9)])
    report = warehouse.import_(root)
    assert counts(report) == {"experiments": 2, "runs": 2, "params": 2, "points": 5, "tags": 3, "artifacts": 1}
    assert report.oddity_counts() == {
        "steps with decimals": 1,
        "run id mapped": 1,
        "string series left out": 1,
        "artifact not at hand": 1,
    }
    question = """
        SELECT run_id, experiment_name, run_name, user_id, status, lifecycle_stage,
            EPOCH_MS(ended_at) - EPOCH_MS(started_at) AS took
        FROM runs WHERE experiment_name = 'org/digits'"""
    assert [tuple(r.values()) for r in ask(question)] == [
        ("RUN-1", "org/digits", "first", "ann", "FAILED", "deleted", 60_000)
    ]
    points = ask("SELECT key, step, value FROM metrics WHERE run_id = 'RUN-1' ORDER BY key, step")
    assert [(p["key"], p["step"], str(p["value"])) for p in points] == [
        ("fine", 500_000, "1.0"),
        ("loss", 0, "0.5"),
        ("loss", 1, "nan"),
        ("loss", 2, "0.25"),
    ]
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM params")} == {
        "config/lr": "0.1",
        "config/depth": "3",
    }
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM tags")} == {
        "mlflow.note.content": "# why",
        "neptune.sys/description": "# why",
        "neptune.sys/tags": '["a", "b"]',
    }
    assert ask("SELECT path FROM artifacts") == [{"path": "model"}]
    assert counts(warehouse.import_(root)) == {}
    export(root, "org/text", "RUN-1", [point("loss", "0", 1.0, 9)], [point("loss", "1", 2.0, 10)])
    assert counts(warehouse.import_(root)) == {"runs": 1, "points": 1}


def test_a_part_that_can_not_be_read_keeps_no_other_from_coming(warehouse, tmp_path):
    root = tmp_path / "data"
    export(root, "org/digits", "RUN-1", [point("loss", "0", 0.5)])
    write(root / "org_digits" / "RUN-2_part_0.parquet", "no parquet")
    parquet.write_table(pa.table({"x": [1]}), root / "org_digits" / "RUN-3_part_0.parquet")
    report = warehouse.import_(root)
    assert (report.oddity_counts(), report.added["points"]) == ({"file unreadable": 2}, 1)
    with pytest.raises(InvalidInputError, match="isn't the data folder"):
        warehouse.import_(tmp_path / "none", kind="neptune")
