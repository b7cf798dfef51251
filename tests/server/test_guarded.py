"""A server that asks who people are: what they see, what is written down about them, what it refuses."""

from __future__ import annotations

import base64
import itertools
import json
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from mlwarehouse import Warehouse
from mlwarehouse.access import Need
from mlwarehouse.access.service import FRESH_S
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.registry import Policy
from mlwarehouse.server import create_app, serve
from mlwarehouse.server.access import gated
from mlwarehouse.server.admission import UNNAMED_AT_ONCE
from mlwarehouse.server.limits import Buckets

from .guarded import Guarded, guarded
from .serving import mlflow_set_to, start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(tmp_path_factory.mktemp("guarded") / "wh") as found:
        for name in ("ours", "theirs"):
            made = found.done("root", "POST", "experiments/create", {"name": name})["experiment_id"]
            found.user(name, ("writer", f"experiments/{made}"), ("writer", f"models/{name}-*"))
        yield found


def experiment_of(server: Guarded, name: str) -> str:
    found = server.done("root", "GET", "experiments/get-by-name", experiment_name=name)
    return str(found["experiment"]["experiment_id"])


def run_in(server: Guarded, name: str, **body: Any) -> dict[str, Any]:
    made = server.done("root", "POST", "runs/create", {"experiment_id": experiment_of(server, name), **body})
    found: dict[str, Any] = made["run"]
    return found


def test_lists_show_what_may_be_read_and_nothing_else(server: Guarded) -> None:
    ids = {name: experiment_of(server, name) for name in ("ours", "theirs")}
    runs = {name: run_in(server, name)["info"]["run_id"] for name in ids}
    for name in ids:
        server.done("root", "POST", "logged-models", {"experiment_id": ids[name], "name": name})
        server.done(
            name, "POST", "runs/log-metric", {"run_id": runs[name], "key": "m", "value": 1, "timestamp": 1, "step": 0}
        )
        for n in range(3):
            server.done("root", "POST", "registered-models/create", {"name": f"{name}-{n}"})
            source = {"name": f"{name}-{n}", "source": f"runs:/{runs[name]}/model"}
            server.done("root", "POST", "model-versions/create", source)
    for name, other in (("ours", "theirs"), ("theirs", "ours")):
        found = server.done(name, "GET", "experiments/search", max_results=100)["experiments"]
        assert [e["name"] for e in found] == [name]
        found = server.done(name, "POST", "runs/search", {"experiment_ids": [*ids.values(), "0"]})["runs"]
        assert runs[name] in {r["info"]["run_id"] for r in found}
        assert {r["info"]["experiment_id"] for r in found} == {ids[name]}
        assert server.done(name, "POST", "runs/search", {"experiment_ids": [ids[other]]}) == {}
        found = server.done(name, "POST", "logged-models/search", {"experiment_ids": list(ids.values())})["models"]
        assert {m["info"]["experiment_id"] for m in found} == {ids[name]}
        # A page at a time: each is as long as was asked, whatever lies between.
        for kind, of in (("registered-models", "registered_models"), ("model-versions", "model_versions")):
            pages, token = [], None
            while not pages or token:
                page = server.done(
                    name, "GET", f"{kind}/search", max_results=2, **({"page_token": token} if token else {})
                )
                pages.append([m["name"] for m in page.get(of, [])])
                token = page.get("next_page_token")
            assert sorted(itertools.chain(*pages)) == [f"{name}-{n}" for n in range(3)]
            assert [len(page) for page in pages if page] == [2, 1]
        both = {"run_ids": list(runs.values()), "metric_key": "m"}
        assert server.ask(name, "GET", "metrics/get-history-bulk", **both).status_code == 403
        assert server.done(name, "GET", "metrics/get-history-bulk", run_ids=[runs[name]], metric_key="m")["metrics"]
        gone = server.ask(name, "GET", "metrics/get-history", run_id="f" * 32, metric_key="m")
        assert gone.status_code == 403
    assert server.done("root", "GET", "metrics/get-history", run_id="f" * 32, metric_key="m") == {}


