"""A MinIO server of the tests' own, and a proxy in front of it that fails as networks do."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One MinIO process over one folder; it can be stopped and started again on its port."""

    def __init__(self, binary: str, folder: Path, user: str, password: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = [binary, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", str(folder)]
        self._environment = {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off"}
        self._environment |= {"HOME": str(folder), "PATH": "/usr/bin:/bin", "MINIO_UPDATE": "off"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._arguments, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/minio/health/ready", timeout=1):
                    return
            except (OSError, urllib.error.URLError):
                assert self._process.poll() is None, "MinIO ended at once"
                assert time.monotonic() < deadline, "MinIO isn't ready after 30 s"
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Proxy:
    """Passes connections on to a server, and can refuse them or swallow answers.

    Attributes:
        url: Its address, for AWS_ENDPOINT_URL.
        requests: The first line of each request that was passed on.
        swallows: Whether the answer to the request with this first line gets lost: the server has done it, and the
            connection is cut.
        allows: Whether a request with this first line is passed on at all.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[str] = []
        self.swallows: Callable[[str], bool] = lambda line: False
        self.allows: Callable[[str], bool] = lambda line: True
        self._listener: socket.socket | None = None

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._listener is not None:
            # Closing alone doesn't wake the thread that waits in it.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One request a connection: the server closes after its answer, as it is told to."""
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(65536)
                if not more:
                    return
                head += more
            line = head.partition(b"\r\n")[0].decode()
            if self._listener is None or not self.allows(line):
                return
            self.requests.append(line)
            first, rest = head.split(b"\r\n", 1)
            server.sendall(first + b"\r\nConnection: close\r\n" + rest)
            sender = threading.Thread(target=_pump, args=(client, server), daemon=True)
            sender.start()
            answer = server.recv(65536)
            while answer:
                if not self.swallows(line):
                    client.sendall(answer)
                answer = server.recv(65536)
            # Closing alone says nothing to the client while a thread waits for more of its request.
            client.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
