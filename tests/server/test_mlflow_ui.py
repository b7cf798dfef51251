"""MLflow's own web page in a browser, over our server; and the questions in GraphQL that it asks."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwarehouse import Warehouse
from mlwarehouse.errors import InvalidInputError, MissingDependencyError
from mlwarehouse.server import find_page
from mlwarehouse.server.graphql import FIELDS, answer_document

from .serving import ANSWERS_S, Server, start

CHROMIUM = "/usr/bin/chromium"

NOT_HERE = ("/mlflow/assistant/", "/mlflow/users/current")
"""What the page asks of features that aren't here, and is told so."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with the page, over a warehouse with a few runs and a model, and what they are called."""
    place = tmp_path_factory.mktemp("page") / "wh"
    warehouse = Warehouse(place, committer="off", capture_code=False)
    for number in range(2):
        with warehouse.start_run(experiment="digits", run_name=f"gru-{number}") as run:
            run.log_param("lr", 0.1)
            for step in range(20):
                run.log_metric("val/loss", math.exp(-step / 7) + number, step=step)
            run.log_metric("odd", math.nan)
            run.log_text("some words", "notes.txt")
            run.log_input(np.array([1, 2]), name="tiny", context="training")
            run_id = run.info.run_id
    warehouse.flush()
    warehouse.close()
    server = start(place, "--mlflow-ui")
    server.post("registered-models/create", name="linear")
    server.post("model-versions/create", name="linear", source=f"runs:/{run_id}/notes.txt", run_id=run_id)
    experiment_id = server.get("experiments/get-by-name", experiment_name="digits")["experiment"]["experiment_id"]
    yield SimpleNamespace(server=server, run_id=run_id, experiment_id=experiment_id)
    server.stop()


