"""MLflow's published holes, each tried on our server: by an admin, whom nothing else holds back."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .guarded import Guarded, guarded

SECRET = "the-secret-of-another-folder"
PROXIED = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    place = tmp_path_factory.mktemp("holes")
    (place / "secret.txt").write_text(SECRET)
    with guarded(place / "wh") as found:
        yield found


@pytest.fixture(scope="module")
def run(server: Guarded) -> str:
    made = server.done("root", "POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    # What an attacker may do is all that a writer may: there is a file, and a link's name is just a name.
    assert server.ask("root", "PUT", f"{PROXIED}/0/{made}/artifacts/a.txt", b"fine").status_code == 200
    return str(made)


def hostile(place: Path) -> list[str]:
    """Ways out of a folder: encodings, characters that some program reads as another, drives, schemes, links."""
    up = ("..", "%2e%2e", "%252e%252e", ".%2e", "..%00", "..;", "..;x=y", "．．", "..\u200b", "%c0%ae%c0%ae", "..%5c..")
    slashes = ("/", "\\", "%2f", "%5c", "%252f", "／", "//", "/./")
    ways = [f"{dots}{slash}" * 3 + "secret.txt" for dots, slash in itertools.product(up, slashes)]
    whole = f"{place}/secret.txt"
    return [
        *ways,
        whole,
        f"/{whole}",
        f"file://{whole}",
        f"FILE://{whole}",
        f"file:{whole}",
        f"file://localhost{whole}",
        f"a?/../..{whole}",
        f"a#/../..{whole}",
        f"a;/../..{whole}",
        "C:/secret.txt",
        "C:\\secret.txt",
        "\\\\host\\share\\secret.txt",
        "a\0/../secret.txt",
        "a/\n../secret.txt",
        "/proc/self/environ",
        "/etc/passwd",
        "..",
        ".",
        "./../secret.txt",
        "a/..",
        "a/../../secret.txt",
        "x" * 5000,
    ]


def _all_files(place: Path) -> set[Path]:
    return {p for p in place.rglob("*") if "wh" not in p.relative_to(place).parts[:1]}


def test_no_path_reads_or_writes_outside(server: Guarded, run: str) -> None:
    """CVE-2023-1177, -2356, -2780, -6018, CVE-2024-1560, -1593, -2928, -3848, -8859, CVE-2025-11201, CVE-2026-2614."""
    place = Path(server.warehouse.root).parent
    before = _all_files(place)
    paths = hostile(place)
    assert len(paths) > 100
    for path in paths:
        once = path.replace("?", "%3F").replace("#", "%23")
        twice = quote(path, safe="")
        answers = [
            *(
                server.ask_exactly("root", method, f"{PROXIED}{folder}/{raw}", b"hostile" if method == "PUT" else b"")
                for folder in (f"/0/{run}/artifacts", "")
                for raw in {once, twice}
                for method in ("GET", "PUT")
            ),
            *(
                (answer.status_code, answer.text)
                for answer in (
                    server.ask("root", "GET", PROXIED, path=f"0/{run}/artifacts/{path}"),
                    server.ask("root", "GET", "/get-artifact", run_uuid=run, path=path),
                    server.ask("root", "GET", "artifacts/list", run_id=run, path=path),
                )
            ),
        ]
        for status, text in answers:
            assert status in (400, 403, 404), (path, text)
            assert SECRET not in text
    assert _all_files(place) == before
    listed = server.done("root", "GET", "artifacts/list", run_id=run)["files"]
    assert [f["path"] for f in listed] == ["a.txt"]


def test_no_source_of_a_version_is_a_path_of_the_server(server: Guarded, run: str) -> None:
    """CVE-2023-1177, -6831, CVE-2024-1558, CVE-2025-11201; CVE-2026-2614: a tag that switched the check off."""
    place = Path(server.warehouse.root).parent
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    server.done("root", "POST", "registered-models/create", {"name": "m", "tags": tags})
    for path in hostile(place):
        for source in (
            path,
            f"runs:/{run}/{path}",
            f"models:/{path}",
            f"mlflow-artifacts:/0/{run}/artifacts/{path}",
            f"mlflow-artifacts:/{path}",
            f"mlflow-artifacts://host/{path}",
            f"s3://bucket/{path}",
            f"http:///{path}",
        ):
            body = {"name": "m", "source": source, "tags": tags}
            answer = server.ask("root", "POST", "model-versions/create", body)
            # A name in a bucket may be any that can't be read as another one.
            can_be = source.startswith("s3://bucket/") and path == "x" * 5000
            assert answer.status_code in ((200, 400) if can_be else (400, 404)), (source, answer.text)
    for version in server.done("root", "GET", "model-versions/search", max_results=1000).get("model_versions", []):
        assert version["source"].startswith("s3://bucket/")


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc",
        "FILE:///etc",
        "file:/etc",
        "/etc",
        "../x",
        "s3://b/../x",
        "s3://b/x#/../..",
        "s3://b/x?y",
        "s3://b/%2e%2e/x",
        "s3://b/x;/../y",
        "s3://",
        "://x",
        "mlflow-artifacts://evil/x",
    ],
)
def test_an_artifact_location_is_no_path(server: Guarded, location: str) -> None:
    """CVE-2024-1483, -2928, -3573."""
    answer = server.ask("root", "POST", "experiments/create", {"name": location, "artifact_location": location})
    assert answer.status_code == 400


ANSWERED_NOWHERE = (
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/0/x/artifacts/y"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/0/x/artifacts/y"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/0/x/artifacts/y"),
    ("GET", "/api/2.0/mlflow-artifacts/presigned/0/x/artifacts/y"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/y"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
    ("GET", "/ajax-api/2.0/mlflow/logged-models/m-0/artifacts/files"),
    ("GET", "/model-versions/get-artifact"),
    ("POST", "/ajax-api/3.0/jobs"),
    ("POST", "/ajax-api/3.0/jobs/search"),
    ("POST", "/api/3.0/mlflow/jobs"),
    ("POST", "/v1/traces"),
    ("POST", "/api/2.0/mlflow/users/create"),
    ("POST", "/api/2.0/mlflow/users/create-ui"),
    ("PATCH", "/api/2.0/mlflow/users/update-admin"),
    ("GET", "/signup"),
    ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
    ("POST", "/api/2.0/mlflow/webhooks/create"),
    ("POST", "/graphql"),
    ("POST", "/api/2.0/mlflow/experiments/permissions/create"),
)


@pytest.mark.parametrize(("method", "path"), ANSWERED_NOWHERE)
def test_no_address_is_open_because_nobody_thought_of_it(server: Guarded, method: str, path: str) -> None:
    """CVE-2026-2651, -2652, -0545, CVE-2024-4263, CVE-2025-52967, -1473, -0453, CVE-2026-2393."""
    for address in (path, path.replace("/api/", "/ajax-api/", 1), f"{path}/", path.upper(), f"/{path}"):
        assert server.ask(None, method, address).status_code == 401
        answer = server.ask("root", method, address, {} if method == "POST" else None)
        # A client takes what follows two slashes for a name, and asks for the page.
        is_page = address.startswith("//") and answer.text == server.ask("root", "GET", "/").text
        assert answer.status_code in (400, 404, 405, 501) or is_page, (address, answer.text)


@pytest.mark.parametrize(
    "pair", ["admin:password1234", "admin:password", "admin:", ":", "root:root", "admin:mlwh", "mlflow:mlflow"]
)
def test_there_is_no_password_that_everybody_knows(server: Guarded, pair: str) -> None:
    """The default of MLflow's log-in, and CVE-2025-11200, -1474."""
    name, _, password = pair.partition(":")
    answer = server.client.get("/api/2.0/mlflow/experiments/search?max_results=1", auth=(name, password))
    assert answer.status_code == 401


