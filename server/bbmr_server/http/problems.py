"""Answers every error with an `application/problem+json` document (RFC 9457), never with a traceback.

`type` is "urn:bbmr:problem:" + slug and never changes, nor does its `title`; `detail` is about this request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from bbmr_server.observability.request_notes import notes_of
from bbmr_server.validation_messages import describe_error
from bbmr_shared.errors import PROBLEM_PREFIX, BbmrError

MEDIA_TYPE = "application/problem+json"

TITLES: dict[str, str] = {
    "malformed-request": "The request is not HTTP",
    "unreadable-container": "The body is not a readable container",
    "unreadable-picture": "A picture cannot be read",
    "unauthorized": "An API key is needed",
    "forbidden": "The API key is not valid",
    "not-found": "There is nothing at this address",
    "method-not-allowed": "The method is not allowed here",
    "range-not-satisfiable": "The range is outside the container",
    "not-acceptable": "No acceptable type can be made",
    "upload-timeout": "The body came too slowly",
    "too-large": "Too large",
    "unsupported-media-type": "The body is of the wrong type",
    "unsupported-container": "The container needs a newer or another reader",
    "invalid-request": "A part of the request cannot be used",
    "usage": "The request makes no sense",
    "unknown-model": "There are no such weights here",
    "incompatible-model": "The weights cannot read this container",
    "queue-full": "All places are taken",
    "rate-limited": "Too many requests",
    "head-too-large": "The head of the request is too large",
    "internal": "Something went wrong in the server",
    "damaged-container": "The stored container is damaged",
    "store-unavailable": "The store cannot be used",
    "insufficient-storage": "The store is full",
    "model": "The network failed",
    "not-ready": "The engine is not ready",
    "weights": "The weights cannot be loaded",
    "deadline": "Not finished in time",
}
"""slug → title, for every problem that this server may answer with."""

_HTTP_SLUGS = {404: "not-found", 405: "method-not-allowed"}


def problem(
    request: Request,
    slug: str,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, object] | None = None,
) -> Response:
    """Returns a problem document as a response; `fields` are extra members."""
    request_id = getattr(request.state, "request_id", None)
    notes_of(request.scope).problem = slug
    document: dict[str, object] = {
        "type": PROBLEM_PREFIX + slug,
        "title": TITLES[slug],
        "status": status,
        "detail": detail,
        **(fields or {}),
    }
    if request_id:
        document |= {"instance": f"urn:bbmr:request:{request_id}", "request_id": request_id}
    return JSONResponse(
        document, status, {"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE
    )


def internal_problem(request: Request) -> Response:
    """Returns the answer to an unexpected error; it reveals nothing of the error."""
    return problem(
        request, "internal", 500, "this is a fault of the server; its log has more under this request id"
    )


def install(app: FastAPI, routes: Iterable[BaseRoute] = ()) -> None:
    """Make `app`, which has these routes, answer every error with a problem document."""
    app.state.routes = tuple(routes)
    app.add_exception_handler(BbmrError, _on_bbmr_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def problem_of(request: Request, error: BbmrError) -> Response:
    """Returns the problem document of a declared error as a response."""
    slug = error.slug if error.slug in TITLES else "internal"
    if slug == "internal":
        return internal_problem(request)
    headers: Mapping[str, str] = getattr(error, "headers", {})
    fields: Mapping[str, object] = getattr(error, "fields", {})
    return problem(request, slug, error.status, str(error), headers, fields)


async def _on_bbmr_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BbmrError)
    return problem_of(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_plain(entry) for entry in error.errors()]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in errors)
    return problem(request, "invalid-request", 422, detail, fields={"errors": errors})


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = _HTTP_SLUGS.get(error.status_code, "internal" if error.status_code >= 500 else "invalid-request")
    detail = {
        "not-found": "there is no such route; GET /docs lists them",
        "method-not-allowed": f"{request.method} is not allowed here; Allow lists what is",
    }.get(slug, str(error.detail))
    methods = _methods_of(request) if error.status_code == 405 else []
    headers = {"Allow": ", ".join(methods)} if methods else error.headers
    return problem(request, slug, error.status_code, detail, headers)


def _methods_of(request: Request) -> list[str]:
    """Returns all methods of the request's path; Starlette names only those of the first route."""
    methods: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return sorted(methods)


def _plain(entry: Any) -> dict[str, str]:
    """Returns field and message, without the value: it may be long or private."""
    location: Sequence[object] = entry["loc"]
    return {"field": str(location[-1]) if location else "request", "message": describe_error(entry)}
