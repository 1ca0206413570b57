"""Serves `/` and the files of the page, with an ETag and a Content-Security-Policy that allows no other sources."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from bbmr_server.http.conditional import not_modified

router = APIRouter()

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Only scripts, styles and requests of this server; pictures also from the visitor's own files."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # cached, but checked by ETag each time, so that a new release shows at once
}

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
Route = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class File:
    """One file with its response headers."""

    data: bytes
    media_type: str
    etag: str


def read_files() -> dict[str, File]:
    """Returns every file of the page by its name."""
    found = {}
    for path in (files("bbmr_server") / "page" / "static").iterdir():
        ending = path.name[path.name.rfind(".") :]
        if ending in TYPES:
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[path.name] = File(data, TYPES[ending], etag)
    return found


def _route(file: File) -> Route:
    async def answer(request: Request) -> Response:
        headers = {**HEADERS, "ETag": file.etag}
        if not_modified(request.headers.get("if-none-match"), file.etag):
            return Response(status_code=304, headers=headers)
        return Response(file.data, media_type=file.media_type, headers=headers)

    return answer


_FILES = read_files()
_index = _route(_FILES[INDEX])


@router.get("/", response_class=HTMLResponse)
async def index(request: Request) -> Response:
    """The page: a photo before and after, its rate map and its size."""
    return await _index(request)


router.add_api_route("/", index, methods=["HEAD"], include_in_schema=False)
for _name, _file in _FILES.items():
    if _name != INDEX:
        router.add_api_route(
            f"/page/{_name}", _route(_file), methods=["GET", "HEAD"], include_in_schema=False
        )
