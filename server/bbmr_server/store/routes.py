"""The routes under `/containers` that store, return and delete containers."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AfterValidator
from starlette.responses import JSONResponse, Response

from bbmr_server.app_state import AppState, get_state
from bbmr_server.errors import InvalidRequestError
from bbmr_server.http import openapi
from bbmr_server.http.body import CountedResponse
from bbmr_server.http.conditional import not_modified, wanted_range
from bbmr_server.routes.reconstruct import cancel_on_disconnect, check_body_type
from bbmr_shared.container import MEDIA_TYPE

from . import route_docs
from .container_store import DIGEST_PATTERN, digest_of
from .errors import NotFoundError
from .factory import StoreServices

router = APIRouter()

YEAR_S = 365 * 24 * 3600


def _whole_digest(text: str) -> str:
    if not re.fullmatch(DIGEST_PATTERN, text):
        raise ValueError("must be 64 lowercase hexadecimal digits, as `sha256sum` prints them")
    return text


Digest = Annotated[
    str,
    AfterValidator(_whole_digest),
    Path(
        description="SHA-256 of the container's bytes, 64 hexadecimal digits.",
        json_schema_extra={"pattern": f"^{DIGEST_PATTERN}$"},
    ),
]
Shared = Annotated[AppState, Depends(get_state)]


def to_write(request: Request, state: Shared) -> StoreServices:
    """Dependency of routes that change the store: needs a key, if the server has keys."""
    state.keys.check(request.headers)
    return _store_of(request)


def to_read(request: Request, state: Shared) -> StoreServices:
    """Dependency of routes that read the store: needs a key, unless BBMR_STORE_READS is `open`."""
    if state.settings.store.reads == "keys":
        state.keys.check(request.headers)
    return _store_of(request)


Writing = Annotated[StoreServices, Depends(to_write)]
Reading = Annotated[StoreServices, Depends(to_read)]


@router.post(
    "/containers", status_code=201, responses=route_docs.POST, openapi_extra=openapi.RECONSTRUCT_BODY
)
async def add(request: Request, state: Shared, store: Writing) -> Response:
    """Store a container; the answer says where."""
    return await _put(request, state, store, None)


@router.put(
    "/containers/{digest}", status_code=201, responses=route_docs.PUT, openapi_extra=openapi.RECONSTRUCT_BODY
)
async def put(request: Request, state: Shared, store: Writing, digest: Digest) -> Response:
    """Store a container at the address of its digest."""
    return await _put(request, state, store, digest)


async def _put(request: Request, state: AppState, store: StoreServices, expected: str | None) -> Response:
    check_body_type(request)
    with state.bodies.share() as share:
        body = await state.read_body(request, share)
        digest = await asyncio.to_thread(digest_of, body)
        if expected is not None and digest != expected:
            raise _wrong_digest(digest)
        container = await cancel_on_disconnect(request, state.read_container(body, share))
        document = {
            "digest": digest,
            "bytes": len(body),
            "width": container.width,
            "height": container.height,
        }
        del container  # it holds the planes a second time, and storing may take long
        new = await store.containers.put(digest, body, partial(cancel_on_disconnect, request))
    place = request.scope.get("root_path", "") + f"/containers/{digest}"
    return JSONResponse(document, 201 if new else 200, {"Location": place, "Cache-Control": "no-store"})


def _wrong_digest(digest: str) -> InvalidRequestError:
    message = f"the body's SHA-256 is {digest}, not the one in the address; was it changed on the way?"
    fields: dict[str, object] = {"errors": [{"field": "digest", "message": message}], "digest": digest}
    return InvalidRequestError(message, fields=fields)


@router.get("/containers/{digest}", response_class=Response, responses=route_docs.GET)
async def get(request: Request, state: Shared, store: Reading, digest: Digest) -> Response:
    """A stored container, whole or a range of its bytes."""
    size = await store.containers.size(digest)
    tag = f'"{digest}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"{route_docs.scope(state)}, max-age={YEAR_S}, immutable",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{digest[:16]}.bbmr"',
    }
    if not_modified(route_docs.every(request, "if-none-match"), tag):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE, headers={**headers, "Content-Length": str(size)})
    part = wanted_range(request.headers.get("range"), request.headers.get("if-range"), tag, size)
    with state.bodies.share() as share:
        share.take(part[1] if part else size)
        data = await (store.containers.range(digest, *part) if part else store.containers.get(digest))
    response = CountedResponse(data, state.bodies, media_type=MEDIA_TYPE, headers=headers)
    if part:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {part[0]}-{part[0] + part[1] - 1}/{size}"
    return response


router.add_api_route("/containers/{digest}", get, methods=["HEAD"], include_in_schema=False)


@router.delete("/containers/{digest}", status_code=204, response_class=Response, responses=route_docs.DELETE)
async def delete(request: Request, store: Writing, digest: Digest) -> Response:
    """Delete a container, and its pictures in this server's cache."""
    await store.containers.delete(digest, partial(cancel_on_disconnect, request))
    if store.pictures is not None:
        await store.pictures.forget(digest)
    return Response(status_code=204)


def _store_of(request: Request) -> StoreServices:
    store: StoreServices | None = request.app.state.store
    if store is None:
        raise NotFoundError("this server stores no containers: the store is off (BBMR_STORE turns it on)")
    return store
