"""Starting the server."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from mlwarehouse.errors import ConflictError, InvalidInputError, WarehouseNotFoundError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server.app import create_app
from mlwarehouse.server.oidc import LogIn, LogInSettings
from mlwarehouse.server.options import Options
from mlwarehouse.server.tls import tls_options
from mlwarehouse.warehouse import Warehouse

DRAIN_S = 30
"""How long calls that are under way have to end when the server is stopped."""

WAITING = 2048
"""Connections that may wait to be taken."""

LOCK = "server.lock"
"""The file in the spool that a server holds; it is let go of with the process, however that ends."""

RATE_LIMIT = 1000.0
"""Requests a second of a user, unless somebody says otherwise: many times what a training makes."""

PROXIED = "mlflow-artifacts:"
"""The scheme of artifacts that clients send to the server and fetch from it."""


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The names by which this machine's own programs call it."""


def serve(
    warehouse: Warehouse,
    *,
    host: str,
    port: int,
    auth: bool | None = None,
    allowed_hosts: Sequence[str] = (),
    options: Options | None = None,
    tls: tuple[Path, Path] | None = None,
    rate_limit: float = RATE_LIMIT,
    log_in: LogInSettings | None = None,
    tell: Callable[[str], None],
) -> None:
    """Serve a warehouse until the process is told to end; then end the calls that are under way.

    Args:
        warehouse: The warehouse; made where there is none.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        auth: Whether everybody must say who they are; None means that only this machine's own programs needn't. Where
            False, anyone who reaches the address may read and change everything.
        allowed_hosts: Names under which it may be asked, beside this machine's own: what a proxy before it calls it.
            A page that a browser on this machine shows can make its own name mean this machine, and then asks under
            that name. At an address for everyone, none of them means all.
        options: What else it does.
        tls: The files of the certificate, with those between it and the authority's, and of its key, both as PEM;
            None serves without TLS.
        rate_limit: Requests a second of each user, five times as many at once; 0 for as many as come.
        log_in: The log-in of people, who then needn't bring tokens; everybody must say who they are.
        tell: Called with the server's address when it can be asked.

    Raises:
        InvalidInputError: Nothing can listen there, a file of TLS can't be used, or everybody must say who they are and
            nobody can.
        ConflictError: Another server of this machine serves the warehouse.
        StorageError: The warehouse can't be written.
    """
    if log_in is not None and auth is False:
        raise InvalidInputError(
            "Where nobody is asked who they are, nobody logs in; leave --no-auth or the log-in out."
        )
    asks = auth or log_in is not None or (auth is None and not _is_loopback(host))
    people = None if log_in is None else LogIn(log_in)
    if asks:
        _need_admin(warehouse, host, by_log_in=people is not None)
    of_tls = {} if tls is None else tls_options(*tls)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=WAITING)
    except OSError as error:
        raise InvalidInputError(
            f"The server can't listen at `{host}`, port {port}: {error.strerror}. Choose others by --host and --port."
        ) from error
    # Answers are small, and a client waits for each. asyncio does this only for sockets that say their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What a browser sends by itself it sends to the name that it was given it for: where everybody says who they are,
    # a page that makes its own name mean this machine gets nowhere.
    is_named = allowed_hosts or _is_loopback(host)
    public = urlsplit(log_in.public_url).hostname if log_in is not None else None
    names = (*allowed_hosts, *LOOPBACK, host, *([public] if public else [])) if is_named else ()
    warehouse.create()
    with listening, _only_server(warehouse):
        app = create_app(
            MlflowStore(warehouse, artifact_root=PROXIED),
            names,
            access=warehouse.access if asks else None,
            rate_limit=rate_limit,
            has_tls=tls is not None,
            options=options,
            log_in=people,
        )
        # One process: its threads share what is held in memory. Its own log says what fails.
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            **of_tls,
        )
        shown = f"[{host}]" if ":" in host else host
        tell(f"{'https' if tls else 'http'}://{shown}:{listening.getsockname()[1]}")
        _Server(config, app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells the application at once that it is to end: answers that go on for ever would keep it from that."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._served = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if hasattr(self._served.state, "api"):
            self._served.state.api.end()
        super().handle_exit(sig, frame)


@contextmanager
def _only_server(warehouse: Warehouse) -> Iterator[None]:
    """Be the machine's one server of a warehouse: of two, each would take what the other hasn't committed for later."""
    folder = warehouse.spool()
    folder.create()
    with (folder.path / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                f"Another server of this machine serves `{warehouse.uri}`; use that one, or end it first."
            ) from None
        yield


def _need_admin(warehouse: Warehouse, host: str, *, by_log_in: bool) -> None:
    """Refuse to ask who people are where nobody can say so."""
    access = warehouse.access
    try:
        has_admin = access.state().has_admin(access.now(), by_log_in=by_log_in)
    except WarehouseNotFoundError:
        has_admin = False
    if not has_admin:
        raise InvalidInputError(
            f"At `{host}` the server asks everybody who they are, and nobody has a token of an admin yet. Make one by "
            "`mlwarehouse init`, `mlwarehouse users add NAME --role admin` and `mlwarehouse tokens create NAME "
            "TOKEN-NAME`; or serve without asking by `--no-auth`: whoever reaches the server may then read and change "
            "everything."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
