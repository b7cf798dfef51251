"""Importing `mlruns` folders: all that is in the files comes as it was, once."""

from __future__ import annotations

import collections
import json
import math
import os
import shutil
import threading

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.tables import TABLES

from .mlruns_store import GONE, LOST, OLD, START, A, B, C, D, experiment, lines, run, store, write


@pytest.fixture
def root(tmp_path):
    return store(tmp_path / "mlruns")


def counts(report):
    return {name: n for name, n in report.added.items() if n}


def test_everything_comes_as_it_was(warehouse, root, ask):
    report = warehouse.import_(root)
    assert (
        dict(report.found)
        == dict(report.added)
        == {
            "experiments": 5,
            "runs": 7,
            "params": 5,
            "points": 9,
            "tags": 3,
            "inputs": 1,
            "artifacts": 4,
            "logged_models": 1,
            "models": 1,
            "model_versions": 2,
            "model_aliases": 1,
        }
    )
    question = """
        SELECT
            run_id, run_name, user_id, status, lifecycle_stage, parent_run_id,
            EPOCH_MS(started_at) - $start AS began, EPOCH_MS(ended_at) - $start AS ended
        FROM runs"""
    runs = {row.pop("run_id"): tuple(row.values()) for row in ask(question, start=START)}
    assert runs == {
        A: ("run aaaa", "ann", "FINISHED", "active", None, 0, 60_000),
        B: ("run bbbb", "ann", "FAILED", "active", A, 0, 60_000),
        C: ("run cccc", "ann", "FINISHED", "active", None, 0, 60_000),
        D: ("run dddd", "ann", "FINISHED", "active", None, 0, 60_000),
        GONE: ("run ffff", "ann", "RUNNING", "deleted", None, 0, None),
        OLD: ("Run 0", "jules", "FINISHED", "active", None, 0, 9),
        LOST: ("run 9999", "ann", "FINISHED", "active", None, 0, 60_000),
    }
    assert ask("SELECT key, value, value_number FROM params WHERE run_id = $run ORDER BY key", run=A) == [
        {"key": "empty", "value": "", "value_number": None},
        {"key": "lr", "value": "0.1", "value_number": 0.1},
        {"key": "note", "value": "one\ntwo\n", "value_number": None},
    ]
    assert ask("SELECT value FROM params WHERE run_id = $run", run=OLD) == [{"value": "3"}]
    points = ask("SELECT key, step, value, EPOCH_MS(event_at) AS at FROM metrics WHERE run_id = $run", run=A)
    found = collections.Counter((p["key"], p["step"], str(p["value"]), p["at"] - START) for p in points)
    assert found == {
        ("val/loss", 0, "0.5", 0): 1,
        ("val/loss", 1, "nan", 1): 1,
        ("val/loss", 2, "-inf", 2): 1,
        ("val/loss", 3, "0.25", 3): 1,
        ("acc", 3, "0.5", 0): 2,
    }
    assert ask("SELECT step, EPOCH_MS(event_at) AS at FROM metrics WHERE run_id = $run", run=OLD) == [
        {"step": 0, "at": 1_534_546_522_000}
    ]
    assert ask("SELECT name, digest, context, source FROM inputs") == [
        {"name": "yelp", "digest": "abc", "context": "training", "source": "s3://x"}
    ]


def test_experiments_keep_their_ids_where_those_are_free(warehouse, root, ask):
    with warehouse.start_run(experiment="ours"):
        pass
    warehouse.flush()
    report = warehouse.import_(root)
    found = {row["name"]: row for row in ask("SELECT experiment_id, name, lifecycle_stage FROM experiments")}
    assert {name: found[name]["experiment_id"] for name in ("Default", "digits", "digits (deleted 2)")} == {
        "Default": "0",
        "digits": "1",
        "digits (deleted 2)": "2",
    }
    assert found["digits"]["lifecycle_stage"] == "active"
    assert found["digits (deleted 2)"]["lifecycle_stage"] == found["old"]["lifecycle_stage"] == "deleted"
    assert len(found["old"]["experiment_id"]) == 18
    tags = {(row["name"], row["key"]): row["value"] for row in ask(_TAGS)}
    assert tags["old", f"mlwarehouse.imported:mlruns:{root}"] == ".trash/1"
    assert tags["digits", "team"] == "vision"
    logged = json.loads(tags["digits", "mlwarehouse.logged_model.m-7"])
    assert (logged["source_run_id"], logged["path"], logged["params"]) == (B, "net", {"depth": "3"})
    assert report.oddity_counts() == {
        "experiment without meta.yaml": 1,
        "experiment id twice": 1,
        "run of an old layout": 1,
        "metric lines of two columns": 1,
        "experiment id mapped": 1,
        "experiment name twice": 1,
    }


