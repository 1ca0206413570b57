"""The parts of the OpenAPI document that FastAPI cannot derive: bodies, answers, problems, keys."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bbmr_shared.container import MEDIA_TYPE
from bbmr_shared.images.output import OUTPUT_FORMATS

from . import problems
from .ratelimit import is_free

CONTAINER_TYPES = (MEDIA_TYPE, "application/octet-stream")
BINARY = {"schema": {"type": "string", "format": "binary"}}


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`urn:bbmr:problem:` and a name that never changes.")
    title: str
    status: int
    detail: str = Field(description="What is wrong with this request and what to do.")
    instance: str | None = None
    request_id: str | None = None


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of a route that may answer with these problems."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    descriptions = {
        400: "Not a readable container",
        401: "No API key",
        403: "The API key is not valid",
        404: "Nothing there",
        406: "No acceptable type",
        408: "The body came too slowly",
        413: "Too large",
        415: "The body is of the wrong type",
        416: "The range is outside",
        422: "Well-formed, but not acceptable",
        429: "All places are taken, or too many requests; see Retry-After",
        500: "A fault of the server",
        503: "No working engine",
        504: "Not finished in time",
        507: "The store is full",
    }
    return {status: {"description": descriptions[status], "content": content} for status in statuses}


def headers(kind: str = "string", **texts: str) -> dict[str, Any]:
    """Returns the description of an answer's headers; names have `_` for `-`."""
    return {
        name.replace("_", "-"): {"description": text, "schema": {"type": kind}}
        for name, text in texts.items()
    }


PICTURE_TYPES = {form.mime: BINARY for form in OUTPUT_FORMATS.values()}
PICTURE_HEADERS = headers(
    BBMR_Model="The weights used; `none` for a thumbnail.",
    Server_Timing="Milliseconds in each stage.",
) | headers(
    "integer", BBMR_Width="Width of the answer in pixels.", BBMR_Height="Height of the answer in pixels."
)

RECONSTRUCT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A container.",
        "content": dict.fromkeys(CONTAINER_TYPES, BINARY),
    }
}

RECONSTRUCT_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": PICTURE_TYPES,
        "headers": PICTURE_HEADERS,
    },
    **refusals(400, 401, 403, 406, 408, 413, 415, 422, 429, 500, 503, 504),
}

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
    "adminBearer": {"type": "http", "scheme": "bearer", "description": "A key of BBMR_ADMIN_KEYS."},
    "adminKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key of BBMR_ADMIN_KEYS.",
    },
}

ENCODE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A photo: JPEG, PNG, WebP, AVIF, TIFF and others.",
        "content": dict.fromkeys(("image/*", "application/octet-stream"), BINARY),
    }
}

ENCODE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The container.",
        "content": {MEDIA_TYPE: BINARY},
        "headers": headers(
            BBMR_Model="The weights that the container asks for.",
            Server_Timing="Milliseconds it took, waiting included.",
        )
        | headers(
            "integer",
            BBMR_Width="Width of the photo in pixels.",
            BBMR_Height="Height of the photo in pixels.",
        ),
    },
    **refusals(400, 401, 403, 408, 413, 415, 422, 429, 500, 503, 504),
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Replaces FastAPI's error schemas by that of problems; returns the document, which is changed in place.

    Adds 429 to every route with a rate limit, and the key schemes to every route that may answer 401.
    """
    components = document.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    too_many = {str(status): words for status, words in refusals(429).items()}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not is_free(path, method.upper()):
                operation["responses"] = dict(sorted((too_many | operation["responses"]).items()))
            if "401" in operation["responses"]:
                operation["security"] = _security(path)
    return document


def _security(path: str) -> list[dict[str, list[str]]]:
    """Returns the alternatives for a request: a key, or nothing if the server has no API keys."""
    if path.startswith("/admin/"):
        return [{"adminBearer": []}, {"adminKey": []}]
    return [{"bearer": []}, {"key": []}, {}]
