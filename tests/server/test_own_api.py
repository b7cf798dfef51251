"""Our own API, asked in this process: what it answers, how it refuses, what it says of itself."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.linear_model import LinearRegression
from starlette.testclient import TestClient

from mlwarehouse import Warehouse
from mlwarehouse.access import Principal, Right, acting_as
from mlwarehouse.errors import ModelError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server import Options, create_app, probes
from mlwarehouse.server.api import ROUTES
from mlwarehouse.server.api.bodies import ARROW, CSV, JSON
from mlwarehouse.server.api.models import LoadedModels
from mlwarehouse.server.api.openapi import PATHS, description
from mlwarehouse.server.probes import ALONE_S, Readiness
from mlwarehouse.server.probes import ROUTES as PROBES
from mlwarehouse.storage import LocalStorage

ROWS = [{"id": "x", "a": 1, "b": 2.0}, {"id": "y", "a": 2, "b": 0.0}]
"""What the model makes 5 and 2 of."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A warehouse with runs and a model, a client of its server, and the lines of the server's log."""
    warehouse = Warehouse(tmp_path_factory.mktemp("api") / "wh", committer="off", capture_code=False)
    for number in range(3):
        with warehouse.start_run(experiment="digits", run_name=f"run-{number}") as run:
            run.log_params({"lr": 0.1 * number})
            run.log_metrics({"loss": 0.5 / (number + 1), "odd": math.nan}, step=1)
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0]})
    with warehouse.start_run(experiment="digits"):
        model = LinearRegression().fit(frame, frame["a"] + 2 * frame["b"])
        warehouse.log_model(model, "model", input_example=frame, registered_model_name="sum")
        with _with_code() as with_code:
            warehouse.log_model(with_code, "code", input_example=frame, registered_model_name="code")
    warehouse.set_model_alias("sum", "champion", 1)
    warehouse.flush()
    lines: list[str] = []
    app = create_app(MlflowStore(warehouse, artifact_root="mlflow-artifacts:"), options=Options(log=lines.append))
    with TestClient(app) as client:
        yield SimpleNamespace(warehouse=warehouse, client=client, lines=lines)


@contextlib.contextmanager
def _with_code() -> Iterator[Any]:
    """A model whose class is nowhere but in its package."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "only_in_the_package.py"
        place.write_text("class Sum:\n    def predict(self, frame):\n        return frame['a'] + frame['b']\n")
        sys.path.insert(0, folder)
        try:
            yield importlib.import_module("only_in_the_package").Sum()
        finally:
            sys.path.remove(folder)
            del sys.modules["only_in_the_package"]


def refused(answer: Any, status: int, words: str) -> None:
    """See that an answer is a problem as it should be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told.keys() == {"type", "title", "status", "detail", "code", "request_id"}
    assert told["type"].startswith("urn:mlwarehouse:problem:")
    assert (told["status"], told["request_id"]) == (status, answer.headers["x-request-id"])
    assert re.search(words, told["detail"]), told["detail"]


def sql(api: Any, text: str, accept: str = "*/*", **more: Any) -> Any:
    return api.client.post("/api/v1/sql", json={"sql": text, **more}, headers={"Accept": accept})


