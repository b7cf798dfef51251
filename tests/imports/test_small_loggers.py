"""Importing what loggers without a server leave: Lightning's CSVLogger and DVCLive."""

from __future__ import annotations

import json

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError

from .mlruns_store import write


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def test_versions_of_a_csv_logger_come(warehouse, tmp_path, ask):
    root = tmp_path / "lightning_logs"
    path = write(root / "version_0" / "metrics.csv", "epoch,step,loss,val\n0,49,0.5,\n0,99,nan,0.75\n")
    write(root / "version_0" / "hparams.yaml", "lr: 0.1\nmodel:\n  kind: cnn\n  layers: [1, 2]\n")
    write(root / "version_0" / "checkpoints" / "last.ckpt", "bytes")
    write(root / "version_1" / "hparams.yaml", "{}\n")
    report = warehouse.import_(root)
    assert counts(report) == {"experiments": 1, "runs": 2, "params": 3, "points": 5, "artifacts": 1}
    assert report.oddities == []
    runs = ask("SELECT experiment_name, run_name, status FROM runs ORDER BY run_name")
    assert [tuple(r.values()) for r in runs] == [
        ("lightning_logs", "version_0", "FINISHED"),
        ("lightning_logs", "version_1", "FINISHED"),
    ]
    assert {r["key"]: r["value"] for r in ask("SELECT key, value FROM params")} == {
        "lr": "0.1",
        "model.kind": "cnn",
        "model.layers": "[1, 2]",
    }
    points = ask("SELECT key, step, value FROM metrics ORDER BY key, step")
    assert [(p["key"], p["step"], str(p["value"])) for p in points] == [
        ("epoch", 49, "0.0"),
        ("epoch", 99, "0.0"),
        ("loss", 49, "0.5"),
        ("loss", 99, "nan"),
        ("val", 99, "0.75"),
    ]
    assert counts(warehouse.import_(root)) == {}
    # A metric that comes later has the file written anew, with one more column.
    write(path, "epoch,step,loss,val,late\n0,49,0.5,,\n0,99,nan,0.75,\n1,149,0.25,,7\n")
    assert counts(warehouse.import_(root)) == {"runs": 1, "points": 3}


def test_folders_of_dvclive_come(warehouse, tmp_path, ask):
    root = tmp_path / "digits" / "dvclive"
    path = write(root / "plots" / "metrics" / "train" / "loss.tsv", "step\tloss\n0\t0.5\n1\t0.25\n")
    write(root / "plots" / "metrics" / "acc.tsv", "timestamp\tstep\tacc\n1700000000000\t0\t0.75\n")
    write(root / "params.yaml", "lr: 0.1\nevaluate: no\n")
    write(root / "metrics.json", json.dumps({"train": {"loss": 0.25}, "acc": 0.75, "best": {"f1": 0.5}, "step": 1}))
    write(root / "plots" / "images" / "roc.svg", "<svg/>")
    report = warehouse.import_(root)
    assert counts(report) == {"experiments": 1, "runs": 1, "params": 2, "points": 4, "artifacts": 1}
    assert ask("SELECT experiment_name, run_name FROM runs") == [{"experiment_name": "digits", "run_name": "dvclive"}]
    points = ask("SELECT key, step, value FROM metrics ORDER BY key, step")
    assert [tuple(p.values()) for p in points] == [
        ("acc", 0, 0.75),
        ("best/f1", 1, 0.5),
        ("train/loss", 0, 0.5),
        ("train/loss", 1, 0.25),
    ]
    assert ask("SELECT EPOCH_MS(event_at) AS at FROM metrics WHERE key = 'acc'") == [{"at": 1_700_000_000_000}]
    assert counts(warehouse.import_(root)) == {}
    with path.open("a") as file:
        file.write("2\t0.125\n")
    assert warehouse.import_(root).added["points"] == 1


def test_what_is_damaged_is_told_and_the_rest_comes(warehouse, tmp_path):
    root = tmp_path / "logs"
    write(root / "version_0" / "metrics.csv", "step,loss,note\n0,0.5,text\n1,2,3,4,5\n")
    write(root / "version_0" / "hparams.yaml", "!!python/object:os.system x\n")
    write(root / "version_1" / "metrics.csv", b"\x00\x01")
    report = warehouse.import_(root)
    assert (
        report.oddity_counts().items()
        >= {
            "row unreadable": 1,
            "settings unreadable": 1,
            "column left out": 1,
        }.items()
    )
    assert (report.added["runs"], report.added["points"]) == (2, 1)
    live = tmp_path / "dvclive"
    write(live / "plots" / "metrics" / "a.tsv", "step\ta\n0\thigh\nx\t1\n")
    write(live / "plots" / "metrics" / "b.tsv", "step\tb\tc\n0\t1\t2\n")
    write(live / "metrics.json", "{no json")
    report = warehouse.import_(live)
    assert report.oddity_counts() == {"metric unreadable": 2, "file unreadable": 1, "settings unreadable": 1}
    assert report.added["runs"] == 1
    for kind in ("csv-logger", "dvclive"):
        with pytest.raises(InvalidInputError, match="isn't a folder"):
            warehouse.import_(tmp_path / "none", kind=kind)


@pytest.mark.trial_data
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("csv_logger", "information_vae"),
        ("csv_logger", "lightning_examples"),
        ("dvclive", "densegpt"),
        ("dvclive", "exp_tracking"),
    ],
)
def test_folders_of_others_come_with_exactly_the_points_that_are_in_them(trial_data, tmp_path, kind, name):
    truth = json.loads((trial_data / "truth.json").read_text())["dev"][kind][name]
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    report = warehouse.import_(trial_data / truth["folder"])
    assert report.kind == kind.replace("_", "-")
    # Each row's step is a number too.
    files = [f for f in truth["per_file"].values() if "rows" in f]
    assert report.added["points"] == sum(f["numeric_cells"] - f["rows"] for f in files)
    if kind == "csv_logger":
        assert report.added["runs"] == len({path.rpartition("/")[0] for path in truth["per_file"]})
    assert report.oddities == []
    assert counts(warehouse.import_(trial_data / truth["folder"])) == {}
    warehouse.close()
