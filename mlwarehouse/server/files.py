"""Artifacts over HTTP: files stream in and out, and no more of them than a few chunks is in memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO, cast
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.mlflow_api import MlflowStore
from mlwarehouse.mlflow_api.artifacts import Found, Place, list_proxied, open_artifact, place_of, put_artifact
from mlwarehouse.mlflow_api.messages import Field, read_request
from mlwarehouse.mlflow_api.registry import get_download_uri
from mlwarehouse.server.admission import admit
from mlwarehouse.server.answers import HEADERS, answer, guarded, refuse

CHUNK_BYTES = 1 << 20
"""What is read of a file at once."""

UNWRITTEN_BYTES = 8 << 20
"""What is gathered of an upload before it is written to disk."""

_PREFIXES = ("/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts")
_LISTING = (Field("path"),)
_VERSION_FILE = (Field("name", required=True), Field("version", required=True), Field("path", required=True))
_MODEL_FILE = (Field("model_id", required=True), Field("artifact_file_path", required=True))
_PAGE_FILE = (Field("run_uuid", required=True, other="run_id"), Field("path", required=True))


@guarded
async def _list(request: Request) -> Response:
    asked = read_request(dict(request.query_params), _LISTING)
    await run_in_threadpool(admit, request, asked)
    return answer(await run_in_threadpool(list_proxied, _store(request), asked))


@guarded
async def _put(request: Request) -> Response:
    store, where = _store(request), _where(request)
    # A place that can't be is refused before anything is sent there.
    place_of(where)
    await run_in_threadpool(admit, request, {"where": where})
    # Beside the spool: the folder for temporary files is memory on some machines. It has no name, so it goes with us.
    with tempfile.TemporaryFile(dir=store.recorder.folder.path) as content:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= UNWRITTEN_BYTES:
                await run_in_threadpool(content.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(_finish, content, bytes(waiting))
        await run_in_threadpool(put_artifact, store, where, cast(BinaryIO, content))
    return answer({})


@guarded
async def _get(request: Request) -> Response:
    where = _where(request)
    await run_in_threadpool(admit, request, {"where": where})
    return await _sent(request, place_of(where))


@guarded
async def _get_for_page(request: Request) -> Response:
    asked = read_request(dict(request.query_params), _PAGE_FILE)
    await run_in_threadpool(admit, request, asked)
    return await _sent(request, Place(asked["run_uuid"], clean_path(asked["path"])))


@guarded
async def _get_of_version(request: Request) -> Response:
    store, asked = _store(request), read_request(dict(request.query_params), _VERSION_FILE)
    await run_in_threadpool(admit, request, asked)
    uri = (await run_in_threadpool(get_download_uri, store, asked))["artifact_uri"]
    if not uri.startswith(f"{store.root}/"):
        raise NotFoundError(f"The files of this version aren't in the warehouse, but at `{uri}`.")
    return await _sent(request, place_of(f"{uri.removeprefix(f'{store.root}/')}/{clean_path(asked['path'])}"))


@guarded
async def _get_of_model(request: Request) -> Response:
    asked = read_request({**dict(request.query_params), **request.path_params}, _MODEL_FILE)
    await run_in_threadpool(admit, request, asked)
    return await _sent(request, Place("", clean_path(asked["artifact_file_path"]), asked["model_id"]))


@guarded
async def _delete(request: Request) -> Response:
    del request
    return refuse(
        "NOT_IMPLEMENTED",
        "Artifacts aren't deleted one by one: what a run logged stays in its history. `mlwarehouse purge` removes runs "
        "with all that they have.",
        501,
    )


def _where(request: Request) -> str:
    """The place that an address names.

    Raises:
        InvalidInputError: It has bytes that are no text, which would come to stand for others.
    """
    where = str(request.path_params["where"])
    if "\N{REPLACEMENT CHARACTER}" in where:
        raise InvalidInputError(f"`{ascii(where[:80])[1:-1]}` has bytes that are no text; encode names as UTF-8.")
    return where


def _finish(content: BinaryIO, rest: bytes) -> None:
    content.write(rest)
    content.flush()
    content.seek(0)


async def _sent(request: Request, place: Place) -> Response:
    found = await run_in_threadpool(open_artifact, _store(request), place)
    # Never shown in place: what somebody logged as a page would act in the reader's name.
    headers = {
        **HEADERS,
        "Content-Length": str(found.size_bytes),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return StreamingResponse(_chunks(found), headers=headers, media_type="application/octet-stream")


async def _chunks(found: Found) -> AsyncIterator[bytes]:
    try:
        while chunk := await run_in_threadpool(found.stream.read, CHUNK_BYTES):
            yield chunk
    finally:
        found.stream.close()


def _store(request: Request) -> MlflowStore:
    return cast(MlflowStore, request.app.state.store)


ROUTES: tuple[Route, ...] = (
    *(
        route
        for prefix in _PREFIXES
        for route in (
            Route(f"{prefix}/artifacts", _list, methods=["GET"]),
            Route(f"{prefix}/artifacts/{{where:path}}", _put, methods=["PUT"]),
            Route(f"{prefix}/artifacts/{{where:path}}", _get, methods=["GET"]),
            Route(f"{prefix}/artifacts/{{where:path}}", _delete, methods=["DELETE"]),
        )
    ),
    Route("/get-artifact", _get_for_page, methods=["GET"]),
    Route("/model-versions/get-artifact", _get_of_version, methods=["GET"]),
    Route("/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files", _get_of_model, methods=["GET"]),
)
"""The addresses of artifacts."""