def test_an_answer_is_the_same_in_each_form(api: Any) -> None:
    question = (
        "SELECT run_name, [1, NULL] AS many, {'k': run_name} AS packed, s.last AS value, r.started_at AS at "
        "FROM runs AS r LEFT JOIN metric_summaries AS s USING (run_id) ORDER BY ALL"
    )
    wanted: pa.Table = api.warehouse.sql(question, output_format="arrow")
    assert wanted.num_rows > 6
    for accept, more in ((ARROW, {}), ("text/html, */*;q=0.1", {"format": "arrow"})):
        answer = sql(api, question, accept, **more)
        assert answer.headers["content-type"] == ARROW
        got = pa.ipc.open_stream(answer.content).read_all()
        assert (got.schema, str(got.to_pylist())) == (wanted.schema, str(wanted.to_pylist()))
    for accept in (JSON, "*/*", "application/*, text/csv;q=0.5"):
        answer = sql(api, question, accept)
        assert answer.headers["content-type"] == JSON
        told = answer.json()
        assert [c["name"] for c in told["columns"]] == wanted.column_names
        assert told["is_truncated"] is False
        for row, line in zip(wanted.to_pylist(), told["rows"], strict=True):
            value, at = row["value"], row["at"]
            assert line[:3] == [row["run_name"], [1, None], {"k": row["run_name"]}]
            assert line[3] == ("nan" if value is not None and math.isnan(value) else value)
            assert line[4] == at.isoformat()
    answer = sql(api, question, CSV)
    assert answer.headers["content-type"].startswith(CSV)
    table = pyarrow.csv.read_csv(io.BytesIO(answer.content))
    assert table.column("run_name").to_pylist() == wanted.column("run_name").to_pylist()
    assert set(table.column("many").to_pylist()) == {"[1,null]"}


def test_a_question_has_parameters_a_dialect_and_a_past(api: Any) -> None:
    assert sql(api, "SELECT $a + 1 AS n", parameters={"a": 2}).json()["rows"] == [[3]]
    assert sql(api, "SELECT TOP 1 1 + ? AS n FROM runs", dialect="tsql", parameters=[7]).json()["rows"] == [[8]]
    snapshot = api.client.post("/api/v1/snapshots", json={}).json()["snapshot"]
    before = sql(api, "SELECT count(*) FROM params").json()["rows"]
    api.client.post(
        "/api/2.0/mlflow/runs/log-parameter",
        json={"run_id": new_run(api), "key": "k", "value": "v"},
    )
    assert sql(api, "SELECT count(*) FROM params").json()["rows"] == [[before[0][0] + 1]]
    assert sql(api, "SELECT count(*) FROM params", at=snapshot).json()["rows"] == before
    assert sql(api, "SELECT count(*) FROM params", as_of="2020-01-01").json()["rows"] == [[0]]


def new_run(api: Any) -> str:
    made = api.client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0", "start_time": 1}).json()
    return str(made["run"]["info"]["run_id"])


def test_rows_are_left_out_only_where_that_was_asked_for_and_it_is_said(api: Any) -> None:
    assert sql(api, "SELECT 'x'::BLOB AS b, DATE '2026-01-02' AS d").json()["rows"] == [["eA==", "2026-01-02"]]
    told = sql(api, "SELECT * FROM range(12000)").json()
    assert (len(told["rows"]), told["is_truncated"]) == (12000, False)
    told = sql(api, "SELECT * FROM range(5000)", row_limit=3000).json()
    assert (len(told["rows"]), told["is_truncated"]) == (3000, True)
    reader = pa.ipc.open_stream(sql(api, "SELECT * FROM range(5000)", ARROW, row_limit=3000).content)
    batches = [reader.read_next_batch_with_custom_metadata() for _ in range(3)]
    assert sum(batch.num_rows for batch, _ in batches) == 3000
    assert batches[-1][1] == {b"is_truncated": b"true"}
    assert len(sql(api, "SELECT * FROM range(5000)", CSV, row_limit=3).text.splitlines()) == 4


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"sql": "SELECT * FROM read_csv('/etc/passwd')"}, 400, "After FROM come"),
        ({"sql": "DROP TABLE runs"}, 400, "SELECT"),
        ({"sql": "SELECT no_such FROM runs"}, 400, "no_such"),
        ({"sql": "SELECT 1", "dialect": "klingon"}, 400, "no SQL dialect"),
        ({"sql": "SELECT 1", "at": "nobody"}, 404, "nobody"),
        ({"sql": "SELECT 1", "as_of": "someday"}, 400, "isn't a time"),
        ({"sql": "SELECT 1", "as_of": "2026-01-01", "at": "x"}, 400, "not both"),
        ({"sql": "SELECT $a"}, 400, r"\$a"),
        ({"sql": 1}, 400, "field `sql`"),
        ({"query": "SELECT 1"}, 400, "field"),
        ({"sql": "SELECT 1", "row_limits": 1}, 400, "Did you mean `row_limit`"),
        ({"sql": "SELECT 1", "row_limit": 0}, 400, "row_limit"),
        ({"sql": "SELECT 1", "query_id": "../x"}, 400, "query_id"),
        ({"sql": "SELECT 1", "format": "xml"}, 400, "format"),
        ({"sql": "SELECT 1", "parameters": {"a": 1}}, 400, "`a`|`\\$a`"),
        ([1], 400, "body"),
    ],
)
def test_a_question_that_can_not_be_meant_is_refused_in_words(api: Any, body: Any, status: int, words: str) -> None:
    refused(api.client.post("/api/v1/sql", json=body), status, words)


