"""What the command line does to registered models."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mlwarehouse import Warehouse
from mlwarehouse.cli import app
from mlwarehouse.errors import WarehouseError


@pytest.fixture
def warehouse(tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", actor="ada")
    warehouse.create()
    for _ in range(2):
        warehouse.registry.create_model_version("mood", source="runs:/r/m", run_id=None, digest=None)
    yield warehouse
    warehouse.close()


@pytest.fixture
def run(warehouse):
    def run(*arguments: str, status: int = 0, given: str = ""):
        """What a command prints: as JSON where it was asked so; with the error that the program would print."""
        where = ("-w", str(warehouse.root))
        done = CliRunner().invoke(app, ["models", *arguments, *where], input=given, env={"MLWAREHOUSE_ACTOR": "ada"})
        assert done.exit_code == status, f"{done.output} {done.exception!r}"
        if status:
            assert isinstance(done.exception, WarehouseError | SystemExit), repr(done.exception)
            return f"{done.output}{done.exception}"
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def test_names_deletions_descriptions_and_tags(run, warehouse):
    assert run("rename", "mood", "sentiment", "--comment", "as we call it") == "mood is sentiment from now on\n"
    assert run("describe", "sentiment", "Tells a *mood*.", "--json")["description"] == "Tells a *mood*."
    assert run("describe", "sentiment", "-", "-v", "2", "--json", given="the second\n")["description"] == "the second"
    assert run("describe", "sentiment", "", "-v", "2", "--json")["description"] is None
    assert "is yes" in run("tag", "sentiment", "checked", "yes", "-v", "2")
    run("tag", "sentiment", "team", "nlp")
    assert run("tag", "sentiment", "team", "--json")["value"] is None
    assert run("delete", "sentiment", "-v", "1") == "models:/sentiment/1 is deleted\n"
    assert run("restore", "sentiment", "-v", "1", "--json")["version"] == 1
    assert run("delete", "sentiment", "--json") == {"name": "sentiment", "version": None}
    assert "There is no registered model" in run("tag", "sentiment", "team", "nlp", status=1)
    assert run("restore", "sentiment", "--json")["description"] == "Tells a *mood*."
    assert warehouse.get_model_version("sentiment", 2).tags == {"checked": "yes"}


def test_comments(run):
    said = run("comment", "mood", "Slower?", "-v", "2", "--json")
    assert (said["text"], said["version"], said["user_id"]) == ("Slower?", 2, "ada")
    number = str(said["comment_id"])
    assert run("comment", "mood", "Slower than 1?", "--edit", number, "--json")["text"] == "Slower than 1?"
    assert [c["text"] for c in run("comment", "mood", "--json")] == ["Slower than 1?"]
    assert "leave the text" in run("comment", "mood", "x", "--delete", number, status=1)
    assert "--edit needs a text" in run("comment", "mood", "--edit", number, status=1)
    assert "is deleted" in run("comment", "mood", "--delete", number)
    assert run("comment", "mood") == "(no rows)\n"


def test_searches_go_on_from_page_to_page(run):
    run("tag", "mood", "checked", "yes", "-v", "1")
    assert [v["version"] for v in run("search", "tags.checked = 'yes'", "--json")["entries"]] == [1]
    first = run("search", "--limit", "1", "--json")
    rest = run("search", "--limit", "1", "--page", first["token"], "--json")
    assert [v["version"] for v in (*first["entries"], *rest["entries"])] == [2, 1]
    assert rest["token"] is None
    assert run("search", "alias IS NULL", "--models", "--json")["entries"][0]["name"] == "mood"
    assert "name" in run("search")
    assert "Did you mean" in run("search", "stag = 'Production'", status=1)


def test_many_at_once(run, tmp_path, warehouse):
    table = tmp_path / "devices.csv"
    table.write_text("name,source,parent,tags.lot\nd-1,runs:/r/1,models:/mood/latest,7\nd-2,runs:/r/2,,NA\n")
    assert run("bulk", str(table), "--source-id", "monday", "--json")["n_versions"] == 2
    assert "monday was registered before" in run("bulk", str(table), "--source-id", "monday")
    made = warehouse.get_model_version("d-1", 1)
    assert (made.parent, made.tags) == ("models:/mood/2", {"lot": "7"})
    other = warehouse.get_model_version("d-2", 1)
    assert (other.parent, other.tags) == (None, {"lot": "NA"})
    table.write_text("name,source,parent\nd-3,runs:/r/1,models:/mood/9\n")
    assert "has no version 9" in run("bulk", str(table), "--source-id", "tuesday", status=1)
    assert "can't be read" in run("bulk", str(tmp_path / "none.parquet"), "--source-id", "x", status=1)