def test_what_one_may_not_read_is_no_source_of_a_version(server: Guarded) -> None:
    run_id = run_in(server, "theirs")["info"]["run_id"]
    experiment = experiment_of(server, "theirs")
    logged = server.done("root", "POST", "logged-models", {"experiment_id": experiment, "name": "secret"})
    server.done("root", "POST", "registered-models/create", {"name": "ours-stolen"})
    for source in (
        f"runs:/{run_id}/model",
        f"models:/{logged['model']['info']['model_id']}",
        f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model",
        f"mlflow-artifacts:/0/{run_id}/artifacts/model",
        f"mlflow-artifacts:/0/models/{logged['model']['info']['model_id']}/artifacts/",
    ):
        refused = server.ask("ours", "POST", "model-versions/create", {"name": "ours-stolen", "source": source})
        assert refused.status_code == 403, (source, refused.text)
    for more in ({"run_id": run_id}, {"model_id": logged["model"]["info"]["model_id"]}):
        body = {"name": "ours-stolen", "source": "s3://bucket/model", **more}
        assert server.ask("ours", "POST", "model-versions/create", body).status_code == 403
    # A model whose files would be another's run's.
    body = {"experiment_id": experiment_of(server, "ours"), "source_run_id": run_id}
    assert server.ask("ours", "POST", "logged-models", body).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"run_id": "OURS", "run_uuid": "THEIRS"},
        {"run_uuid": "THEIRS"},
        {"runId": "THEIRS"},
        {"run_id": None, "runId": "THEIRS", "run_uuid": "OURS"},
        {"run_id": "", "run_uuid": "THEIRS"},
    ],
)
def test_another_spelling_names_nothing_else(server: Guarded, body: dict[str, Any]) -> None:
    """What is checked is what the handler then works with."""
    ids = {name.upper(): run_in(server, name)["info"]["run_id"] for name in ("ours", "theirs")}
    said = {key: ids.get(value, value) for key, value in body.items()}
    answer = server.ask("ours", "POST", "runs/set-tag", {**said, "key": "mark", "value": "x"})
    tags = server.done("root", "GET", "runs/get", run_id=ids["THEIRS"])["run"]["data"]["tags"]
    assert "mark" not in {tag["key"] for tag in tags}, answer.text


def test_who_did_it_is_who_asked_and_the_client_keeps_its_own_words(server: Guarded) -> None:
    made = server.done(
        "ours", "POST", "runs/create", {"experiment_id": experiment_of(server, "ours"), "user_id": "the boss"}
    )["run"]
    run_id = made["info"]["run_id"]
    assert made["info"]["user_id"] == "the boss"
    server.done("ours", "POST", "runs/set-tag", {"run_id": run_id, "key": "note", "value": "x"})
    told = server.done("ours", "GET", "runs/get", run_id=run_id)["run"]
    found = server.done("ours", "POST", "runs/search", {"experiment_ids": [told["info"]["experiment_id"]]})["runs"]
    [searched] = [r for r in found if r["info"]["run_id"] == run_id]
    for run in (told, searched):
        assert run["info"]["user_id"] == "the boss"
        assert {t["key"] for t in run["data"]["tags"]} == {"mlflow.runName", "note"}
    asked = f"SELECT DISTINCT actor FROM {{}} WHERE run_id = '{run_id}'"
    for table in ("run_events", "tag_events"):
        rows = server.warehouse.sql(asked.format(table), output_format="arrow").to_pylist()
        assert rows == [{"actor": "ours"}]


def test_changes_and_refusals_are_rows_of_audit(server: Guarded) -> None:
    run_id = run_in(server, "ours")["info"]["run_id"]
    begun = len(server.audit())
    point = {"run_id": run_id, "key": "m", "value": 1, "timestamp": 1, "step": 0}
    for _ in range(3):
        server.done("ours", "POST", "runs/log-metric", point)
    server.done("ours", "GET", "runs/get", run_id=run_id)
    server.done("ours", "POST", "runs/delete", {"run_id": run_id})
    server.client.headers["X-Request-Id"] = "asked-by-a-test"
    assert server.ask("theirs", "POST", "runs/restore", {"run_id": run_id}).status_code == 403
    assert server.ask("theirs", "GET", "runs/get", run_id=run_id).status_code == 403
    assert server.ask(None, "GET", "runs/get", run_id=run_id, token="nobody's").status_code == 401
    del server.client.headers["X-Request-Id"]
    rows = server.audit()[begun:]
    assert [(r["actor"], r["action"], r["object"], r["outcome"]) for r in rows] == [
        ("ours", "POST runs/log-metric", f"runs/{run_id}", "allowed"),
        ("ours", "POST runs/delete", f"runs/{run_id}", "allowed"),
        ("theirs", "POST runs/restore", f"runs/{run_id}", "refused"),
        ("theirs", "GET runs/get", f"runs/{run_id}", "refused"),
        ("(nobody)", "GET /api/2.0/mlflow/runs/get", "*", "refused"),
    ]
    details = [json.loads(r["detail"]) for r in rows]
    assert all(d["request_id"] for d in details)
    assert [d["request_id"] for d in details[2:]] == ["asked-by-a-test"] * 3
    assert details[0]["token_id"] == server.tokens["ours"].split("_")[1]
    assert "the role writer on `experiments/" in details[2]["reason"]