def test_what_is_not_json_or_too_long_or_not_there_is_refused(api: Any) -> None:
    send = {"Content-Type": JSON}
    refused(api.client.post("/api/v1/sql", content=b"{", headers=send), 400, "can't be read")
    refused(api.client.post("/api/v1/sql", content=b"[" * 100_000, headers=send), 400, "body")
    refused(api.client.post("/api/v1/sql", content=b"\xff", headers=send), 400, "can't be read")
    refused(api.client.post("/api/v1/sql", content=b" " * (33 << 20), headers=send), 400, "32 MiB")
    refused(api.client.post("/api/v1/sql", content=b"SELECT 1"), 400, "Content-Type")
    refused(sql(api, "SELECT 1", "image/png, text/html"), 406, "Accept")
    refused(api.client.get("/api/v1/nothing"), 404, "openapi.json")
    refused(api.client.delete("/api/v1/sql/abcdefgh"), 404, "abcdefgh")
    refused(api.client.put("/api/v1/snapshots"), 405, "GET or POST")
    refused(api.client.get("/api/v1/sql/abcdefgh"), 405, "DELETE")


def test_a_snapshot_is_taken_kept_told_of_and_released(api: Any) -> None:
    client = api.client
    taken = client.post("/api/v1/snapshots", json={})
    assert (taken.status_code, client.get("/api/v1/snapshots").json()) == (201, {"snapshots": []})
    kept = client.post(
        "/api/v1/snapshots", json={"keep": True, "name": "paper", "note": "Table 2", "at": taken.json()["snapshot"]}
    )
    assert (kept.status_code, kept.json()["name"], kept.json()["note"]) == (201, "paper", "Table 2")
    assert kept.json()["snapshot"] == taken.json()["snapshot"]
    assert client.get("/api/v1/snapshots/paper").json() == kept.json()
    assert client.get("/api/v1/snapshots").json() == {"snapshots": [kept.json()]}
    assert [s.name for s in api.warehouse.snapshots()] == ["paper"]
    assert sql(api, "SELECT 1 AS a", at="paper").json()["rows"] == [[1]]
    refused(client.post("/api/v1/snapshots", json={"keep": True, "name": "paper"}), 409, "paper")
    refused(client.post("/api/v1/snapshots", json={"name": "paper"}), 400, "keep")
    refused(client.post("/api/v1/snapshots", json={"keep": True, "name": "../x"}), 400, "name")
    assert client.delete("/api/v1/snapshots/paper").status_code == 204
    refused(client.delete("/api/v1/snapshots/paper"), 404, "paper")
    refused(client.get("/api/v1/snapshots/paper"), 404, "paper")
    unnamed = client.post("/api/v1/snapshots", json={"keep": True}).json()
    assert client.delete(f"/api/v1/snapshots/{unnamed['name']}").status_code == 204


