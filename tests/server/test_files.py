"""Artifacts through the server."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import pytest

from .serving import Server

MEBIBYTE = 1 << 20
PROXIED = "/api/2.0/mlflow-artifacts/artifacts"


def test_a_script_logs_lists_and_fetches_artifacts(client: Any, experiment: str, tmp_path: Path) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "deep" / "b ä.txt").write_text("b")
    (tmp_path / "in" / "deep" / "er" / "empty").write_bytes(b"")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(tmp_path / "in"), "all")
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"x": 1}, "config.json")
        mlflow.log_text("hello again", "notes/hello.txt")
    run_id = run.info.run_id
    assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id)] == [
        ("all", True, None),
        ("config.json", False, 12),
        ("notes", True, None),
    ]
    assert [f.path for f in client.list_artifacts(run_id, "all/deep")] == ["all/deep/b ä.txt", "all/deep/er"]
    assert client.list_artifacts(run_id, "config.json") == client.list_artifacts(run_id, "nothing") == []
    (tmp_path / "out").mkdir()
    fetched = Path(client.download_artifacts(run_id, "", str(tmp_path / "out")))
    assert (fetched / "all" / "deep" / "b ä.txt").read_text() == "b"
    assert (fetched / "all" / "deep" / "er" / "empty").read_bytes() == b""
    assert (fetched / "notes" / "hello.txt").read_text() == "hello again"


def test_a_run_and_its_files_are_listed_for_the_web_page(server: Server, experiment: str) -> None:
    run_id = server.run(experiment)
    assert server.ask("PUT", f"{PROXIED}/{experiment}/{run_id}/artifacts/x/y.bin", b"\0" * 5) == (200, {})
    listed = server.get("artifacts/list", run_id=run_id, path="x")
    assert listed == {
        "root_uri": f"mlflow-artifacts:/{experiment}/{run_id}/artifacts",
        "files": [{"path": "x/y.bin", "is_dir": False, "file_size": 5}],
    }
    with urllib.request.urlopen(f"{server.uri}/get-artifact?run_uuid={run_id}&path=x/y.bin", timeout=60) as answer:
        assert answer.read() == b"\0" * 5
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["Content-Security-Policy"]


def _peak(server: Server) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM"))


def test_a_large_file_goes_in_and_out_in_constant_memory(server: Server, experiment: str, tmp_path: Path) -> None:
    run_id, large = server.run(experiment), tmp_path / "large.bin"
    chunk = os.urandom(MEBIBYTE)
    with large.open("wb") as out:
        for _ in range(192):
            out.write(chunk)
    address = f"{server.uri}{PROXIED}/{experiment}/{run_id}/artifacts/large.bin"
    before = _peak(server)
    with large.open("rb") as content:
        headers = {"Content-Length": str(large.stat().st_size)}
        request = urllib.request.Request(address, content, headers, method="PUT")  # type: ignore[arg-type]
        assert urllib.request.urlopen(request, timeout=300).status == 200
    sha = hashlib.sha256()
    with urllib.request.urlopen(address, timeout=300) as answer:
        while got := answer.read(MEBIBYTE):
            sha.update(got)
    with large.open("rb") as content:
        assert sha.hexdigest() == hashlib.file_digest(content, "sha256").hexdigest()
    assert _peak(server) - before < 96 * MEBIBYTE


ESCAPES = (
    "../x",
    "a/../../x",
    "..%2fx",
    "%2e%2e/x",
    "%252e%252e/x",
    "/etc/passwd",
    "a//b",
    "./a",
    "a\\..\\b",
    "C:/x",
    "a%00b",
    "file:///etc/passwd",
    "a?b=..",
    "a#b",
    "~/x:y",
)


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_a_runs_artifacts(server: Server, experiment: str, path: str) -> None:
    """MLflow's published holes: CVE-2023-1177, CVE-2023-2780, CVE-2023-6018, CVE-2024-1560, CVE-2024-3848."""
    run_id = server.run(experiment)
    raw = urllib.parse.quote(path, safe="/%.:\\~?#") if "%" in path else urllib.parse.quote(path, safe="/.")
    for method, body in (("PUT", b"x"), ("GET", None)):
        status, answer = server.ask(method, f"{PROXIED}/{experiment}/{run_id}/artifacts/{raw}", body)
        assert status in (400, 404), (method, answer)
        status, answer = server.ask(method, f"{PROXIED}/{raw}", body)
        assert status in (400, 404), (method, answer)
    for where, arguments in (
        (PROXIED, {"path": f"{experiment}/{run_id}/artifacts/{path}"}),
        (PROXIED, {"path": path}),
        ("artifacts/list", {"run_id": run_id, "path": path}),
        ("/get-artifact", {"run_uuid": run_id, "path": path}),
    ):
        status, answer = server.ask("GET", where, **arguments)
        assert status in (400, 404), (where, answer)
    assert "files" not in server.get("artifacts/list", run_id=run_id)


def test_files_go_only_to_runs_that_take_them(server: Server, experiment: str) -> None:
    run_id = server.run(experiment)
    assert server.ask("PUT", f"{PROXIED}/{experiment}/nobody/artifacts/x", b"x")[0] == 404
    assert server.ask("GET", f"{PROXIED}/{experiment}/{run_id}/artifacts/none")[0] == 404
    assert server.ask("PUT", f"{PROXIED}/{experiment}/{run_id}/elsewhere/x", b"x")[0] == 400
    assert server.ask("PUT", f"{PROXIED}/{experiment}/{run_id}/artifacts/", b"x")[0] == 400
    assert server.ask("DELETE", f"{PROXIED}/{experiment}/{run_id}/artifacts/x")[0] == 501
    server.post("runs/delete", run_id=run_id)
    assert server.ask("PUT", f"{PROXIED}/{experiment}/{run_id}/artifacts/x", b"x")[0] == 400
    # Clients then send the file itself.
    assert server.ask("POST", "/api/2.0/mlflow-artifacts/mpu/create/x", {})[0] == 501


def test_an_upload_that_breaks_off_leaves_nothing(server: Server, experiment: str) -> None:
    run_id = server.run(experiment)
    host, port = server.uri.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        head = f"PUT {PROXIED}/{experiment}/{run_id}/artifacts/part HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        line.sendall(head.encode() + b"x" * 500)
    assert server.ask("GET", f"{PROXIED}/{experiment}/{run_id}/artifacts/part")[0] == 404


def test_many_upload_at_once(server: Server, experiment: str) -> None:
    run_id, statuses = server.run(experiment), []

    def send(n: int) -> None:
        where = f"{PROXIED}/{experiment}/{run_id}/artifacts/f{n % 8}"
        statuses.append(server.ask("PUT", where, bytes([n % 8]) * 1000)[0])

    threads = [threading.Thread(target=send, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    assert len(server.get("artifacts/list", run_id=run_id)["files"]) == 8
