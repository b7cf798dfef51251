"""Starting the server."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from mlwarehouse.errors import ConflictError, InvalidInputError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.server.app import create_app
from mlwarehouse.server.options import Options
from mlwarehouse.warehouse import Warehouse

DRAIN_S = 30
"""How long calls that are under way have to end when the server is stopped."""

WAITING = 2048
"""Connections that may wait to be taken."""

LOCK = "server.lock"
"""The file in the spool that a server holds; it is let go of with the process, however that ends."""

PROXIED = "mlflow-artifacts:"
"""The scheme of artifacts that clients send to the server and fetch from it."""


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""The names by which this machine's own programs call it."""


def serve(
    warehouse: Warehouse,
    *,
    host: str,
    port: int,
    is_open: bool = False,
    allowed_hosts: Sequence[str] = (),
    options: Options | None = None,
    tell: Callable[[str], None],
) -> None:
    """Serve a warehouse until the process is told to end; then end the calls that are under way.

    Args:
        warehouse: The warehouse; made where there is none.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        is_open: Whether anyone who reaches the address may read and change everything.
        allowed_hosts: Names under which it may be asked, beside this machine's own: what a proxy before it calls it.
            A page that a browser on this machine shows can make its own name mean this machine, and then asks under
            that name. At an address for everyone, none of them means all.
        options: What else it does.
        tell: Called with the server's address when it can be asked.

    Raises:
        InvalidInputError: Nothing can listen there; or other machines reach it, and nobody said that this is meant.
        ConflictError: Another server of this machine serves the warehouse.
        StorageError: The warehouse can't be written.
    """
    if not is_open and not _is_loopback(host):
        raise InvalidInputError(
            f"At `{host}` other machines reach the server, and it asks nobody who they are: whoever reaches it may "
            "read and change everything. Serve at 127.0.0.1 behind a proxy that asks, or say that this is meant by "
            "`--open-to-everyone`."
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=WAITING)
    except OSError as error:
        raise InvalidInputError(
            f"The server can't listen at `{host}`, port {port}: {error.strerror}. Choose others by --host and --port."
        ) from error
    # Answers are small, and a client waits for each. asyncio does this only for sockets that say their protocol.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    names = (*allowed_hosts, *LOOPBACK, host) if allowed_hosts or not is_open else ()
    warehouse.create()
    with listening, _only_server(warehouse):
        app = create_app(MlflowStore(warehouse, artifact_root=PROXIED), names, options)
        # One process: its threads share what is held in memory. Its own log says what fails.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_S
        )
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{listening.getsockname()[1]}")
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