def test_changes_come_in_pages(api: Any) -> None:
    client = api.client
    first = client.get(
        "/api/v1/changes", params={"kind": ["run_started", "run_finished"], "experiment": "digits"}
    ).json()
    wanted = api.warehouse.changes(kinds=["run_started", "run_finished"], experiments=["digits"])
    assert [(c["kind"], c["run_id"], c["recorded_at"]) for c in first["changes"]] == [
        (c.kind, c.run_id, c.recorded_at.isoformat()) for c in wanted
    ]
    run_id = new_run(api)
    second = client.get("/api/v1/changes", params={"since": first["cursor"], "kind": "run_started"}).json()
    assert [c["run_id"] for c in second["changes"]] == [run_id]
    again = client.get("/api/v1/changes", params={"since": second["cursor"]}).json()
    assert again["changes"] == []
    assert sql(api, "SELECT count(*) FROM runs", at=again["cursor"]).json()["rows"] == [
        [len(api.warehouse.sql("SELECT * FROM runs"))]
    ]
    best = client.get("/api/v1/changes", params={"kind": "new_best", "best": "loss:min"}).json()["changes"]
    assert best[-1]["number"] == pytest.approx(0.5 / 3)
    for asked, status, words in (
        ({"kind": "run_start"}, 400, "run_started"),
        ({"sinse": "x"}, 400, "sinse"),
        ({"best": "loss"}, 400, "best=val/loss:min"),
        ({"experiment": "nobody"}, 404, "nobody"),
        ({"since": first["cursor"].replace(api.warehouse.warehouse_id, "0" * 32)}, 400, "belongs to"),
    ):
        refused(client.get("/api/v1/changes", params=asked), status, words)
    # With events what can't be told is refused, too, before they begin.
    events = {"Accept": "text/event-stream"}
    refused(client.get("/api/v1/changes", params={"kind": "x"}, headers=events), 400, "There is no kind")
    refused(client.get("/api/v1/changes", params={"until": "2026-01-01"}, headers=events), 400, "until")
    refused(client.get("/api/v1/changes", headers={"Accept": "text/html"}), 406, "Accept")


def score(api: Any, **body: Any) -> Any:
    return api.client.post("/api/v1/score", json={"model": "models:/sum@champion", "rows": ROWS, **body})


def as_stream(rows: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        writer.write_table(rows)
    return out.getvalue().to_pybytes()


def test_rows_are_scored_as_json_and_as_arrow(api: Any) -> None:
    told = score(api).json()
    assert told["model"] == "models:/sum/1"
    assert [row["prediction"] for row in told["predictions"]] == pytest.approx([5.0, 2.0])
    content = as_stream(pa.table({"a": [1.0, 2.0], "b": [2.0, 0.0]}))
    answer = api.client.post(
        "/api/v1/score", params={"model": "models:/sum/1"}, content=content, headers={"Content-Type": ARROW}
    )
    made = pa.ipc.open_stream(answer.content).read_all()
    assert made.column("prediction").to_pylist() == pytest.approx([5.0, 2.0])
    assert made.schema.metadata[b"model"] == b"models:/sum/1"
    assert api.warehouse.sql("SELECT count(*) AS n FROM predictions WHERE dataset = 'none'")["n"][0] == 0
    lacking = score(api, rows=[{"a": 1.0, "b": None}, {"a": 1.0, "b": 1.0}]).json()
    assert lacking["n_lacking"] == 1
    assert lacking["predictions"][0] == {"prediction": None}


def test_predictions_are_kept_once(api: Any) -> None:
    kept = [score(api, dataset="live", key="id", source_id="first").json() for _ in range(2)]
    assert [k["n_added"] for k in kept] == [2, 0]
    assert kept[0]["predictions"] == kept[1]["predictions"]
    assert [row["row_key"] for row in kept[0]["predictions"]] == ["x", "y"]
    assert [row["prediction"] for row in kept[0]["predictions"]] == pytest.approx([5.0, 2.0])
    rows = api.warehouse.sql("SELECT row_key, model_version FROM predictions WHERE dataset = 'live' ORDER BY row_key")
    assert rows.to_dict("list") == {"row_key": ["x", "y"], "model_version": [1, 1]}
    refused(score(api, dataset="other", key="id", source_id="first"), 409, "first")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "/etc"}, 400, "isn't a model's address"),
        ({"model": "s3://bucket/x"}, 400, "isn't a model's address"),
        ({"model": "models:/none/1"}, 404, "none"),
        ({"model": "models:/code/1"}, 400, "allow-model-code"),
        ({"rows": [{"a": 1.0}]}, 400, "`b`"),
        ({"rows": [{"a": "x", "b": 1.0}]}, 400, "`a`"),
        ({"rows": [{"a": [1], "b": 1.0}]}, 400, "`a`"),
        ({"rows": {}}, 400, "rows"),
        ({"dataset": "live"}, 400, "key"),
        ({"key": "id"}, 400, "dataset"),
        ({"dataset": "live", "key": "nobody"}, 400, "nobody"),
    ],
)
def test_rows_that_can_not_be_scored_are_refused_in_words(api: Any, body: Any, status: int, words: str) -> None:
    refused(score(api, **body), status, words)