_TAGS = """
    SELECT experiments.name, key, value
    FROM experiment_tags INNER JOIN experiments ON experiment_tags.experiment_id = experiments.experiment_id"""


def test_an_experiment_that_is_here_by_name_takes_the_runs(warehouse, tmp_path, ask):
    with warehouse.start_run(experiment="digits"):
        pass
    (there,) = ask("SELECT experiment_id FROM experiments")
    place = experiment(tmp_path / "mlruns", there["experiment_id"], "another")
    run(place, A)
    run(experiment(tmp_path / "mlruns", "5", "digits"), B)
    warehouse.import_(tmp_path / "mlruns")
    names = {row["run_id"]: row["experiment_name"] for row in ask("SELECT run_id, experiment_name FROM runs")}
    assert (names[A], names[B]) == ("another", "digits")
    assert len(ask("SELECT experiment_id FROM experiments")) == 2


def test_artifacts_are_copied_or_left(warehouse, root, ask, tmp_path):
    assert counts(warehouse.import_(root, artifacts="leave")).get("artifacts") is None
    assert counts(warehouse.import_(root)) == {"artifacts": 4}
    assert [tuple(row.values()) for row in ask("SELECT run_id, path, kind FROM artifacts ORDER BY run_id, path")] == [
        (A, "model/MLmodel", "model"),
        (A, "model/data/weights", "model"),
        (A, "vocab.txt", "file"),
        (B, "net/MLmodel", "model"),
    ]
    (digest,) = {row["digest"] for row in ask("SELECT digest FROM artifacts WHERE path = 'vocab.txt'")}
    assert warehouse.artifact_store().open(digest).read() == b"a b c"
    changed = write(root / "1" / A / "artifacts" / "vocab.txt", "d e f")
    os.utime(changed, ns=(1, 10**18))
    assert counts(warehouse.import_(root)) == {"artifacts": 1}
    with pytest.raises(InvalidInputError, match="Did you mean `copy`"):
        warehouse.import_(root, artifacts="cpy")


def test_models_keep_numbers_stages_aliases_and_times(warehouse, root):
    warehouse.import_(root)
    model = warehouse.get_registered_model("net")
    assert (model.description, dict(model.tags), dict(model.aliases)) == ("the net", {"task": "text"}, {"champion": 3})
    assert model.creation_timestamp == START
    first, third = (warehouse.get_model_version("net", n) for n in (1, 3))
    assert (first.source, first.run_id, first.current_stage, first.user_id) == (
        f"runs:/{A}/model",
        A,
        "Production",
        "ann",
    )
    assert (first.creation_timestamp, first.description, dict(first.tags)) == (START + 1, "v1", {"seen": "yes"})
    assert (third.source, third.current_stage, third.aliases) == (f"runs:/{B}/net", "None", ("champion",))
    with pytest.raises(NotFoundError):
        warehouse.get_model_version("net", 2)
    assert counts(warehouse.import_(root)) == {}
    # What was changed here stays; what changes there comes.
    warehouse.set_model_alias("net", "champion", 1)
    assert counts(warehouse.import_(root)) == {}
    write(root / "models" / "net" / "version-4" / "meta.yaml", f"creation_timestamp: {START}\nversion: 4\nsource: x\n")
    write(root / "models" / "net" / "aliases" / "best", "4")
    assert counts(warehouse.import_(root)) == {"models": 1, "model_versions": 1, "model_aliases": 1}
    assert dict(warehouse.get_registered_model("net").aliases) == {"champion": 1, "best": 4}


def test_a_model_of_a_name_that_is_taken_gets_another(warehouse, root):
    warehouse.create()
    warehouse.registry.create_registered_model("net")
    report = warehouse.import_(root)
    assert report.oddity_counts()["model name taken"] == 1
    assert warehouse.get_model_version("net (2)", 3).source == f"runs:/{B}/net"
    assert counts(warehouse.import_(root)) == {}


