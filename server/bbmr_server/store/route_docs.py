"""What the store's routes say of their answers in OpenAPI, and what their headers share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request

from bbmr_server.app_state import Service
from bbmr_server.http.openapi import BINARY, PICTURE_HEADERS, PICTURE_TYPES, headers, refusals
from bbmr_shared.container import MEDIA_TYPE


class Kept(BaseModel):
    """What is said of a container that is kept."""

    digest: str = Field(description="SHA-256 of its bytes, in hex.")
    bytes: int
    width: int
    height: int


_LOCATION = headers(Location="The container's address.")
_TAGS = headers(ETag="Names this answer.", Cache_Control="Who may keep it, and for how long.")

POST: dict[int | str, dict[str, Any]] = {
    201: {"description": "Kept.", "model": Kept, "headers": _LOCATION},
    200: {"description": "It was there already.", "model": Kept, "headers": _LOCATION},
    **refusals(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 507),
}
PUT = POST
GET: dict[int | str, dict[str, Any]] = {
    200: {"description": "The container.", "content": {MEDIA_TYPE: BINARY}, "headers": _TAGS},
    206: {
        "description": "A part of it.",
        "content": {MEDIA_TYPE: BINARY},
        "headers": _TAGS | headers(Content_Range="Which bytes, of how many."),
    },
    304: {"description": "The client has it.", "headers": _TAGS},
    **refusals(401, 403, 404, 416, 422, 429, 500, 503),
}
DELETE: dict[int | str, dict[str, Any]] = {
    204: {"description": "Deleted."},
    **refusals(401, 403, 404, 422, 429, 500, 503),
}
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": PICTURE_TYPES,
        "headers": _TAGS
        | PICTURE_HEADERS
        | headers(Server_Timing="Milliseconds in each stage; `cache` for a picture that was made before."),
    },
    304: {"description": "The client has it.", "headers": _TAGS},
    **refusals(400, 401, 403, 404, 406, 413, 422, 429, 500, 503, 504),
}


def scope(service: Service) -> str:
    """Who may keep an answer: caches on the way only what everybody may have."""
    protected = service.settings.store_reads == "keys" and len(service.keys) > 0
    return "private" if protected else "public"


def every(request: Request, name: str) -> str | None:
    """All values of a header that may come several times, as one; None where there is none."""
    return ",".join(request.headers.getlist(name)) or None
