"""`/containers`: keep a container, give it back, delete it."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AfterValidator
from starlette.responses import JSONResponse, Response

from bbmr_server.app_state import Service, service_of
from bbmr_server.errors import InvalidRequestError
from bbmr_server.http import openapi
from bbmr_server.http.body import CountedResponse, read_body
from bbmr_server.http.conditional import not_modified, wanted_range
from bbmr_server.routes.reconstruct import check_body_type, unless_gone
from bbmr_shared.container import MEDIA_TYPE

from . import route_docs
from .container_store import DIGEST_PATTERN, digest_of
from .errors import NotFoundError
from .factory import Keeping

router = APIRouter()

YEAR_S = 365 * 24 * 3600


def _whole_digest(text: str) -> str:
    if not re.fullmatch(DIGEST_PATTERN, text):
        raise ValueError("is 64 small hexadecimal digits, as `sha256sum` prints them")
    return text


Digest = Annotated[
    str,
    AfterValidator(_whole_digest),
    Path(
        description="SHA-256 of the container's bytes, 64 hexadecimal digits.",
        json_schema_extra={"pattern": f"^{DIGEST_PATTERN}$"},
    ),
]
Shared = Annotated[Service, Depends(service_of)]


def to_write(request: Request, service: Shared) -> Keeping:
    """The dependency of routes that change the store: always with a key, where there are keys."""
    service.keys.check(request.headers)
    return _kept_by(service)


def to_read(request: Request, service: Shared) -> Keeping:
    """The dependency of routes that read the store: with a key, unless BBMR_STORE_READS is `open`."""
    if service.settings.store_reads == "keys":
        service.keys.check(request.headers)
    return _kept_by(service)


Writing = Annotated[Keeping, Depends(to_write)]
Reading = Annotated[Keeping, Depends(to_read)]


@router.post(
    "/containers", status_code=201, responses=route_docs.POST, openapi_extra=openapi.RECONSTRUCT_BODY
)
async def add(request: Request, service: Shared, keeping: Writing) -> Response:
    """Keep a container; the answer says where."""
    return await _keep(request, service, keeping, None)


@router.put(
    "/containers/{digest}", status_code=201, responses=route_docs.PUT, openapi_extra=openapi.RECONSTRUCT_BODY
)
async def put(request: Request, service: Shared, keeping: Writing, digest: Digest) -> Response:
    """Keep a container at an address that is known before; its digest must be the one of the address."""
    return await _keep(request, service, keeping, digest)


async def _keep(request: Request, service: Service, keeping: Keeping, expected: str | None) -> Response:
    check_body_type(request)
    with service.bodies.share() as share:
        body = await read_body(
            request.stream(),
            request.headers.get("content-length"),
            limit=service.settings.max_body_bytes,
            timeout=service.settings.upload_timeout_s,
            share=share,
        )
        digest = await asyncio.to_thread(digest_of, body)
        if expected is not None and digest != expected:
            message = (
                f"the body's SHA-256 is {digest}, not the one of the address; was it changed on its way?"
            )
            raise InvalidRequestError(
                message, fields={"errors": [{"field": "digest", "message": message}], "digest": digest}
            )
        container = await unless_gone(request, service.read_container(body, share))
        document = {
            "digest": digest,
            "bytes": len(body),
            "width": container.width,
            "height": container.height,
        }
        del container  # it has the planes once more, and the store takes its time
        new = await keeping.store.put(digest, body, partial(unless_gone, request))
    place = request.scope.get("root_path", "") + f"/containers/{digest}"
    return JSONResponse(document, 201 if new else 200, {"Location": place, "Cache-Control": "no-store"})


@router.get("/containers/{digest}", response_class=Response, responses=route_docs.GET)
async def get(request: Request, service: Shared, keeping: Reading, digest: Digest) -> Response:
    """A container as it was accepted, whole or a part of it."""
    size = await keeping.store.size(digest)
    tag = f'"{digest}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"{route_docs.scope(service)}, max-age={YEAR_S}, immutable",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{digest[:16]}.bbmr"',
    }
    if not_modified(route_docs.every(request, "if-none-match"), tag):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE, headers={**headers, "Content-Length": str(size)})
    part = wanted_range(request.headers.get("range"), request.headers.get("if-range"), tag, size)
    with service.bodies.share() as share:
        share.take(part[1] if part else size)
        data = await (keeping.store.range(digest, *part) if part else keeping.store.get(digest))
    response = CountedResponse(data, service.bodies, media_type=MEDIA_TYPE, headers=headers)
    if part:
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {part[0]}-{part[0] + part[1] - 1}/{size}"
    return response


router.add_api_route("/containers/{digest}", get, methods=["HEAD"], include_in_schema=False)


@router.delete("/containers/{digest}", status_code=204, response_class=Response, responses=route_docs.DELETE)
async def delete(request: Request, keeping: Writing, digest: Digest) -> Response:
    """Remove a container, and the pictures of it that are cached here."""
    await keeping.store.delete(digest, partial(unless_gone, request))
    if keeping.pictures is not None:
        await keeping.pictures.forget(digest)
    return Response(status_code=204)


def _kept_by(service: Service) -> Keeping:
    if service.keeping is None:
        raise NotFoundError("this server keeps no containers: the store is off (BBMR_STORE turns it on)")
    return service.keeping
