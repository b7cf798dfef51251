"""A server of ours as its users start it: a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
STARTS_S = 120
ANSWERS_S = 120


@dataclass
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    uri: str
    place: Path

    def ask(self, method: str, path: str, body: Any = None, /, **arguments: Any) -> tuple[int, Any]:
        """The status and the decoded answer of a call, `path` being what stands behind ``/api/2.0/mlflow/``."""
        where = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        query = f"?{urllib.parse.urlencode(arguments, doseq=True)}" if arguments else ""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(f"{self.uri}{where}{query}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWERS_S) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return status, json.loads(text) if text.startswith("{") else text

    def post(self, path: str, /, **body: Any) -> Any:
        """The answer of a call that must succeed."""
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def get(self, path: str, /, **arguments: Any) -> Any:
        """Likewise."""
        status, answer = self.ask("GET", path, **arguments)
        assert status == 200, answer
        return answer

    def run(self, experiment: str = "0", **body: Any) -> str:
        """The id of a new run."""
        made = self.post("runs/create", experiment_id=experiment, start_time=1_772_366_400_000, **body)
        return str(made["run"]["info"]["run_id"])

    def stop(self) -> int:
        """End it as an init system does, and say how it ended."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> int:
        """End it as nobody should."""
        self.process.kill()
        return self.wait()

    def wait(self) -> int:
        """How it ended."""
        code = self.process.wait(STARTS_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


def start(place: Path, *options: str, port: int = 0, **settings: str) -> Server:
    """Start a server on a port, 0 being a free one, and wait until it says where it is."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlwarehouse", "serve", "--warehouse", str(place), "--port", str(port)),
            *("--no-request-log", *options),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MLWAREHOUSE_MAINTENANCE": "off", **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"https?://\S+", line)
        if found:
            return Server(process, found.group(), place)
    raise AssertionError(f"the server ended: {''.join(said)}")


@contextmanager
def mlflow_set_to(uri: str) -> Iterator[Any]:
    """MLflow's own client, set to an address, and afterwards as it was."""
    import mlflow
    from mlflow.tracking import fluent

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    # `set_experiment` tells it to the processes that a script starts.
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    fluent._active_experiment_id = None
    mlflow.set_tracking_uri(before)
