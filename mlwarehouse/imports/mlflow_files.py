"""Artifacts that a server hands out by MLflow's REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, StorageError
from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.rest_client import Refused, RestClient

MAX_DEPTH = 50
"""Folders within folders; a server that has more makes them up."""


class ServerFiles:
    """The artifacts of a server's runs and logged models."""

    def __init__(self, client: RestClient, oddities: list[Oddity]) -> None:
        """Ask a server.

        Args:
            client: The server.
            oddities: Gets what can't be listed.
        """
        self._client, self._oddities = client, oddities

    def add(
        self, columns: Mapping[str, list[Any]], run_id: str, address: str, changed_at: int, prefix: str = ""
    ) -> None:
        """Add the files of an address to columns as in `FILE_COLUMNS`.

        Args:
            columns: The columns; ``file`` is what `fetch` reads.
            run_id: The run that has them.
            address: The ``artifact_uri``.
            changed_at: The time that they get: the server tells none.
            prefix: What their paths begin with; then they are those of a logged model.
        """
        parts = urlsplit(address)
        root = unquote(parts.path).strip("/") if parts.scheme == "mlflow-artifacts" else None
        if root is None and prefix:
            detail = "the server doesn't hand them out, and they were left where they are"
            self._oddities.append(Oddity("artifacts not at hand", address, detail))
            return
        try:
            for path, size in self._files(run_id, root, "", 0):
                file = f"run:{run_id}/{path}" if root is None else f"proxy:{root}/{path}"
                values = (run_id, clean_path(prefix + path), file, size, changed_at)
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
        except (Refused, InvalidInputError) as error:
            self._oddities.append(Oddity("artifacts unreadable", f"run {run_id}, {address}", str(error)))

    def fetch(self, file: str, out: BinaryIO) -> None:
        """Read a file.

        Args:
            file: As in the columns.
            out: Gets the bytes.

        Raises:
            StorageError: The server doesn't hand it out, or doesn't answer.
        """
        kind, _, path = file.partition(":")
        try:
            if kind == "proxy":
                self._client.read(f"mlflow-artifacts/artifacts/{path}", out)
            else:
                run_id, _, path = path.partition("/")
                self._client.read("/get-artifact", out, path=path, run_uuid=run_id)
        except Refused as error:
            raise StorageError(f"the server doesn't hand it out: {error}") from error

    def _files(self, run_id: str, root: str | None, folder: str, depth: int) -> Iterator[tuple[str, int]]:
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"its folders are nested more than {MAX_DEPTH} deep")
        if root is None:
            pages = self._client.pages(
                "mlflow/artifacts/list", "files", is_get=True, run_id=run_id, path=folder.rstrip("/") or None
            )
        else:
            path = f"{root}/{folder}".rstrip("/")
            pages = self._client.pages("mlflow-artifacts/artifacts", "files", is_get=True, path=path)
        for found in pages:
            for file in found:
                # One listing has names, the other one paths.
                path = folder + str(file["path"]).rpartition("/")[2]
                if file.get("is_dir"):
                    yield from self._files(run_id, root, f"{path}/", depth + 1)
                else:
                    yield path, int(file.get("file_size") or 0)