def test_rows_of_other_kinds_are_refused(api: Any) -> None:
    asked = {"params": {"model": "models:/sum/1"}, "headers": {"Content-Type": ARROW}}
    refused(api.client.post("/api/v1/score", content=b"no rows", **asked), 400, "isn't a stream")
    whole = as_stream(pa.table({"a": [1.0], "b": [1.0]}))
    for cut in (whole[:40], whole[:-20], bytes(np.frombuffer(whole, np.uint8) ^ 255)):
        assert api.client.post("/api/v1/score", content=cut, **asked).status_code in (200, 400)
    refused(api.client.post("/api/v1/score", content=b"a,b\n1,2", headers={"Content-Type": CSV}), 415, "Content-Type")


def test_a_model_with_code_of_its_own_runs_only_where_that_is_allowed(api: Any) -> None:
    with pytest.raises(ModelError):
        LoadedModels(api.warehouse, allow_code=False).find("models:/code/1")
    models = LoadedModels(api.warehouse, allow_code=True)
    assert models.find("models:/code/1") is models.find("models:/code/1")


def test_probes_say_what_is_wrong_and_not_where(api: Any, tmp_path: Path) -> None:
    assert api.client.get("/healthz").text == "OK"
    answer = api.client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    small = Warehouse(tmp_path / "wh", committer="off")
    small.create()
    small.spool().create()
    look = Readiness(small).look
    assert set(look().values()) == {"ok"}
    small.spool().segments_path.rmdir()
    assert "can't be written" in look()["spool"]
    (tmp_path / "wh").rename(tmp_path / "away")
    assert "no warehouse" in look()["tables"].lower()
    small.close()
    folder = api.warehouse.spool().segments_path
    folder.rename(folder.with_name("elsewhere"))
    try:
        answer = api.client.get("/readyz")
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert (answer.status_code, answer.json()["checks"]["spool"]) == (503, "failing")
    assert str(folder) not in answer.text
    assert str(folder) in json.loads(api.lines[-1])["spool"]


def test_a_committer_that_fails_or_is_not_there_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with small.start_run(experiment="digits"):
        pass
    spool = small.spool().path
    assert Readiness(small).look()["committer"] == "ok"
    LocalStorage(spool).write("trouble", b'{"at": 1, "why": "the disk is full"}')
    assert "the disk is full" in Readiness(small).look()["committer"]
    (spool / "trouble").unlink()
    # Where somebody should start a committer, and nobody does for a minute.
    expecting = Readiness(Warehouse(tmp_path / "wh", committer="auto"))
    assert expecting.look()["committer"] == "ok"
    later = time.monotonic() + ALONE_S + 1
    monkeypatch.setattr(probes.time, "monotonic", lambda: later)
    assert "no committer" in expecting.look()["committer"]
    small.flush()
    assert expecting.look()["committer"] == "ok"
    expecting.warehouse.close()
    small.close()