def test_those_whom_nobody_knows_do_not_fill_the_table(server: Guarded) -> None:
    begun = len(server.audit())
    for _ in range(UNNAMED_AT_ONCE + 40):
        assert server.ask(None, "GET", "experiments/search", max_results=1).status_code == 401
    assert len(server.audit()) - begun <= UNNAMED_AT_ONCE + 20


def test_policies_see_the_roles_of_who_asks(server: Guarded) -> None:
    server.warehouse.registry_as("the-process", ["admin"]).set_policy(
        Policy("guarded", models="guarded*", stages=("Production",), movers=("lead",))
    )
    server.done("root", "POST", "registered-models/create", {"name": "guarded"})
    run_id = run_in(server, "ours")["info"]["run_id"]
    version = {"name": "guarded", "source": f"runs:/{run_id}/model"}
    server.done("root", "POST", "model-versions/create", version)
    move = {"name": "guarded", "version": "1", "stage": "Production"}
    server.user("mover", ("approver", "models/guarded"))
    assert server.ask("mover", "POST", "model-versions/transition-stage", move).status_code == 403
    server.warehouse.access.grant("lead", "mover")
    # A server looks at rights a few times a second.
    server.client.app.state.admission.access.state()
    told = server.done("mover", "POST", "model-versions/transition-stage", move)["model_version"]
    assert told["current_stage"] == "Production"
    events = server.warehouse.registry.history("guarded")
    assert (events[0].actor, events[-1].actor) == ("root", "mover")


def test_a_revoked_token_ends_at_once(server: Guarded) -> None:
    name = server.user("leaver", ("reader", "*"))
    server.done(name, "GET", "experiments/search", max_results=1)
    # By somebody else, as on another machine.
    other = Warehouse(server.warehouse.uri, actor="other")
    other.access.revoke_token(server.tokens[name].split("_")[1])
    time.sleep(FRESH_S)
    assert server.ask(name, "GET", "experiments/search", max_results=1).status_code == 401
    other.close()


def test_a_token_holds_from_the_moment_it_is_made(server: Guarded) -> None:
    known = server.user("early", ("reader", "*"))
    server.done(known, "GET", "experiments/search", max_results=1)
    other = Warehouse(server.warehouse.uri, actor="other")
    server.tokens["late"] = other.access.create_token(known, "another")[0]
    server.done("late", "GET", "experiments/search", max_results=1)
    other.close()


def test_a_route_that_forgets_to_check_sends_nothing(tmp_path: Path) -> None:
    async def forgets(request: Request) -> Response:
        return PlainTextResponse("secret")

    with guarded(tmp_path / "wh") as server:
        app = server.client.app
        needs = {"GET /new": (Need("reader", "experiment", "experiment_id"),)}
        app.router.routes[:0] = gated([Route("/new", forgets)], needs)
        answer = server.ask("root", "GET", "/new")
        assert (answer.status_code, "secret" in answer.text) == (500, False)


