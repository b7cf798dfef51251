"""What a run says of its surroundings: code, command, packages; each can be turned off, and none holds a run up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.ingest import source_code as source_code_module
from mlwarehouse.ingest.source_code import source_code

SCRIPT = """
import sys
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off")
for name in ("first", "second"):
    with mlw.start_run(run_name=name, tags={"mlflow.source.git.branch": "said-so"} if name == "second" else None):
        pass
"""


def git(folder: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **identity},
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "notes.txt").write_text("old\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def ask(root: Path, question: str) -> list[dict]:
    warehouse = Warehouse(root)
    rows = warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()
    warehouse.close()
    return rows


def run_script(checkout: Path, root: Path, **environment: str) -> None:
    command = [sys.executable, str(checkout / "train.py"), str(root), "--lr", "0.1"]
    subprocess.run(command, check=True, cwd=root.parent, env={**os.environ, **environment})


def tags(root: Path, name: str) -> dict[str, str]:
    question = f"SELECT key, value FROM tags JOIN runs USING (run_id) WHERE run_name = '{name}'"
    return {r["key"]: r["value"] for r in ask(root, question)}


def test_a_run_says_what_it_ran(checkout, tmp_path):
    (checkout / "notes.txt").write_text("new\n")
    root = tmp_path / "wh"
    run_script(checkout, root)
    first, second = tags(root, "first"), tags(root, "second")
    assert first["mlflow.source.git.commit"] == git(checkout, "rev-parse", "HEAD")
    assert (first["mlflow.source.git.branch"], first["mlwarehouse.git.is_dirty"]) == ("main", "true")
    # What the user has said stands.
    assert second["mlflow.source.git.branch"] == "said-so"
    assert first["mlflow.source.name"] == "train.py"
    assert first["mlwarehouse.command"].endswith("--lr 0.1")
    assert {"mlflow.user", "mlwarehouse.python", "mlwarehouse.host", "mlwarehouse.platform"} <= first.keys()
    files = ask(
        root, "SELECT path, count(*) AS n, count(DISTINCT digest) AS d FROM artifacts GROUP BY path ORDER BY path"
    )
    assert files == [{"path": f"environment/{n}", "n": 2, "d": 1} for n in ("code.diff", "packages.txt")]
    warehouse = Warehouse(root)
    (run_id,) = [r["run_id"] for r in ask(root, "SELECT run_id FROM runs WHERE run_name = 'second'")]
    folder = warehouse.download_artifacts(run_id, "environment", target=tmp_path / "back")
    assert "-old\n+new\n" in (folder / "code.diff").read_text()
    assert "pytest==" in (folder / "packages.txt").read_text()
    warehouse.close()


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("MLWAREHOUSE_CAPTURE_DIFF", ["environment/packages.txt"]),
        ("MLWAREHOUSE_CAPTURE_PACKAGES", ["environment/code.diff"]),
        ("MLWAREHOUSE_CAPTURE_CODE", []),
    ],
)
def test_each_can_be_turned_off(checkout, tmp_path, setting, kept):
    (checkout / "notes.txt").write_text("new\n")
    root = tmp_path / "wh"
    run_script(checkout, root, **{setting: "off"})
    assert [r["path"] for r in ask(root, "SELECT DISTINCT path FROM artifacts ORDER BY path")] == kept
    first = tags(root, "first")
    if setting == "MLWAREHOUSE_CAPTURE_CODE":
        assert first == {"mlflow.runName": "first"}
    else:
        assert first["mlwarehouse.git.is_dirty"] == "true"


def test_a_checkout_without_changes_and_a_folder_outside_of_git(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(checkout / "train.py")])
    for with_diff in (True, False):
        code = source_code(with_diff=with_diff)
        assert code is not None
        assert (code.branch, code.is_dirty, code.diff, code.is_cut) == ("main", False, b"", False)
    monkeypatch.setattr(sys, "argv", [""])
    monkeypatch.chdir(tmp_path)
    assert source_code(with_diff=True) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_code(with_diff=True) is None


def test_a_large_difference_is_cut_and_a_git_that_hangs_is_left(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(checkout / "train.py")])
    (checkout / "notes.txt").write_text("x" * 79 + "\n")
    monkeypatch.setattr(source_code_module, "MAX_DIFF_BYTES", 100)
    code = source_code(with_diff=True)
    assert code is not None
    assert (len(code.diff), code.is_cut, code.is_dirty) == (100, True, True)
    hanging = tmp_path / "bin"
    hanging.mkdir()
    (hanging / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (hanging / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging}:{os.environ['PATH']}")
    monkeypatch.setattr(source_code_module, "TIMEOUT_S", 0.1)
    assert source_code(with_diff=True) is None


def test_a_place_that_refuses_files_is_told_and_the_run_goes_on(tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    warehouse.create()
    artifacts = warehouse.root / "artifacts"
    artifacts.rmdir() if artifacts.exists() else None
    artifacts.write_text("in the way")
    run = warehouse.start_run()
    with pytest.warns(RuntimeWarning, match="couldn't keep what run .* runs on"):
        run.end()
    warehouse.close()
    assert ask(tmp_path / "wh", "SELECT status FROM runs") == [{"status": "FINISHED"}]