def test_measures_count_requests_by_route_and_tell_of_the_warehouse(api: Any) -> None:
    def measured() -> dict[str, float]:
        text = api.client.get("/metrics").text
        return {k: float(v) for k, _, v in (x.rpartition(" ") for x in text.splitlines() if not x.startswith("#"))}

    before = measured()
    assert api.client.get("/api/v1/snapshots/none").status_code == 404
    run_id = new_run(api)
    after = measured()
    told = {key: after[key] - before.get(key, 0) for key in after}
    assert told['mlwarehouse_requests_total{method="GET",route="/api/v1/snapshots/{name}",status="404"}'] == 1
    assert told['mlwarehouse_requests_total{method="POST",route="mlflow/runs/create",status="200"}'] == 1
    assert told['mlwarehouse_request_seconds_count{method="POST",route="mlflow/runs/create"}'] == 1
    assert run_id not in str(after)
    assert told["mlwarehouse_spool_waiting_rows"] > 0
    assert after["mlwarehouse_up"] == 1
    versions = api.warehouse.versions()
    assert after['mlwarehouse_table_version{table="run_events"}'] == versions["run_events"]
    api.warehouse.flush()
    assert measured()['mlwarehouse_table_version{table="run_events"}'] > versions["run_events"]


def test_a_request_has_an_id_and_a_line_in_the_log(api: Any) -> None:
    answer = api.client.get("/api/v1/snapshots?secret=1", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    line = json.loads(api.lines[-1])
    assert (line["request_id"], line["path"], line["status"]) == ("mine-1", "/api/v1/snapshots", 200)
    assert line["bytes"] == len(answer.content)
    assert "secret" not in api.lines[-1]
    for junk in ("a\tb", "x" * 200, "{}", ""):
        made = api.client.get("/health", headers={"X-Request-Id": junk}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", made)
    api.client.get("/api/v1/snapshots/a%0Ab%22c")
    assert json.loads(api.lines[-1])["path"] == '/api/v1/snapshots/a\nb"c'
    assert "\n" not in api.lines[-1]
    # MLflow's calls and what isn't there have both, too.
    for path in ("/api/2.0/mlflow/runs/get?run_id=none", "/nothing"):
        answer = api.client.get(path)
        assert json.loads(api.lines[-1])["request_id"] == answer.headers["x-request-id"]
    sql(api, "SELECT nonsense")
    assert json.loads(api.lines[-1])["error"] == "SqlError"


def test_the_description_is_of_all_routes_and_of_no_others() -> None:
    there = {
        (route.path, method.lower())
        for route in (*ROUTES, *PROBES)
        for method in route.methods - {"HEAD"}
        if route.path != "/api/v1/{rest:path}"
    }
    assert there == {(path, method) for path, methods in PATHS.items() for method in methods}
    whole = description()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(whole)))
    assert named <= whole["components"]["schemas"].keys()


