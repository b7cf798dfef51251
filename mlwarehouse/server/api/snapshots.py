"""Snapshots over HTTP."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlwarehouse.entities import KeptSnapshot, Snapshot
from mlwarehouse.errors import NotFoundError, did_you_mean
from mlwarehouse.server.answers import HEADERS, answer
from mlwarehouse.server.api.bodies import Body, read_body
from mlwarehouse.server.api.problems import guarded
from mlwarehouse.server.api.state import api_of


class SnapshotRequest(Body):
    """A snapshot to take."""

    keep: bool = Field(False, description="Whether maintenance shall leave its files.", examples=[True])
    name: str | None = Field(None, description="With `keep`, a name to ask it by.", examples=["paper-v1"])
    note: str | None = Field(None, description="With `keep`, what it is for.", examples=["Table 2 of the paper"])
    at: str | None = Field(None, description="With `keep`, an earlier snapshot's text: keep that one.")


@guarded
async def _take(request: Request) -> Response:
    api, asked = api_of(request), await read_body(request, SnapshotRequest)

    def take() -> dict[str, Any]:
        found = api.warehouse.snapshot(keep=asked.keep, name=asked.name, note=asked.note, at=asked.at)
        if not asked.keep:
            return _told(found)
        kept = [k for k in api.warehouse.snapshots() if k.snapshot == found and asked.name in (None, k.name)]
        return _told_kept(max(kept, key=lambda k: k.kept_at or 0))

    return answer(await api.in_thread(take), 201)


@guarded
async def _list(request: Request) -> Response:
    api = api_of(request)
    return answer({"snapshots": [_told_kept(kept) for kept in await api.in_thread(api.warehouse.snapshots)]})


@guarded
async def _get(request: Request) -> Response:
    api, name = api_of(request), request.path_params["name"]
    kept = {k.name: k for k in await api.in_thread(api.warehouse.snapshots)}
    if name not in kept:
        raise NotFoundError(f"No snapshot is kept under the name `{name}`.{did_you_mean(name, kept)}")
    return answer(_told_kept(kept[name]))


@guarded
async def _release(request: Request) -> Response:
    api = api_of(request)
    await api.in_thread(api.warehouse.release_snapshot, request.path_params["name"])
    return Response(status_code=204, headers=HEADERS)


def _told(snapshot: Snapshot) -> dict[str, Any]:
    return {"snapshot": str(snapshot), "taken_at": snapshot.taken_at, "versions": dict(snapshot.versions)}


def _told_kept(kept: KeptSnapshot) -> dict[str, Any]:
    return {
        **_told(kept.snapshot),
        "name": kept.name,
        "note": kept.note,
        "kept_at": kept.kept_at,
        "kept_by": kept.kept_by,
    }


ROUTES: tuple[Route, ...] = (
    Route("/api/v1/snapshots", _take, methods=["POST"]),
    Route("/api/v1/snapshots", _list, methods=["GET"]),
    Route("/api/v1/snapshots/{name}", _get, methods=["GET"]),
    Route("/api/v1/snapshots/{name}", _release, methods=["DELETE"]),
)
"""The addresses of snapshots."""