def test_again_adds_nothing_and_what_was_logged_since_comes(warehouse, root, ask, tmp_path):
    warehouse.import_(root)
    before = warehouse.versions()
    assert counts(warehouse.import_(root)) == {}
    # A copy of the store has the same runs.
    assert counts(warehouse.import_(shutil.copytree(root, tmp_path / "copy"), source_id=f"mlruns:{root}")) == {}
    assert warehouse.versions() == before
    with (root / "1" / A / "metrics" / "val" / "loss").open("a") as file:
        file.write(lines("0.25", "7", step=3))
    write(root / "1" / A / "metrics" / "new", lines("1"))
    write(root / "1" / A / "params" / "late", "1")
    write(root / "1" / A / "tags" / "mlflow.note.content", "# because")
    run(root / "1", "8" * 32, metrics={"acc": lines("1", "2")})
    assert counts(warehouse.import_(root)) == {"runs": 1, "params": 1, "points": 5, "tags": 1}
    assert ask("SELECT value FROM tags WHERE key = 'mlflow.note.content'") == [{"value": "# because"}]
    assert ask("SELECT COUNT(*) AS n FROM metrics WHERE run_id = $run AND key = 'val/loss'", run=A) == [{"n": 6}]


def test_a_run_that_ends_or_is_deleted_there_does_so_here(warehouse, root, ask):
    write(root / "1" / GONE / "meta.yaml", (root / "1" / GONE / "meta.yaml").read_text().replace("deleted", "active"))
    run(root / "1", GONE, status=1, end=None)
    warehouse.import_(root)
    state = "SELECT status, lifecycle_stage, EPOCH_MS(ended_at) AS ended, run_name FROM runs WHERE run_id = $run"
    assert ask(state, run=GONE) == [
        {"status": "RUNNING", "lifecycle_stage": "active", "ended": None, "run_name": "run ffff"}
    ]
    meta = run(root / "1", GONE, status=5, end=START + 3) / "meta.yaml"
    write(meta, meta.read_text().replace("active", "deleted").replace("run ffff", "renamed"))
    assert counts(warehouse.import_(root)) == {"runs": 1}
    assert ask(state, run=GONE) == [
        {"status": "KILLED", "lifecycle_stage": "deleted", "ended": START + 3, "run_name": "renamed"}
    ]
    run(root / "1", GONE, status=1, end=None)
    assert counts(warehouse.import_(root)) == {"runs": 1}
    assert ask(state, run=GONE) == [
        {"status": "RUNNING", "lifecycle_stage": "active", "ended": None, "run_name": "run ffff"}
    ]
    assert counts(warehouse.import_(root)) == {}


def test_what_was_changed_here_since_stays(warehouse, root, ask):
    warehouse.import_(root)
    with warehouse.start_run(run_id=A) as resumed:
        resumed.set_tag("mlflow.note.content", "ours")
        resumed.log_metric("val/loss", 0.1, step=4)
    warehouse.flush()
    assert counts(warehouse.import_(root)) == {}
    assert ask("SELECT value FROM tags WHERE key = 'mlflow.note.content'") == [{"value": "ours"}]


def test_a_run_that_was_logged_here_is_left_alone(warehouse, root, ask):
    with warehouse.start_run(experiment="ours") as own:
        own.log_metric("acc", 1.0)
    warehouse.flush()
    run(root / "1", own.run_id, metrics={"acc": lines("1", "2")}, params={"x": "1"}, files={"a": "b"})
    report = warehouse.import_(root)
    assert report.oddity_counts()["run already here"] == 1
    assert ask("SELECT COUNT(*) AS n FROM metrics WHERE run_id = $run", run=own.run_id) == [{"n": 1}]
    assert (report.found["runs"], report.added["runs"]) == (8, 7)


def test_a_dry_run_says_what_would_come_and_writes_nothing(warehouse, root, tmp_path):
    promised = warehouse.import_(root, dry_run=True)
    assert promised.is_dry_run
    assert not (tmp_path / "wh").exists()
    assert dict(promised.added) == dict(warehouse.import_(root).added)
    before = warehouse.versions()
    with (root / "1" / A / "metrics" / "val" / "loss").open("a") as file:
        file.write(lines("7", step=4))
    assert counts(warehouse.import_(root, dry_run=True)) == {"points": 1}
    assert warehouse.versions() == before


class Killed(BaseException):
    pass


def contents(warehouse):
    """All rows, without what tells one import from another."""
    left_out = {"recorded_at", "writer_id", "writer_seq"}
    return {
        spec.name: collections.Counter(
            tuple((k, str(v)) for k, v in row.items() if k not in left_out)
            for row in warehouse.engine().query(f"SELECT * FROM {spec.name}").to_pylist()
        )
        for spec in TABLES
        if spec.name != "audit"
    }


def test_an_import_that_was_killed_anywhere_goes_on(root, tmp_path, monkeypatch):
    with_all = Warehouse(tmp_path / "whole", committer="off")
    with_all.import_(root)
    whole = contents(with_all)
    with_all.close()
    killed = Warehouse(tmp_path / "killed", committer="off")
    killed.create()
    engine = killed.engine()
    append, n_left = engine.append, 0

    def failing(spec, rows, **more):
        nonlocal n_left
        if n_left == 0:
            raise Killed
        n_left -= 1
        return append(spec, rows, **more)

    monkeypatch.setattr(engine, "append", failing)
    for _ in range(30):
        n_left = 1
        try:
            killed.import_(root)
            break
        except Killed:
            pass
    assert contents(killed) == whole
    killed.close()