def test_what_was_logged_is_never_shown_as_a_page(server: Guarded, run: str) -> None:
    """CVE-2023-6568, CVE-2024-27132, and a page logged as an artifact."""
    page = b"<script>alert(1)</script>"
    where = f"{PROXIED}/0/{run}/artifacts/page.html"
    assert server.ask("root", "PUT", where, page).status_code == 200
    for answer in (
        server.ask("root", "GET", where),
        server.ask("root", "GET", "/get-artifact", run_uuid=run, path="page.html"),
    ):
        assert answer.content == page
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    headers = {"Content-Type": "<script>alert(1)</script>", "Authorization": f"Bearer {server.tokens['root']}"}
    answer = server.client.post("/api/2.0/mlflow/experiments/create", content=b"x", headers=headers)
    assert answer.headers["Content-Type"] == "application/json"


def test_ranges_cost_nothing(server: Guarded, run: str) -> None:
    """CVE-2025-62727: a list of ranges took time as its square; the whole file is sent instead."""
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))
    headers = {"Range": ranges, "Authorization": f"Bearer {server.tokens['root']}"}
    answer = server.client.get(f"{PROXIED}/0/{run}/artifacts/a.txt", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"fine")


def test_nothing_that_is_written_may_be_changed_by_others(server: Guarded, run: str) -> None:
    """CVE-2022-0736, CVE-2025-10279, CVE-2026-4137: folders that everybody may write."""
    root = Path(server.warehouse.root)
    open_ = [p for p in (root, *root.rglob("*")) if not p.is_symlink() and p.stat().st_mode & stat.S_IWOTH]
    assert open_ == []


def test_the_machines_own_places_are_no_experiments(server: Guarded) -> None:
    """A name is only a name, whatever it looks like."""
    place = Path(server.warehouse.root).parent
    for name in ("../../x", str(place / "made"), "..", "con", "a\\..\\b"):
        answer: Any = server.ask("root", "POST", "experiments/create", {"name": name})
        assert answer.status_code in (200, 400)
    assert not (place / "made").exists()
    assert sorted(p.name for p in place.iterdir()) == ["secret.txt", "wh"]
