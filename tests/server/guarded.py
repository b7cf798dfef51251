"""A server that asks who people are, in this process, with somebody for every role."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import anyio
from starlette.testclient import TestClient

from mlwarehouse import Warehouse
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server import Options, create_app, find_page
from mlwarehouse.server.limits import Buckets

API = "/api/2.0/mlflow/"


@dataclass
class Guarded:
    """A server that runs in this process.

    Attributes:
        warehouse: What it serves, in the name of `root`.
        client: Asks it.
        tokens: By user, those that were made for `as_`.
    """

    warehouse: Warehouse
    client: TestClient
    tokens: dict[str, str]

    def user(self, name: str, *rights: tuple[str, str]) -> str:
        """A new user with rights and a token, by name."""
        access = self.warehouse.access
        access.add_user(name)
        for role, on in rights:
            access.grant(role, name, on)
        self.tokens[name] = access.create_token(name, "test")[0]
        return name

    def ask(
        self,
        user: str | None,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        token: str | None = None,
        **arguments: Any,
    ) -> Any:
        """The answer to a call; `path` stands behind ``/api/2.0/mlflow/`` unless it begins with a slash."""
        where = path if path.startswith("/") else API + path
        given = token or (self.tokens[user] if user else None)
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        sent = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        return self.client.request(method, where, params=arguments, headers=headers, **sent)

    def ask_exactly(self, user: str, method: str, path: str, body: bytes = b"") -> tuple[int, str]:
        """The status and text of an answer to a path that no client has tidied up; it is what `path` decodes to."""
        said: list[dict[str, Any]] = []
        sent = itertools.count()

        async def receive() -> dict[str, Any]:
            if next(sent):
                # Nothing more comes, and nobody goes away.
                await anyio.sleep_forever()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {self.tokens[user]}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        assert self.client.portal is not None
        self.client.portal.call(self.client.app, scope, receive, send)
        return said[0]["status"], b"".join(m.get("body", b"") for m in said[1:]).decode()

    def done(self, user: str, method: str, path: str, body: Any = None, /, **arguments: Any) -> Any:
        """The decoded answer to a call that must succeed."""
        answer = self.ask(user, method, path, body, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def audit(self) -> list[dict[str, Any]]:
        """The rows of `audit`."""
        asked = "SELECT actor, action, object, outcome, detail FROM audit ORDER BY recorded_at, writer_id, writer_seq"
        rows: list[dict[str, Any]] = self.warehouse.sql(asked, output_format="arrow").to_pylist()
        return rows


OPTIONS = Options(mlflow_page=find_page())
"""All that a server can do."""


@contextmanager
def guarded(place: Path, *, rate_limit: float = 0) -> Iterator[Guarded]:
    """Serve a new warehouse; there is a user `root`, who may do everything."""
    warehouse = Warehouse(place, committer="off", capture_code=False, durability="os", actor="the-process")
    warehouse.create()
    store = MlflowStore(warehouse, artifact_root="mlflow-artifacts:")
    app = create_app(store, access=warehouse.access, rate_limit=rate_limit, options=OPTIONS)
    if not rate_limit:
        app.state.admission.limits.strangers = Buckets(0, 1)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        found = Guarded(warehouse, client, {})
        found.user("root", ("admin", "*"))
        yield found
