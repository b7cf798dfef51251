"""Every address, asked by everybody: who may is answered, and who may not isn't.

The questions are made from the tables in which addresses declare what they need. An address that is added later is
asked too; one that needs something that `EXAMPLES` has no value for fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.routing import Mount, Route

from mlwarehouse.access import LADDER, Need
from mlwarehouse.mlflow_api import CALLS
from mlwarehouse.server import create_app
from mlwarehouse.server.things import FINDERS

from .guarded import API, OPTIONS, Guarded, guarded

ROLES = LADDER[1:]


@dataclass
class World:
    """A server with one of everything, and somebody for every role on it."""

    server: Guarded
    values: dict[str, Any]
    strangers: dict[str, str | None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with guarded(tmp_path_factory.mktemp("rights") / "wh") as server:
        made = server.done("root", "POST", "experiments/create", {"name": "ours"})["experiment_id"]
        other = server.done("root", "POST", "experiments/create", {"name": "theirs"})["experiment_id"]
        run = server.done("root", "POST", "runs/create", {"experiment_id": made})["run"]["info"]["run_id"]
        logged = server.done("root", "POST", "logged-models", {"experiment_id": made, "source_run_id": run})
        model_id = logged["model"]["info"]["model_id"]
        server.done("root", "POST", "registered-models/create", {"name": "mood"})
        version = {"name": "mood", "source": f"runs:/{run}/model", "run_id": run}
        server.done("root", "POST", "model-versions/create", version)
        for role in ROLES:
            server.user(f"{role}-of-all", (role, "*"))
            if role != "admin":
                server.user(f"{role}-of-it", (role, f"experiments/{made}"), (role, "models/mood*"))
        server.user("approver-elsewhere", ("approver", f"experiments/{other}"), ("approver", "models/moo"))
        server.user("without")
        access = server.warehouse.access
        access.add_user("gone")
        access.grant("admin", "gone")
        revoked, token = access.create_token("root", "revoked")
        access.revoke_token(token.token_id)
        gone, _ = access.create_token("gone", "gone")
        access.remove_user("gone")
        bounded, _ = access.create_token("root", "bounded", role="reader")
        server.tokens["bounded-reader"] = bounded
        wrong = server.tokens["root"][:-1] + ("A" if server.tokens["root"][-1] != "A" else "B")
        yield World(
            server,
            {
                "experiment_id": made,
                "experiment_name": "ours",
                "experiment_ids": [made],
                "run_id": run,
                "run_ids": [run],
                "run_uuid": run,
                "source_run_id": run,
                "model_id": model_id,
                "name": "mood",
                "new_name": "moods",
                "version": "1",
                "alias": "champion",
                "source": f"models:/{model_id}",
                "where": f"{made}/{run}/artifacts/x.txt",
                "path": f"{made}/{run}/artifacts/",
                "stage": "Staging",
                "key": "k",
                "value": "1",
                "tag_key": "k",
                "metric_key": "m",
                "timestamp": 1,
                "max_results": 5,
                "model_json": "{}",
                "status": "LOGGED_MODEL_READY",
            },
            {"nobody": None, "wrong": wrong, "revoked": revoked, "gone": gone, "no token": "secret"},
        )


@dataclass(frozen=True)
class Address:
    """One thing that can be asked."""

    method: str
    path: str
    needs: tuple[Need, ...]
    fields: tuple[str, ...] = ()


MORE: dict[str, dict[str, str]] = {
    "/get-artifact": {"path": "x.txt"},
    "/model-versions/get-artifact": {"version": "1", "path": "x.txt"},
    "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files": {"artifact_file_path": "x.txt"},
    "/static-files/{path:path}": {"path": "index.html"},
}
"""What some addresses are asked with, beside what their needs name."""

ADDRESSES = [
    *(Address(c.method, API + c.path, c.needs, tuple(f.name for f in c.fields if f.required)) for c in CALLS),
    *(
        Address("GET" if method == "*" else method, route.path, needs)
        for route in create_app(None, options=OPTIONS).routes  # type: ignore[arg-type]
        for method, needs in route.app.needs.items()
    ),
]


def test_every_route_is_asked() -> None:
    asked = {(a.method, a.path) for a in ADDRESSES}
    for route in create_app(None, options=OPTIONS).routes:
        assert isinstance(route, Route | Mount)
        for method in set(getattr(route, "methods", None) or ["GET"]) - {"HEAD"}:
            assert (method, route.path) in asked or route.path == "/{rest:path}"


def _ask(world: World, address: Address, user: str | None, token: str | None = None) -> Any:
    named = {*address.fields, *(need.field for need in address.needs if need.field)}
    more = MORE.get(address.path, {})
    values = {**world.values, "rest": "nothing", "query_id": "nothing", **more}
    path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda m: values[m[1]], address.path)
    given = {name: world.values[name] for name in named} | more
    if address.path.endswith("/{where:path}") and address.method == "PUT":
        return world.server.ask(user, "PUT", path, b"x", token=token)
    if address.method == "GET":
        return world.server.ask(user, "GET", path, token=token, **given)
    return world.server.ask(user, address.method, path, given, token=token)


def _may(need: Need, role: str, user: str) -> bool:
    if need.role == "public":
        return True
    if LADDER.index(role) < LADDER.index(need.role):
        return False
    if user.endswith("-of-all"):
        return True
    if need.on == "listed":
        return True
    return need.on != "everything" and user.endswith("-of-it")


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda a: f"{a.method} {a.path}")
def test_who_may_is_answered_and_who_may_not_is_not(world: World, address: Address) -> None:
    is_public = all(need.role == "public" for need in address.needs)
    for stranger in ("nobody", "revoked"):
        status = _ask(world, address, None, world.strangers[stranger]).status_code
        # There is no log-in here.
        assert status == ((404 if "/log" in address.path else 200) if is_public else 401)
    if not is_public:
        assert _ask(world, address, "without").status_code == 403
    # From those who may least: what they may not changes nothing, so that the last finds it as it was.
    users = [u for role in ROLES for u in (f"{role}-elsewhere", f"{role}-of-it", f"{role}-of-all")]
    for user in [u for u in users if u in world.server.tokens]:
        answer = _ask(world, address, user)
        may = all(_may(need, user.split("-")[0], user) for need in address.needs)
        assert answer.status_code not in (401, 500, 503), (user, answer.text)
        assert (answer.status_code != 403) == may, (user, answer.text)
        if not may:
            assert answer.json()["error_code"] == "PERMISSION_DENIED"
    if any(LADDER.index(need.role) > 1 for need in address.needs):
        assert _ask(world, address, "bounded-reader").status_code == 403


def test_nobody_is_anybody(world: World) -> None:
    for stranger, token in world.strangers.items():
        answer = world.server.ask(None, "GET", "experiments/search", token=token, max_results=1)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "UNAUTHENTICATED"), stranger
        assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_every_kind_of_name_is_found() -> None:
    from typing import get_args

    from mlwarehouse.access import On

    assert set(get_args(On)) == set(FINDERS)
