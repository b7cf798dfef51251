"""Who may use which address: every route is declared here, and the application doesn't start while one isn't.

A list of what is protected fails open: what is added later is forgotten in it. So this is a list of all there is, and
what isn't in it isn't served. MLflow's calls have theirs in their own table, `mlwarehouse.mlflow_api.calls.CALLS`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

from starlette.routing import BaseRoute, Mount, Route

from mlwarehouse.access import LISTED, PUBLIC, Need
from mlwarehouse.server.gate import Gate
from mlwarehouse.server.nothings import NOTHINGS

READS_ALL: tuple[Need, ...] = (Need("reader"),)
"""Whoever may read everything."""

NEEDS: Mapping[str, tuple[Need, ...]] = {
    "GET /health": PUBLIC,
    "GET /version": PUBLIC,
    "GET /login": PUBLIC,
    "GET /login/callback": PUBLIC,
    "GET /logout": PUBLIC,
    **{
        f"{method} /{prefix}/2.0/mlflow-artifacts/artifacts{rest}": needs
        for prefix in ("api", "ajax-api")
        for method, rest, needs in (
            ("GET", "", (Need("reader", "place", "path"),)),
            ("GET", "/{where:path}", (Need("reader", "place", "where"),)),
            ("PUT", "/{where:path}", (Need("writer", "place", "where"),)),
            ("DELETE", "/{where:path}", LISTED),
        )
    },
    "GET /openapi.json": LISTED,
    "GET /get-artifact": (Need("reader", "run", "run_uuid"),),
    "GET /model-versions/get-artifact": (Need("reader", "model", "name"),),
    "GET /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files": (Need("reader", "logged_model", "model_id"),),
    # Each call that it makes needs what its own entry says.
    "POST /graphql": LISTED,
    **{f"{method} /ajax-api/{path}": LISTED for method, path in NOTHINGS},
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": READS_ALL,
    "POST /api/v1/sql": LISTED,
    "DELETE /api/v1/sql/{query_id}": LISTED,
    "POST /api/v1/snapshots": (Need("writer"),),
    "GET /api/v1/snapshots": READS_ALL,
    "GET /api/v1/snapshots/{name}": READS_ALL,
    "DELETE /api/v1/snapshots/{name}": (Need("admin"),),
    "GET /api/v1/changes": LISTED,
    "POST /api/v1/score": (Need("writer"),),
    "GET /api/v1/openapi.json": PUBLIC,
    "* /api/v1/{rest:path}": LISTED,
    "GET /": LISTED,
    "GET /dashboards": LISTED,
    "* /dashboards": READS_ALL,
    "GET /static-files/{path:path}": PUBLIC,
    # MLflow's calls, each of which needs what its own entry says; and the answer that nothing is there.
    "* /{rest:path}": LISTED,
}
"""What a route needs, by its method and path as the route has them; ``*`` stands for every method, and for a mount."""


class UndeclaredRouteError(RuntimeError):
    """A route of the application doesn't say who may use it: a mistake in the program."""


def gated(routes: Iterable[BaseRoute], needs: Mapping[str, tuple[Need, ...]] = NEEDS) -> list[BaseRoute]:
    """The same routes, each behind a gate with what is declared of it.

    Args:
        routes: Routes and mounts.
        needs: What they need, as `NEEDS`.

    Raises:
        UndeclaredRouteError: One isn't declared.
    """
    done: list[BaseRoute] = []
    for route in routes:
        if not isinstance(route, Route | Mount):
            raise UndeclaredRouteError(f"`{route!r}` is neither a route nor a mount, so nothing says who may use it.")
        found = {method: _declared(method, route.path, needs) for method in _methods(route)}
        # A copy: the routes of a module are those of every application in the process.
        behind = copy.copy(route)
        behind.app = Gate(route.app, route.path, found)
        done.append(behind)
    return done


def check_gated(routes: Sequence[BaseRoute]) -> None:
    """Refuse an application to which somebody has added a route past the gates.

    Raises:
        UndeclaredRouteError: There is one.
    """
    for route in routes:
        if not isinstance(getattr(route, "app", None), Gate):
            raise UndeclaredRouteError(f"`{getattr(route, 'path', route)}` was added without a gate; see `gated`.")


def _methods(route: Route | Mount) -> list[str]:
    # What HEAD asks for is what GET asks for.
    return sorted(set(route.methods or ()) - {"HEAD"}) if isinstance(route, Route) else ["*"]


def _declared(method: str, path: str, needs: Mapping[str, tuple[Need, ...]]) -> tuple[Need, ...]:
    for key in (f"{method} {path}", f"* {path}"):
        if needs.get(key):
            return needs[key]
    raise UndeclaredRouteError(
        f"Nothing says who may use `{method} {path}`; declare what it needs in NEEDS of mlwarehouse/server/access.py."
    )