def test_somebody_who_asks_too_often_waits_and_nobody_else(tmp_path: Path) -> None:
    with guarded(tmp_path / "wh", rate_limit=0.001) as server:
        server.user("other", ("reader", "*"))
        assert server.ask("root", "GET", "experiments/search", max_results=1).status_code == 200
        answer = server.ask("root", "GET", "experiments/search", max_results=1)
        assert (answer.status_code, answer.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
        assert 900 < int(answer.headers["Retry-After"]) <= 1000
        assert server.ask("other", "GET", "experiments/search", max_results=1).status_code == 200
        for _ in range(60):
            last = server.ask(None, "GET", "experiments/search", max_results=1)
        assert last.status_code == 429
        assert server.client.get("/health").status_code == 200


@given(st.lists(st.floats(0, 10), max_size=60), st.floats(0.1, 10), st.integers(1, 10))
def test_no_stretch_of_time_has_more_requests_than_its_rate(pauses: list[float], rate: float, size: int) -> None:
    now = 0.0
    buckets = Buckets(rate, size, lambda: now)
    let_in = []
    for pause in pauses:
        now += pause
        wait = buckets.wait_s("a")
        if wait == 0:
            let_in.append(now)
        else:
            assert 0 < wait <= 1 / rate + 1e-9
    for n, first in enumerate(let_in):
        for m, last in enumerate(let_in[n:], start=1):
            assert m <= size + (last - first) * rate + 1e-6


FOREIGN = ("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://127.0.0.1:81")


def test_a_page_of_another_site_changes_nothing(server: Guarded) -> None:
    """Whoever is logged in with a browser sends what their browser knows with it."""
    for origin in FOREIGN:
        headers = {"Origin": origin, "Authorization": f"Bearer {server.tokens['root']}"}
        answer = server.client.post("/api/2.0/mlflow/experiments/create", json={"name": origin}, headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    headers = {"Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {server.tokens['root']}"}
    answer = server.client.post("/api/2.0/mlflow/experiments/create", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403
    headers = {"Origin": "http://127.0.0.1", "Authorization": f"Bearer {server.tokens['root']}"}
    answer = server.client.post("/api/2.0/mlflow/experiments/create", json={"name": "of our page"}, headers=headers)
    assert answer.status_code == 200


def test_every_answer_tells_browsers_what_they_may_not(server: Guarded) -> None:
    for answer in (
        server.client.get("/health"),
        server.ask("root", "GET", "experiments/search", max_results=1),
        server.ask(None, "GET", "experiments/search", max_results=1),
        server.ask("root", "GET", "/nothing"),
        server.client.post("/health"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in answer.headers
    app = create_app(MlflowStore(server.warehouse, artifact_root="mlflow-artifacts:"), has_tls=True)
    assert "max-age" in TestClient(app).get("/health").headers["Strict-Transport-Security"]


def test_a_password_is_a_token(server: Guarded) -> None:
    for text, status in (
        (f"anything:{server.tokens['ours']}", 200),
        (f":{server.tokens['ours']}", 200),
        ("ours:password", 401),
        ("ours", 401),
        ("", 401),
    ):
        headers = {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}
        answer = server.client.get("/api/2.0/mlflow/experiments/search?max_results=1", headers=headers)
        assert answer.status_code == status, text
    for wrong in ("Basic !", "Basic", "Bearer", "Bearer ", "Digest x", f"Token {server.tokens['ours']}", "Basic /w=="):
        headers = {"Authorization": wrong}
        answer = server.client.get("/api/2.0/mlflow/experiments/search?max_results=1", headers=headers)
        assert answer.status_code == 401, wrong


@pytest.mark.parametrize("auth", [None, True])
def test_a_server_that_others_reach_needs_an_admin(tmp_path: Path, auth: bool | None) -> None:
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    host = "0.0.0.0" if auth is None else "127.0.0.1"
    with pytest.raises(InvalidInputError, match=r"mlwarehouse tokens create.*--no-auth"):
        serve(warehouse, host=host, port=0, auth=auth, tell=print)
    assert not (tmp_path / "wh").exists()
    warehouse.create()
    warehouse.access.add_user("root")
    warehouse.access.grant("writer", "root")
    warehouse.access.create_token("root", "t")
    with pytest.raises(InvalidInputError, match="--no-auth"):
        serve(warehouse, host=host, port=0, auth=auth, tell=print)


def test_tls_files_that_can_not_be_used_are_said(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    (tmp_path / "key.pem").write_text("nothing")
    for cert, key in (("cert.pem", "key.pem"), ("none.pem", "key.pem")):
        files = tmp_path / cert, tmp_path / key
        with pytest.raises(InvalidInputError, match="TLS can't be served"):
            serve(Warehouse(tmp_path / "wh"), host="127.0.0.1", port=0, tls=files, tell=print)


def test_mlflows_client_says_who_it_is_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*made.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    warehouse = Warehouse(tmp_path / "wh", committer="off")
    warehouse.create()
    warehouse.access.add_user("ada")
    warehouse.access.grant("admin", "ada")
    token, _ = warehouse.access.create_token("ada", "laptop")
    warehouse.close()
    server = start(tmp_path / "wh", "--auth", "--tls-cert", str(cert), "--tls-key", str(key))
    assert server.uri.startswith("https://127.0.0.1:")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(cert))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with mlflow_set_to(server.uri) as client:
        with pytest.raises(mlflow.MlflowException, match="Say who you are"):
            client.search_experiments()
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
        with mlflow.start_run(experiment_id="0") as run:
            mlflow.log_metric("m", 1.0)
            mlflow.log_text("hello", "a.txt")
        assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/a.txt") == "hello"
        monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", token)
        assert client.get_run(run.info.run_id).data.metrics == {"m": 1.0}
    context = ssl.create_default_context(cafile=str(cert))
    with urllib.request.urlopen(f"{server.uri}/health", timeout=60, context=context) as answer:
        assert "max-age" in answer.headers["Strict-Transport-Security"]
    server.stop()
    assert Warehouse(tmp_path / "wh").sql("SELECT DISTINCT actor FROM run_events")["actor"].tolist() == ["ada"]
