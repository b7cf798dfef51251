"""Importing W&B's folders."""

from __future__ import annotations

import json
import shutil
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.wandb_log import BLOCK, HEAD, LogError, records

from .event_file import field

T = 1_700_000_000


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def log(parts):
    """A file of records, as LevelDB's writer makes it."""
    out = bytearray(HEAD)
    for data in parts:
        begun = False
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += bytes(left)
                left = BLOCK
            piece, data = data[: left - 7], data[left - 7 :]
            kind = (3 if data else 4) if begun else (2 if data else 1)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            begun = True
            if not data:
                break
    return bytes(out)


def item(key, value, *nested):
    body = (field(1, key) if key else b"") + b"".join(field(2, n) for n in nested)
    return field(1, body + field(16, value if isinstance(value, str) else json.dumps(value)))


def run_record(run_id, name="first", start=T):
    config = item("lr", 0.1) + item("model", '"cnn"') + item("_wandb", {})
    return field(
        17,
        field(1, run_id) + field(2, "ann") + field(3, "digits") + field(4, config) + field(6, "sweep") + field(8, name)
        + field(9, "# why") + field(10, "good") + field(17, field(1, start) + field(2, 500_000_000))
        + field(21, field(1, "https://x/y") + field(2, "abc")),
    )  # fmt: skip


def history(step, **values):
    items = b"".join(item(k, v) for k, v in values.items())
    return field(2, items + item("_step", step) + item("_timestamp", T + step) + item("_runtime", 1.5))


def write(folder, *parts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / "config.yaml").write_text(folder.name)
    run_id = folder.name.rpartition("-")[2]
    (folder / f"run-{run_id}.wandb").write_bytes(log(parts))
    return folder / f"run-{run_id}.wandb"


EXIT = field(18, field(1, 0) + field(2, 30))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=64) | st.integers(0, 3 * BLOCK).map(bytes), max_size=5), st.data())
def test_records_of_a_file_that_was_cut_or_changed_are_those_before(parts, draw):
    content = log(parts)
    assert list(records(content)) == parts
    if len(content) == len(HEAD):
        return
    changed = bytearray(content)
    place = draw.draw(st.integers(len(HEAD), len(content) - 1))
    changed[place] ^= draw.draw(st.integers(1, 255))
    for damaged in (content[:place], bytes(changed)):
        got = []
        try:
            for each in records(damaged):
                got.append(each)
        except LogError:
            pass
        assert got == parts[: len(got)]


def test_everything_of_a_run_comes(warehouse, tmp_path, ask):
    write(
        tmp_path / "wandb" / "run-20240101_000000-abc123",
        field(21, b""),
        run_record("abc123"),
        field(5, item("depth", 3) + item("", 7, "net", "width")),
        history(0, loss=0.5, acc=1, note='"text"', hist={"bins": [1]}, flag=True),
        field(2, item("loss", "NaN") + field(2, field(1, 1))),
        field(3, item("best", 0.25) + item("loss", 0.5)),
        field(7, field(3, field(1, "cpu") + field(16, "1"))),
        EXIT,
    )
    report = warehouse.import_(tmp_path / "wandb")
    assert counts(report) == {"experiments": 1, "runs": 1, "params": 4, "points": 3, "tags": 6, "artifacts": 1}
    assert report.oddity_counts() == {"history values that aren't numbers left out": 1, "system metrics left out": 1}
    question = """
        SELECT run_id, experiment_name, run_name, user_id, status, EPOCH_MS(started_at) AS began,
            EPOCH_MS(ended_at) AS ended
        FROM runs"""
    assert [tuple(row.values()) for row in ask(question)] == [
        ("abc123", "digits", "first", "ann", "FINISHED", T * 1000 + 500, T * 1000 + 30_500)
    ]
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM params")} == {
        "lr": "0.1",
        "model": "cnn",
        "depth": "3",
        "net.width": "7",
    }
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM tags")} == {
        "mlflow.note.content": "# why",
        "mlflow.source.git.commit": "abc",
        "mlflow.source.git.repoURL": "https://x/y",
        "wandb.group": "sweep",
        "wandb.summary.best": "0.25",
        "wandb.tags": '["good"]',
    }
    points = ask("SELECT key, step, value, EPOCH_MS(event_at) AS at FROM metrics ORDER BY key, step")
    assert [(p["key"], p["step"], str(p["value"]), p["at"]) for p in points] == [
        ("acc", 0, "1.0", T * 1000),
        ("loss", 0, "0.5", T * 1000),
        ("loss", 1, "nan", T * 1000 + 500),
    ]