@pytest.mark.browser
def test_experiments_runs_charts_and_models_are_shown(shown: Any) -> None:
    from playwright.sync_api import expect, sync_playwright

    uri, experiment, failed = shown.server.uri, f"/#/experiments/{shown.experiment_id}", []

    def note(answer: Any) -> None:
        if answer.status >= 400 and not any(part in answer.url for part in NOT_HERE):
            failed.append((answer.status, answer.url))

    expect.set_options(timeout=ANSWERS_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.on("response", note)
        page.on("requestfailed", lambda request: failed.append((request.failure, request.url)))
        page.on("pageerror", lambda error: failed.append(("script", str(error))))
        page.goto(f"{uri}/#/experiments")
        page.get_by_role("link", name="digits").click()
        page.goto(f"{uri}{experiment}/runs")
        for name in ("gru-0", "gru-1"):
            expect(page.get_by_text(name).first).to_be_visible()
        page.goto(f"{uri}{experiment}/runs/{shown.run_id}")
        expect(page.get_by_text(shown.run_id).first).to_be_visible()
        expect(page.get_by_text("lr", exact=True).first).to_be_visible()
        page.goto(f"{uri}{experiment}/runs/{shown.run_id}/model-metrics")
        # A line with its points, and not only the axes.
        expect(page.locator(".js-line").first).to_be_attached()
        page.goto(f"{uri}{experiment}/runs/{shown.run_id}/artifacts")
        page.get_by_text("notes.txt").first.click()
        expect(page.get_by_text("some words").first).to_be_visible()
        page.goto(f"{uri}/#/models/linear")
        expect(page.get_by_text("Version 1").first).to_be_visible()
        browser.close()
    # The page goes on asking for what it left behind when it is taken elsewhere.
    assert [x for x in failed if "ERR_ABORTED" not in str(x[0])] == []


def test_no_file_but_the_page_s_is_given_out(shown: Any) -> None:
    server: Server = shown.server
    status, index = server.ask("GET", "/")
    assert (status, "<title>MLflow</title>" in index) == (200, True)
    for path in (
        "../../../handlers.py",
        "%2e%2e/%2e%2e/handlers.py",
        "/etc/passwd",
        "static",
        "",
        "..\\x",
        "index.html/",
    ):
        assert server.ask("GET", f"/static-files/{path}")[0] == 404
    assert server.ask("GET", "/static-files/index.html")[0] == 200


def test_files_and_datasets_are_found_as_the_page_asks_for_them(shown: Any) -> None:
    server: Server = shown.server
    assert server.ask("GET", "/model-versions/get-artifact", name="linear", version="1", path="x")[0] == 404
    assert server.ask("GET", "/model-versions/get-artifact", name="none", version="1", path="x")[0] == 404
    assert server.ask("GET", "/model-versions/get-artifact", name="linear", version="1", path="../x")[0] == 400
    told = server.post("experiments/search-datasets", experiment_ids=[shown.experiment_id])
    assert {(d["name"], d["context"], d["experiment_id"]) for d in told["dataset_summaries"]} == {
        ("tiny", "training", shown.experiment_id)
    }
    assert server.post("experiments/search-datasets", experiment_ids=["0"]) == {}
    assert server.ask("POST", "experiments/search-datasets", {})[0] == 400


GET_RUN = """query GetRun($data: MlflowGetRunInput!) @component(name: "A \\"b\\" (") {
  mlflowGetRun(input: $data) {
    apiError { code __typename }
    run {
      info { runName runUuid startTime status __typename }
      experiment { name tags { key } }
      modelVersions { name version }
      data { metrics { key value step } params { key value } tags { key } }
      inputs { datasetInputs { dataset { name } } modelInputs { modelId } }
      outputs { modelOutputs { modelId } }
    }
    __typename
  }
}"""


def test_a_run_is_told_in_graphql_as_over_rest(shown: Any) -> None:
    server: Server = shown.server
    body = {"operationName": "GetRun", "variables": {"data": {"runId": shown.run_id}}, "query": GET_RUN}
    status, told = server.ask("POST", "/graphql", body)
    assert status == 200
    run = told["data"]["mlflowGetRun"]["run"]
    rest = server.get("runs/get", run_id=shown.run_id)["run"]
    assert run["info"]["runName"] == "gru-1"
    # Numbers of 64 bits are text, and what JSON has no number for is nothing.
    assert run["info"]["startTime"] == str(rest["info"]["start_time"])
    assert {m["key"]: m["value"] for m in run["data"]["metrics"]}["odd"] is None
    assert len(run["data"]["metrics"]) == len(rest["data"]["metrics"])
    assert run["data"]["params"] == [{"key": "lr", "value": "0.1"}]
    assert run["experiment"] == {"name": "digits", "tags": []}
    assert run["modelVersions"] == [{"name": "linear", "version": "1"}]
    assert run["inputs"]["datasetInputs"][0] == {"dataset": {"name": "tiny"}}
    assert run["outputs"] == {"modelOutputs": []}
    assert told["data"]["mlflowGetRun"]["apiError"] is None
    search = (
        "query SearchRuns($data: MlflowSearchRunsInput!) { mlflowSearchRuns(input: $data) { runs { info { runName }}}}"
    )
    body = {"query": search, "variables": {"data": {"experimentIds": [shown.experiment_id]}}}
    runs = server.ask("POST", "/graphql", body)[1]["data"]["mlflowSearchRuns"]["runs"]
    assert {r["info"]["runName"] for r in runs} == {"gru-0", "gru-1"}
    missing = {"query": GET_RUN, "variables": {"data": {"runId": "0" * 32}}}
    assert server.ask("POST", "/graphql", missing)[0] == 404


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "query { }",
        "mutation { mlflowGetRun { run } }",
        "{ mlflowGetRun { run } mlflowGetExperiment { name } }",
        "{ mlflowGetRun { ...All } }",
        "{ other: mlflowGetRun { run } }",
        "{ test(inputString: 1) { output } }",
        "{ mlflowGetRun " + "{ run " * 100 + "}" * 101,
        "{ mlflowGetRun { run } }" + " " * 30_000,
    ],
)
def test_a_document_of_another_kind_is_refused(query: str) -> None:
    with pytest.raises(InvalidInputError):
        answer_document({"query": query}, lambda *asked: {"run": {"info": {}}})


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('{}()@:"\\ $!query.mlflowGetRun_1,'), max_size=60), st.data())
def test_no_document_is_the_server_s_fault(text: str, data: st.DataObject) -> None:
    variables = data.draw(st.none() | st.lists(st.integers()) | st.dictionaries(st.text(), st.none() | st.integers()))
    for body in ({"query": text, "variables": variables}, text, None, {"query": 1}):
        try:
            answer_document(body, lambda *asked: {"run": {"info": {"experiment_id": "0", "run_id": "x"}}})
        except InvalidInputError as error:
            json.dumps(str(error))


def test_where_mlflow_is_not_installed_it_is_said_how_to_get_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (find_page() / "index.html").is_file()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install mlflow"):
        find_page()
    bare = SimpleNamespace(submodule_search_locations=[str(Path(__file__).parent)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: bare)
    with pytest.raises(MissingDependencyError, match="mlflow-skinny"):
        find_page()
    assert set(FIELDS) == {
        f"mlflow{x}" for x in ("GetExperiment", "GetRun", "SearchRuns", "GetMetricHistoryBulkInterval")
    }
