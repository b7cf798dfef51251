"""MLflow without a server: ``mlflow.set_tracking_uri("mlwarehouse:///path")`` logs to the warehouse in a folder.

MLflow finds these classes by the entry points of this package. They are its own REST clients, whose calls are answered
in this process: so what a script sees is what it would see with the server.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException, RestException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.model_registry.rest_store import RestStore as RegistryRestStore
from mlflow.store.tracking.rest_store import RestStore as TrackingRestStore
from mlflow.utils.proto_json_utils import parse_dict
from mlflow.utils.rest_utils import MlflowHostCreds

from mlwarehouse.errors import InvalidInputError, WarehouseError
from mlwarehouse.mlflow_api import MlflowStore, call_path, find_call
from mlwarehouse.mlflow_api.artifacts import list_proxied, open_artifact, place_of, put_artifact
from mlwarehouse.warehouse import Warehouse

SCHEME = "mlwarehouse"

ARTIFACTS = "/.artifacts"
"""What stands between the address of a warehouse and the place of an artifact in it."""


def open_store(uri: str) -> MlflowStore:
    """The warehouse of an address, opened once in a process; what was logged is finished when the process ends.

    Args:
        uri: ``mlwarehouse:///path`` for a folder, or ``mlwarehouse:s3://bucket/prefix``.

    Raises:
        InvalidInputError: It isn't such an address.
    """
    return _opened(uri.rstrip("/"), os.getpid())


@functools.cache
def _opened(uri: str, pid: int) -> MlflowStore:
    del pid
    rest = uri.removeprefix(f"{SCHEME}:")
    place = unquote(rest.removeprefix("//")) if rest.startswith("///") else rest
    if not uri.startswith(f"{SCHEME}:") or not (place.startswith("/") or "://" in place) or place.startswith("//"):
        raise InvalidInputError(
            f"`{uri}` isn't the address of a warehouse for MLflow; write {SCHEME}:///path or {SCHEME}:s3://bucket/prefix."
        )
    store = MlflowStore(Warehouse(place), artifact_root=f"{uri}{ARTIFACTS}")
    atexit.register(store.close)
    return store


def answer(store: MlflowStore, method: str, address: str, body: str | None) -> dict[str, Any]:
    """Answer a call as the server does.

    Args:
        store: What is asked.
        method: ``GET``, ``POST``, …
        address: The path that the call would have on a server, with arguments behind it.
        body: The request as JSON; None for an empty one.

    Raises:
        RestException: It can't be answered, in MLflow's form.
    """
    path, _, arguments = address.partition("?")
    found = find_call(method, call_path(path) or "")
    if found is None:
        raise RestException(
            {"error_code": "NOT_IMPLEMENTED", "message": f"{method} {path} isn't answered by mlwarehouse."}
        )
    call, named = found
    try:
        return call(store, {**json.loads(body or "{}"), **dict(parse_qsl(arguments)), **named})
    except WarehouseError as error:
        raise _as_mlflow(error) from error


class TrackingStore(TrackingRestStore):
    """Experiments, runs and logged models of a warehouse, for MLflow's client."""

    def __init__(self, store_uri: str, artifact_uri: str | None = None) -> None:
        """Open the warehouse of an address; MLflow's other argument says nothing here."""
        del artifact_uri
        super().__init__(functools.partial(MlflowHostCreds, store_uri))
        self._store = open_store(store_uri)

    def _call_endpoint(
        self,
        api: Any,
        json_body: str | None = None,
        endpoint: str | None = None,
        retry_timeout_seconds: float | None = None,
        response_proto: Any = None,
    ) -> Any:
        del retry_timeout_seconds
        usual, method = (self._V3_METHOD_TO_INFO if api in self._V3_APIS else self._METHOD_TO_INFO)[api]
        response = response_proto or api.Response()
        parse_dict(answer(self._store, method, endpoint or usual, json_body), response)
        return response


class RegistryStore(RegistryRestStore):
    """The registry of a warehouse, for MLflow's client."""

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        """Open the warehouse of an address; MLflow's other argument says nothing here."""
        del tracking_uri
        super().__init__(functools.partial(MlflowHostCreds, store_uri))
        self._store = open_store(store_uri)

    def _call_endpoint(
        self, api: Any, json_body: str | None, call_all_endpoints: bool = False, extra_headers: Any = None
    ) -> Any:
        del extra_headers
        endpoints = (
            self._get_all_endpoints_from_method(api) if call_all_endpoints else [self._get_endpoint_from_method(api)]
        )
        address, method = next(
            ((a, m) for a, m in endpoints if find_call(m, call_path(a) or "") is not None), endpoints[0]
        )
        response = self._get_response_from_method(api)
        parse_dict(answer(self._store, method, address, json_body), response)
        return response


class WarehouseArtifacts(ArtifactRepository):
    """The artifacts of a run or a logged model of a warehouse, for MLflow's client."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        """Look at the artifacts of an address that a run or a model has."""
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        uri, found, where = artifact_uri.partition(f"{ARTIFACTS}/")
        if not found:
            raise _as_mlflow(InvalidInputError(f"`{artifact_uri}` isn't where a run of a warehouse keeps artifacts."))
        self._store, self._where = open_store(uri), where.strip("/")

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Store a file."""
        where = self._at(artifact_path, Path(local_file).name)
        try:
            with Path(local_file).open("rb") as content:
                put_artifact(self._store, where, content)
        except WarehouseError as error:
            raise _as_mlflow(error) from error

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Store all files under a folder."""
        for path in sorted(Path(local_dir).rglob("*")):
            if path.is_file():
                folder = self._below(artifact_path, path.relative_to(local_dir).parent.as_posix())
                self.log_artifact(str(path), folder)

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        """What is right in a folder."""
        try:
            listed = list_proxied(self._store, {"path": self._at(path)})
        except WarehouseError as error:
            raise _as_mlflow(error) from error
        return [
            FileInfo(self._below(path, entry["path"]), entry["is_dir"], entry.get("file_size"))
            for entry in listed.get("files", [])
        ]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        try:
            found = open_artifact(self._store, place_of(self._at(remote_file_path)))
            with found.stream as content, Path(local_path).open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
        except WarehouseError as error:
            raise _as_mlflow(error) from error

    def _at(self, *parts: str | None) -> str:
        return str(PurePosixPath(self._where, *(part for part in parts if part)))

    @staticmethod
    def _below(*parts: str | None) -> str:
        return str(PurePosixPath(*(part for part in parts if part and part != ".")))


def _as_mlflow(error: WarehouseError) -> MlflowException:
    return RestException({"error_code": error.code, "message": str(error)})