def test_two_imports_at_once_add_everything_once(root, tmp_path):
    first, second = (Warehouse(tmp_path / "wh", committer="off") for _ in range(2))
    first.create()
    threads = [threading.Thread(target=wh.import_, args=(root,)) for wh in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = Warehouse(tmp_path / "alone", committer="off")
    alone.import_(root)
    assert contents(first) == contents(alone)
    for wh in (first, second, alone):
        wh.close()


def test_what_is_damaged_is_told_and_keeps_nothing_from_coming(warehouse, tmp_path, ask):
    root = tmp_path / "mlruns"
    place = experiment(root, "1", "digits")
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(f"c{n}: [*b, *b]\n" for n in range(9))
    write(run(place, A, metrics={"m": lines("1", "2")}) / "meta.yaml", bomb)
    run(place, B, metrics={"m": f"{START} 1 0\nno number\n{START} 2 1\n", "none": "", "far": f"{10**17} 1 {2**70}\n"})
    run(place, C, params={"p": "é".encode("latin-1")}, metrics={"m": f"{START} 1 0\n{START} 2 "}, status=1, end=None)
    run(place, D, metrics={"m": f"{START} 1 0\n{START} 2 1", "late": f"{10**17} 1 2\n"})
    (place / D / "params" / "link").symlink_to("/etc/hostname")
    write(place / "e" / "readme.txt", "not a run")
    write(root / "2" / "meta.yaml", "[" * 9999)
    write(root / "models" / "x" / "meta.yaml", "a: : :")
    report = warehouse.import_(root)
    assert report.oddity_counts() == {
        "metric line unreadable": 2,
        "metric file without points": 2,
        "last line without an end": 2,
        "meta.yaml unreadable": 3,
        "folder like a run": 1,
        "not UTF-8": 1,
        "not a file": 1,
        "run without a start": 1,
        "run without a status": 1,
        "time out of reach": 1,
    }
    points = ask("SELECT run_id, COUNT(*) AS n FROM metrics GROUP BY run_id ORDER BY run_id")
    assert [(p["run_id"], p["n"]) for p in points] == [(A, 2), (B, 2), (C, 1), (D, 3)]
    assert ask("SELECT value FROM params") == [{"value": "é"}]
    write(place / C / "metrics" / "m", f"{START} 1 0\n{START} 2 25\n")
    assert counts(warehouse.import_(root)) == {"points": 1}
    assert ask("SELECT step FROM metrics WHERE run_id = $run ORDER BY step", run=C) == [{"step": 0}, {"step": 25}]


def test_a_store_is_found_in_the_folder_around_it_and_an_experiment_is_none(warehouse, root, tmp_path):
    assert warehouse.import_(tmp_path, dry_run=True).place == str(root)
    moved = tmp_path / "tracking" / "store"
    shutil.copytree(root, moved)
    assert warehouse.import_(moved, dry_run=True).added["runs"] == 7
    for place in (root / "1", root / "1" / A, moved.parent):
        with pytest.raises(InvalidInputError, match="isn't an mlruns folder"):
            warehouse.import_(place, kind="mlruns")


def test_what_isnt_a_store_is_refused(warehouse, tmp_path):
    with pytest.raises(InvalidInputError, match="doesn't look like anything that can be imported"):
        warehouse.import_(tmp_path)
    with pytest.raises(InvalidInputError, match="isn't an mlruns folder"):
        warehouse.import_(tmp_path, kind="mlruns")
    with pytest.raises(InvalidInputError, match="Did you mean `mlruns`"):
        warehouse.import_(tmp_path, kind="mlrun")
    assert not (tmp_path / "wh").exists()


def test_progress_is_told_to_the_end(warehouse, root):
    told = []
    warehouse.import_(root, on_progress=told.append)
    assert (told[-1].done, told[-1].total, told[-1].unit) == (7, 7, "runs")
    assert told[-1].added["points"] == 9


def test_sums_of_nan_and_the_like(warehouse, root, ask):
    warehouse.import_(root)
    (summary,) = ask("SELECT last, min, count FROM metric_summaries WHERE run_id = $run AND key = 'val/loss'", run=A)
    assert (summary["last"], summary["min"], summary["count"]) == (0.25, -math.inf, 4)
