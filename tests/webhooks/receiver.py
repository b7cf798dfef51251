"""A real HTTP server that receives what webhooks send."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict:
        return json.loads(self.body)

    @property
    def delivery_id(self) -> str:
        return self.headers["X-MLflow-Delivery-Id"]


@dataclass
class Receiver:
    """What came in, and how it is answered: a status, or a function of the handler that answers itself."""

    url: str = ""
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler, Request], int] = lambda handler, request: 200

    def events(self) -> list[str]:
        return [f"{r.told['entity']}.{r.told['action']}" for r in self.requests]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """Senders that go away are what some tests are about."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers), body)
            receiver.requests.append(request)
            status = receiver.answer(self, request)
            if status:
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    receiver.port = server.server_address[1]
    receiver.url = f"http://127.0.0.1:{receiver.port}/hook?to=us"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