def test_copies_resumed_runs_and_files_that_grow_add_what_is_new(warehouse, tmp_path, ask):
    root = tmp_path / "wandb"
    first = root / "run-20240101_000000-abc123"
    path = write(first, run_record("abc123"), history(0, loss=0.5), history(1, loss=0.25))
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    (root / "run-20240101_000001-empty").mkdir()
    (root / "run-20240101_000001-empty" / "run-empty.wandb").touch()
    report = warehouse.import_(root)
    assert report.added["points"] == 1
    assert report.oddity_counts() == {"file without an end": 1, "run without an end": 1, "empty file": 1}
    path.write_bytes(whole)
    shutil.copytree(first, root / "latest-run")
    report = warehouse.import_(root)
    assert (counts(report), report.oddity_counts()["file twice"]) == ({"points": 1}, 1)
    # Resumed by W&B: a second folder of the same run.
    again = run_record("abc123", "second", T + 9)
    write(root / "run-20240102_000000-abc123", again, history(2, loss=0.125), EXIT)
    assert counts(warehouse.import_(root)) == {"runs": 1, "points": 1, "artifacts": 1}
    assert ask("SELECT run_name, status FROM runs") == [{"run_name": "second", "status": "FINISHED"}]
    assert [r["step"] for r in ask("SELECT step FROM metrics ORDER BY step")] == [0, 1, 2]
    assert counts(warehouse.import_(root)) == {}


def test_what_is_damaged_is_told_and_the_rest_comes(warehouse, tmp_path):
    root = tmp_path / "wandb"
    write(root / "run-20240101_000000-a", run_record("a"), field(2, item("loss", "{no json")), b"\x0b", history(0, x=1))
    write(root / "run-20240101_000000-b", history(0, x=1))
    (root / "run-20240101_000000-b" / "other.wandb").write_bytes(b"nothing of the kind")
    report = warehouse.import_(root)
    assert (report.added["runs"], report.added["points"]) == (1, 1)
    assert report.oddity_counts() == {
        "record unreadable": 2,
        "file without a run": 2,
        "file without an end": 1,
        "run without an end": 1,
    }
    with pytest.raises(InvalidInputError, match="isn't a folder with"):
        warehouse.import_(tmp_path / "none", kind="wandb")


@pytest.mark.trial_data
@pytest.mark.parametrize("name", ["asquaredm", "sparse_resnet"])
def test_folders_of_others_come_with_exactly_the_points_that_are_in_them(trial_data, tmp_path, name):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"]["wandb_runs"][name]
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    report = warehouse.import_(trial_data / truth["folder"])
    # A copy of a run's file has the same points, and the run comes once.
    by_run = {file["run_id"]: file["numeric_points"] for file in truth["per_file"].values() if "run_id" in file}
    found = warehouse.engine().query("SELECT run_id, COUNT(*) AS n FROM metrics GROUP BY run_id").to_pylist()
    assert {r["run_id"]: r["n"] for r in found} == {run: n for run, n in by_run.items() if n}
    assert report.added["runs"] == len(by_run)
    copies = sum(f.get("numeric_points", 0) for f in truth["per_file"].values()) - sum(by_run.values())
    assert report.added["points"] == truth["numeric_points"] - copies
    question = "SELECT COUNT(*) AS n FROM metrics WHERE ISNAN(value)"
    assert warehouse.engine().query(question).to_pylist() == [{"n": truth["nan"]}]
    assert (
        report.oddity_counts().get("file without an end", 0) + report.oddity_counts().get("file twice", 0)
        == truth["cut"]
    )
    assert counts(warehouse.import_(trial_data / truth["folder"])) == {}
    warehouse.close()
