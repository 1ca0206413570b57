"""OpenAPI descriptions of the store's responses, and helpers for the headers of its routes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request

from bbmr_server.app_state import AppState
from bbmr_server.http.openapi import BINARY, PICTURE_HEADERS, PICTURE_TYPES, headers, refusals
from bbmr_shared.container import MEDIA_TYPE


class StoredContainer(BaseModel):
    """A stored container."""

    digest: str = Field(description="SHA-256 of its bytes, in hex.")
    bytes: int
    width: int
    height: int


_LOCATION = headers(Location="The container's address.")
_TAGS = headers(ETag="The entity tag of this response.", Cache_Control="Who may cache it, and for how long.")

POST: dict[int | str, dict[str, Any]] = {
    201: {"description": "Stored.", "model": StoredContainer, "headers": _LOCATION},
    200: {"description": "It was there already.", "model": StoredContainer, "headers": _LOCATION},
    **refusals(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 507),
}
PUT = POST
GET: dict[int | str, dict[str, Any]] = {
    200: {"description": "The container.", "content": {MEDIA_TYPE: BINARY}, "headers": _TAGS},
    206: {
        "description": "A part of it.",
        "content": {MEDIA_TYPE: BINARY},
        "headers": _TAGS | headers(Content_Range="The bytes returned, and the size of the whole."),
    },
    304: {"description": "The client has it already.", "headers": _TAGS},
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
        | headers(Server_Timing="Milliseconds in each stage; `cache` for a picture from the cache."),
    },
    304: {"description": "The client has it already.", "headers": _TAGS},
    **refusals(400, 401, 403, 404, 406, 413, 422, 429, 500, 503, 504),
}


def scope(state: AppState) -> str:
    """Returns the scope of Cache-Control: `private` if reading needs a key, otherwise `public`."""
    protected = state.settings.store.reads == "keys" and len(state.keys) > 0
    return "private" if protected else "public"


def every(request: Request, name: str) -> str | None:
    """Returns all values of a header joined by commas, or None if the request does not have it."""
    return ",".join(request.headers.getlist(name)) or None
