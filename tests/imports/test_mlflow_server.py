"""A running server of MLflow's as a source: its real application, over HTTP."""

from __future__ import annotations

import io
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Metric

from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.imports import mlflow_server, rest_client
from mlwarehouse.imports.rest_client import Refused, RestClient

from .mlflow_database import START


def counts(report):
    return {name: n for name, n in report.added.items() if n}


@pytest.fixture
def store(mlflow_address, monkeypatch):
    """The address of MLflow's server, to which its client is set."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    before = mlflow.get_tracking_uri()
    with warnings.catch_warnings():
        # Of MLflow's own making.
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(mlflow_address)
        yield mlflow_address
        mlflow.set_tracking_uri(before)


def test_a_server_answers_here_as_it_does_there(warehouse, store, ask, monkeypatch):
    monkeypatch.setattr(mlflow_server, "RUNS_A_PAGE", 2)
    monkeypatch.setattr(mlflow_server, "POINTS_A_PAGE", 30)
    client = mlflow.MlflowClient()
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="# why") as parent:
        mlflow.log_params({"lr": 0.1, "lines": "a\nb"})
        mlflow.log_metrics({"loss": 0.5, "a/b c": float("nan")}, step=1)
        mlflow.log_metric("loss", float("-inf"), step=2)
        mlflow.log_metric("loss", 0.25, step=3)
        client.log_batch(parent.info.run_id, metrics=[Metric("many", n / 7, START + n // 3, n % 5) for n in range(100)])
        mlflow.log_text("hi", "notes/ä & b.txt")
        mlflow.log_input(mlflow.data.from_pandas(pd.DataFrame({"x": [1]}), name="d"), context="training")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("acc", 1)
    with mlflow.start_run(run_name="gone") as gone:
        pass
    mlflow.delete_run(gone.info.run_id)
    logged = client.create_logged_model(parent.info.experiment_id, name="net", source_run_id=parent.info.run_id)
    client.log_model_artifacts(logged.model_id, str(_model(client, warehouse)))
    client.finalize_logged_model(logged.model_id, "READY")
    client.create_registered_model("net", tags={"task": "text"}, description="the net")
    client.create_model_version(
        "net", f"models:/{logged.model_id}", parent.info.run_id, tags={"seen": "yes"}, model_id=logged.model_id
    )
    client.transition_model_version_stage("net", 1, "Production")
    client.set_registered_model_alias("net", "champion", 1)
    theirs = mlflow.search_runs(experiment_names=["digits"], run_view_type=3)
    report = warehouse.import_(store)
    assert report.oddities == []
    assert counts(report).items() >= {"runs": 3, "points": 105, "artifacts": 2, "inputs": 1, "logged_models": 1}.items()
    ours = warehouse.search_runs(experiment_names=["digits"], run_view_type=3)
    columns = [c for c in theirs.columns if c != "artifact_uri"]
    pd.testing.assert_frame_equal(
        ours[columns].sort_values("run_id", ignore_index=True),
        theirs[columns].sort_values("run_id", ignore_index=True),
        check_dtype=False,
    )
    values = ask("SELECT value FROM metrics WHERE key = 'many' ORDER BY value")
    assert [v["value"] for v in values] == [n / 7 for n in range(100)]
    assert ask("SELECT value FROM metrics WHERE step = 2 AND key = 'loss'") == [{"value": float("-inf")}]
    files = {row["path"]: row["digest"] for row in ask("SELECT path, digest FROM artifacts")}
    with warehouse.artifact_store().open(files["notes/ä & b.txt"]) as stream:
        assert stream.read() == b"hi"
    assert "net/MLmodel" in files
    version = warehouse.get_model_version_by_alias("net", "champion")
    assert (version.source, version.current_stage) == (f"runs:/{parent.info.run_id}/net", "Production")
    # Again adds nothing; what comes later comes, whatever time it says.
    assert counts(warehouse.import_(store)) == {}
    client.log_metric(parent.info.run_id, "many", -1.0, timestamp=START - 5, step=0)
    client.restore_run(gone.info.run_id)
    assert counts(warehouse.import_(store, artifacts="leave")) == {"points": 1, "runs": 1}


def _model(client, warehouse):
    folder = warehouse.root.parent / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    return folder


class Handler(BaseHTTPRequestHandler):
    """Answers what a test has prepared."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, list[tuple[int, bytes]]]
    asked: list[tuple[str, str | None]]

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append((self.path, self.headers.get("Authorization")))
        prepared = self.answers[path]
        status, content = prepared.pop(0) if len(prepared) > 1 else prepared[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) + (status == 299)))
        self.end_headers()
        self.wfile.write(content)
        if status == 299:
            self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def prepared(monkeypatch):
    """A server with prepared answers: its address, and its handler."""
    monkeypatch.setattr(rest_client.time, "sleep", lambda _: None)
    handler = type("Prepared", (Handler,), {"answers": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("beginning", "environ", "expected"),
    [
        ("", {}, None),
        ("", {"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ("", {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "pw"}, "Basic YW5uOnB3"),
        ("ann:p%77@", {"MLFLOW_TRACKING_TOKEN": "t"}, "Basic YW5uOnB3"),
    ],
)
def test_who_asks_is_told_as_by_mlflows_client(prepared, beginning, environ, expected):
    address, handler = prepared
    handler.answers["/sub/api/2.0/x"] = [(503, b"later"), (200, b'{"a": 1}')]
    client = RestClient(f"http://{beginning}{address}/sub/", environ)
    assert client.get("x", q="ä b", none=None) == {"a": 1}
    client.close()
    assert handler.asked == [("/sub/api/2.0/x?q=%C3%A4+b", expected)] * 2
    assert client.place == f"http://{address}/sub"


def test_answers_that_are_none_are_told(prepared):
    address, handler = prepared
    client = RestClient(f"http://{address}", {})
    for path, answers, error in (
        ("refused", [(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}')], Refused),
        ("moved", [(302, b"")], Refused),
        ("busy", [(503, b"busy")], Refused),
        ("text", [(200, b"<html>")], StorageError),
        ("list", [(200, b"[]")], StorageError),
        ("cut", [(299, b'{"a"')], StorageError),
    ):
        handler.answers[f"/api/2.0/{path}"] = answers
        with pytest.raises(error):
            client.get(path)
    handler.answers["/api/2.0/file"] = [(299, b"abc")]
    with pytest.raises(StorageError):
        client.read("file", io.BytesIO())
    handler.answers["/api/2.0/pages"] = [(200, b'{"rows": [{}], "next_page_token": "same"}')]
    with pytest.raises(StorageError, match="again and again"):
        list(client.pages("pages", "rows", is_get=True))
    client.close()
    assert sum(path.endswith("busy") for path, _ in handler.asked) == rest_client.TRIES


@pytest.mark.parametrize("address", ["http://ann:secret@127.0.0.1:1", "http://ann:secret@127.0.0.1:99999999"])
def test_a_server_that_does_not_answer_is_told_without_the_password(warehouse, address, monkeypatch):
    monkeypatch.setattr(rest_client.time, "sleep", lambda _: None)
    with pytest.raises(InvalidInputError) as refused:
        warehouse.import_(address)
    assert "secret" not in str(refused.value)
