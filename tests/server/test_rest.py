"""Plain REST, as clients in other languages and of other releases send it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.errors import ConflictError, InvalidInputError, StorageError
from mlwarehouse.mlflow_api import CALLS
from mlwarehouse.server import serve
from mlwarehouse.server.answers import refuse_error

from .serving import Server, start


def test_every_call_is_found_under_each_of_its_addresses(server: Server) -> None:
    for call in CALLS:
        for prefix in ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow", "/api/2.0/preview/mlflow", "/api/3.0/mlflow"):
            status, answer = server.ask(call.method, f"{prefix}/{call.path}", {} if call.method != "GET" else None)
            # Nothing was said: that is refused, or fine; and never the server's fault.
            assert status in (200, 400, 404), (call, answer)
            assert status == 200 or answer["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def test_health_and_version(server: Server) -> None:
    assert server.ask("GET", "/health") == (200, "OK")
    status, version = server.ask("GET", "/version")
    assert (status, version.split(".")[0]) == (200, "3")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/3.0/mlflow/traces"),
        ("GET", "/api/2.0/mlflow/scorers/list"),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/v1/traces"),
    ],
)
def test_what_is_not_answered_says_so_by_name(server: Server, method: str, path: str) -> None:
    status, answer = server.ask(method, path, {} if method == "POST" else None)
    assert (status, answer["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert path in answer["message"]


def test_other_addresses_and_methods(server: Server) -> None:
    assert server.ask("GET", "/nothing/here")[0] == 404
    status, answer = server.ask("GET", "runs/create")
    assert (status, answer["error_code"]) == (405, "BAD_REQUEST")
    assert "POST" in answer["message"]


def test_older_clients_and_other_spellings(server: Server, experiment: str) -> None:
    run_id = server.post("runs/create", experimentId=experiment, startTime="1772366400000", userId="ada", unknown=[1])[
        "run"
    ]["info"]["run_uuid"]
    server.post("runs/log-metric", run_uuid=run_id, key="m", value="0.5", timestamp="1772366400000", step="3")
    server.post("runs/log-parameter", run_uuid=run_id, key="p", value="1")
    # Early clients wrote JSON into a JSON text.
    twice = json.dumps(json.dumps({"run_uuid": run_id, "key": "t", "value": "1"})).encode()
    assert server.ask("POST", "runs/set-tag", twice)[0] == 200
    told = server.get("runs/get", run_uuid=run_id)["run"]
    assert told["data"]["metrics"] == [{"key": "m", "value": 0.5, "timestamp": 1_772_366_400_000, "step": 3}]
    assert told["data"]["params"] == [{"key": "p", "value": "1"}]
    assert told["info"]["user_id"] == "ada"
    status, answer = server.ask("POST", "runs/set-tag", {"run_id": run_id, "key": "a", "value": "1", "Key": "b"})
    assert status == 200
    status, answer = server.ask("POST", "runs/create", {"experiment_id": experiment, "experimentId": "0"})
    assert (status, "given twice" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b'{"run_id": {}}',
        b'{"run_id": "\\ud800", "key": "k", "value": 1, "timestamp": 1}',
        b'{"run_id": "x", "key": ["k"], "value": {}, "timestamp": []}',
        b'{"run_id": "x", "key": "k", "value": 1e999, "timestamp": 99999999999999999999}',
        b"\xff\xfe",
    ],
)
def test_no_body_is_the_servers_fault(server: Server, body: bytes) -> None:
    for path in ("runs/log-metric", "runs/log-batch", "runs/search", "experiments/create", "runs/log-inputs"):
        status, answer = server.ask("POST", path, body)
        assert status in (200, 400, 404), (path, answer)


def test_a_body_that_is_too_large_or_no_json_is_refused(server: Server, experiment: str) -> None:
    run_id = server.run(experiment)
    tags = [{"key": f"k{n}", "value": "v" * 20_000} for n in range(60)]
    status, answer = server.ask("POST", "runs/log-batch", {"run_id": run_id, "tags": tags})
    assert (status, "at most 1000000 bytes" in answer["message"]) == (400, True)
    assert [t["key"] for t in server.get("runs/get", run_id=run_id)["run"]["data"]["tags"]] == ["mlflow.runName"]


def test_an_artifact_location_is_the_clients_own(server: Server, new_name: Callable[[], str]) -> None:
    name = new_name()
    made = server.post("experiments/create", name=name, artifact_location="s3://bucket/there/")["experiment_id"]
    told = server.get("experiments/get", experiment_id=made)["experiment"]
    assert told["artifact_location"] == "s3://bucket/there"
    assert "tags" not in told
    run_id = server.run(made)
    uri = server.get("runs/get", run_id=run_id)["run"]["info"]["artifact_uri"]
    assert uri == f"s3://bucket/there/{run_id}/artifacts"
    for nowhere in ("/tmp/here", "relative", "s3://bucket/a?b"):
        status, answer = server.ask("POST", "experiments/create", {"name": f"{name}!", "artifact_location": nowhere})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_what_others_on_the_machine_log_is_seen_at_once(tmp_path: Path) -> None:
    server = start(tmp_path / "wh")
    run_id = server.run()
    assert "params" not in server.get("runs/get", run_id=run_id)["run"]["data"]
    warehouse = Warehouse(tmp_path / "wh", capture_code="off")
    with warehouse.start_run(run_id=run_id, join=True) as run:
        run.log_param("from", "elsewhere")
        for n in range(3):
            run.log_metric("m", float(n), step=n)
            told = server.get("runs/get", run_id=run_id)["run"]["data"]
            assert told["metrics"][0]["value"] == float(n)
            assert told["params"] == [{"key": "from", "value": "elsewhere"}]
            server.post("runs/log-metric", run_id=run_id, key="ours", value=n, step=n, timestamp=1_772_366_400_000)
            assert warehouse.get_run(run_id).data.metrics == {"m": float(n), "ours": float(n)}
    warehouse.close()
    server.stop()


def test_a_second_server_refuses_to_start(server: Server) -> None:
    with pytest.raises(ConflictError, match="Another server of this machine"):
        serve(Warehouse(server.place), host="127.0.0.1", port=0, tell=print)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_page_can_not_reach_it_under_a_name_of_its_own(server: Server, host: str) -> None:
    """MLflow's CVE-2025-14279: DNS rebinding."""
    for path in ("/api/2.0/mlflow/experiments/search?max_results=1", "/health"):
        request = urllib.request.Request(server.uri + path, headers={"Host": host})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == 403
        refused.value.close()


def test_a_form_of_a_page_changes_nothing(server: Server, new_name: Callable[[], str]) -> None:
    """A browser sends these without asking the server first whether it may."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        body = json.dumps({"name": new_name()}).encode()
        request = urllib.request.Request(
            f"{server.uri}/api/2.0/mlflow/experiments/create", body, {"Content-Type": kind}, method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == 400
        refused.value.close()


def test_a_port_that_is_taken_is_said(server: Server, tmp_path: Path) -> None:
    port = int(server.uri.rpartition(":")[2])
    with pytest.raises(InvalidInputError, match="can't listen"):
        serve(Warehouse(tmp_path / "wh"), host="127.0.0.1", port=port, tell=print)


def test_only_what_may_pass_is_a_fault_of_the_server() -> None:
    """MLflow's clients ask again for minutes when the server says that it is its fault."""
    assert refuse_error(StorageError("the disk is full")).status_code == 503
    assert refuse_error(InvalidInputError("no")).status_code == 400
