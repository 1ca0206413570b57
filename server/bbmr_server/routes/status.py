"""The routes about the server itself: models, probes, metrics, documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from bbmr_server.app_state import AppState, get_state
from bbmr_server.http import openapi
from bbmr_server.observability import metrics
from bbmr_shared.release import release

from . import pages
from .reconstruct import NO_STORE

router = APIRouter()


@router.get("/models", responses=openapi.refusals(401, 403))
async def models(request: Request, state: Annotated[AppState, Depends(get_state)]) -> dict[str, Any]:
    """The loaded weights, with their cards."""
    state.keys.check(request.headers)
    engine = state.engine
    return {
        "default": engine.models[0],
        "devices": list(engine.devices),
        "models": [{"name": name, **engine.catalogue.get(name, {})} for name in engine.models],
    }


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """Whether the process answers; says nothing of the engine."""
    return JSONResponse({"status": "ok", "version": release()}, headers=NO_STORE)


@router.get("/readyz", responses=openapi.refusals(503))
async def readyz(state: Annotated[AppState, Depends(get_state)]) -> JSONResponse:
    """Whether a working engine takes requests."""
    engine = state.engine
    engine.check_ready(room=False)
    report = {"status": "ready", "models": list(engine.models), "queue": engine.inside}
    return JSONResponse(report, headers=NO_STORE)


@router.get("/metrics", response_class=Response)
async def prometheus(state: Annotated[AppState, Depends(get_state)]) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(state.metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE, **NO_STORE})


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request) -> HTMLResponse:
    """The routes, readable in a browser, without a script."""
    return HTMLResponse(pages.docs_page(request.app.openapi()), headers=pages.HEADERS)


_pages: dict[str, Callable[..., Any]] = {
    "/models": models,
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": prometheus,
    "/docs": docs,
}
for _path, _page in _pages.items():
    router.add_api_route(_path, _page, methods=["HEAD"], include_in_schema=False)