def test_answers_are_as_described_and_examples_work(api: Any) -> None:
    whole = api.client.get("/api/v1/openapi.json").json()
    schemas = whole["components"]["schemas"]

    def check(answer: Any, path: str, method: str) -> None:
        told = whole["paths"][path][method]["responses"][str(answer.status_code)]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = {**told["content"][kind]["schema"], "components": {"schemas": schemas}}
        jsonschema.Draft202012Validator(schema).validate(answer.json())

    def example(name: str) -> dict[str, Any]:
        fields = schemas[name]["properties"]
        return {field: told["examples"][0] for field, told in fields.items() if "examples" in told}

    check(api.client.post("/api/v1/sql", json=example("SqlRequest")), "/api/v1/sql", "post")
    taken = api.client.post("/api/v1/snapshots", json=example("SnapshotRequest"))
    check(taken, "/api/v1/snapshots", "post")
    check(api.client.get("/api/v1/snapshots"), "/api/v1/snapshots", "get")
    check(api.client.get("/api/v1/snapshots/paper-v1"), "/api/v1/snapshots/{name}", "get")
    assert api.client.delete("/api/v1/snapshots/paper-v1").status_code == 204
    check(api.client.get("/api/v1/snapshots/paper-v1"), "/api/v1/snapshots/{name}", "get")
    check(api.client.get("/api/v1/changes"), "/api/v1/changes", "get")
    check(score(api, dataset="live", key="id"), "/api/v1/score", "post")
    check(score(api, model="models:/iris@champion"), "/api/v1/score", "post")
    check(api.client.get("/readyz"), "/readyz", "get")
    assert example("ScoreRequest")["rows"]


GUIDE = Path(__file__).parent.parent.parent / "docs" / "http_api.md"


@pytest.mark.parametrize("block", re.findall(r"^```http\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
def test_the_requests_of_the_guide_can_be_meant(api: Any, block: str) -> None:
    head, _, body = block.partition("\n\n")
    request, *lines = head.strip().splitlines()
    method, address, _ = request.split()
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("Accept") == "text/event-stream":
        # Its answer has no end.
        del headers["Accept"]
    answer = api.client.request(method, address, headers=headers, content=body.strip().encode() or None)
    # What they name isn't here.
    assert answer.status_code in (200, 201, 204) or (answer.status_code == 404 and method != "GET"), answer.text


class In:
    """An application asked in somebody's name."""

    def __init__(self, app: Any, principal: Principal) -> None:
        self._app, self._principal = app, principal

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with acting_as(self._principal):
            await self._app(scope, receive, send)


def test_who_may_read_some_experiments_is_told_of_no_others(api: Any) -> None:
    with api.warehouse.start_run(experiment="hidden", run_name="hidden") as run:
        run.log_param("hidden", 1)
    api.warehouse.flush()
    digits = api.warehouse.get_experiment_by_name("digits").experiment_id
    ann = Principal("ann", frozenset({Right("reader", f"experiments/{digits}")}))
    client = TestClient(In(api.client.app, ann))
    here = SimpleNamespace(client=client)
    assert sql(here, "SELECT DISTINCT experiment_name FROM runs").json()["rows"] == [["digits"]]
    refused(sql(here, "SELECT * FROM registry_events"), 400, "no table or view")
    refused(sql(here, "SELECT * FROM access_events"), 400, "no table or view")
    told = client.get("/api/v1/changes").json()["changes"]
    assert told
    assert {c["experiment_id"] for c in told} == {digits}
    assert "hidden" not in str(told)
    refused(client.get("/api/v1/changes", params={"experiment": "hidden"}), 404, "hidden")
    nobody = TestClient(In(api.client.app, Principal("bob")))
    assert sql(SimpleNamespace(client=nobody), "SELECT * FROM runs").json()["rows"] == []
    assert nobody.get("/api/v1/changes").json()["changes"] == []
    # What is kept is kept in their name.
    writer = TestClient(In(api.client.app, Principal("cleo", frozenset({Right("writer")}))))
    assert writer.post("/api/v1/snapshots", json={"keep": True, "name": "of-cleo"}).json()["kept_by"] == "cleo"
    assert writer.delete("/api/v1/snapshots/of-cleo").status_code == 204
    # A question is cancelled by who asked it, and by an admin.
    state = api.client.app.state.api
    with acting_as(ann), state.question("question-of-ann") as (_, cancel):
        refused(nobody.delete("/api/v1/sql/question-of-ann"), 404, "question-of-ann")
        assert not cancel.is_cancelled
        assert client.delete("/api/v1/sql/question-of-ann").status_code == 204
        assert cancel.is_cancelled
