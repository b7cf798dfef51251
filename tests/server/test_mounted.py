"""The dashboards under the server's roof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from mlwarehouse import Warehouse
from mlwarehouse.dashboards.app import create_app as create_dashboards
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server import DASHBOARDS, Options, create_app

from .serving import start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with dashboards that asks who people are, and the tokens of two of them."""
    warehouse = Warehouse(tmp_path_factory.mktemp("mounted") / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="digits", run_name="gru-0") as run:
        run.log_metric("loss", 0.5, step=1)
    warehouse.flush()
    access, tokens = warehouse.access, {}
    for name, place in (("everywhere", "*"), ("elsewhere", "experiments/1")):
        access.add_user(name)
        access.grant("reader", name, place)
        tokens[name], _ = access.create_token(name, "token")
    shown = create_dashboards(warehouse, prefix=DASHBOARDS).server
    app = create_app(
        MlflowStore(warehouse, artifact_root="mlflow-artifacts:"), access=access, options=Options(dashboards=shown)
    )
    with TestClient(app) as client:
        yield SimpleNamespace(client=client, tokens=tokens)


def ask(served: Any, who: str | None, method: str, path: str, **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {served.tokens[who]}"} if who else {}
    return served.client.request(method, path, headers=headers, follow_redirects=False, **more)


def test_the_dashboards_are_shown_to_those_who_may_read_everything(served: Any) -> None:
    page = ask(served, "everywhere", "GET", f"{DASHBOARDS}/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    # Its own policy, by which a browser runs its own scripts.
    assert "sha256-" in page.headers["content-security-policy"]
    assert f'"{DASHBOARDS}/_dash-component-suites' in page.text
    assert ask(served, "everywhere", "GET", f"{DASHBOARDS}/_dash-layout").json()
    asked = {
        "output": "..content.children...navigation.children...trouble.children...burger.opened..",
        "outputs": [],
        "inputs": [],
        "changedPropIds": [],
    }
    for who, path, status in (
        (None, f"{DASHBOARDS}/", 401),
        ("elsewhere", f"{DASHBOARDS}/", 403),
        ("elsewhere", f"{DASHBOARDS}/_dash-layout", 403),
        ("elsewhere", f"{DASHBOARDS}/../dashboards/_dash-layout", 403),
    ):
        assert ask(served, who, "GET", path).status_code == status
    assert ask(served, "elsewhere", "POST", f"{DASHBOARDS}/_dash-update-component", json=asked).status_code == 403
    assert ask(served, None, "POST", f"{DASHBOARDS}/_dash-update-component", json=asked).status_code == 401


def test_the_servers_own_address_leads_to_them(served: Any) -> None:
    answer = ask(served, "everywhere", "GET", "/")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{DASHBOARDS}/")
    told = ask(served, "everywhere", "GET", "/metrics").text
    assert f'mlwarehouse_requests_total{{method="GET",route="{DASHBOARDS}",status="200"}}' in told


def test_a_server_says_what_it_serves_and_where(tmp_path: Path) -> None:
    server = start(tmp_path / "wh", "--dashboards", "--mlflow-ui")
    assert server.process.stderr is not None
    said = [server.process.stderr.readline().split() for _ in range(5)]
    assert [line[-1] for line in said if line[-1].startswith("http")] == [
        f"{server.uri}/api/v1/openapi.json",
        f"{server.uri}/",
        f"{server.uri}/dashboards/",
    ]
    assert server.ask("GET", "/dashboards/")[0] == 200
    assert "<title>MLflow</title>" in server.ask("GET", "/")[1]
    server.stop()
