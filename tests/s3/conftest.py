"""A real S3-compatible server; where it can't be had, the tests are skipped, and say why."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3.server import Proxy, Server

BUCKET = "warehouses"
USER, PASSWORD = "tester", secrets.token_hex(16)
SCRIPT = Path(__file__).parents[2] / "scripts" / "minio.sh"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"no MinIO server: {found.stderr.strip().splitlines()[-1]}")
    server = Server(found.stdout.strip(), tmp_path_factory.mktemp("minio"), USER, PASSWORD)
    server.start()
    from pyarrow.fs import S3FileSystem

    fs = S3FileSystem(
        access_key=USER,
        secret_key=PASSWORD,
        region="us-east-1",
        scheme="http",
        endpoint_override=f"127.0.0.1:{server.port}",
        allow_bucket_creation=True,
    )
    fs.create_dir(BUCKET)
    yield server
    server.stop()


@pytest.fixture
def environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The server's address and keys, and a cache folder of the test's own."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


@pytest.fixture
def uri(environment: pytest.MonkeyPatch) -> str:
    """An address under which nothing is."""
    return f"s3://{BUCKET}/{secrets.token_hex(8)}/wh"


@pytest.fixture
def proxy(environment: pytest.MonkeyPatch, server: Server) -> Iterator[Proxy]:
    """A proxy that this process, and those that it starts, go through."""
    proxy = Proxy(server.port)
    proxy.open()
    environment.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()
