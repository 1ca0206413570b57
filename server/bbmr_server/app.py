"""The application: settings and an engine in, a FastAPI app out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bbmr_server.engine.interface import EngineLike
from bbmr_server.http import openapi, problems
from bbmr_server.http.middleware import REQUEST_ID, Crowd, Linger, Net, RouteNames, Watch
from bbmr_server.http.ratelimit import RateLimit
from bbmr_server.observability import tracing
from bbmr_server.observability.metrics import CLIENT_GONE
from bbmr_server.routes import admin, reconstruct, status
from bbmr_server.store import images
from bbmr_server.store import routes as containers
from bbmr_shared.release import release

from . import page
from .app_state import Service
from .settings import Settings, load_settings

EXPOSED = [
    *("BBMR-Model", "BBMR-Width", "BBMR-Height", "Server-Timing", REQUEST_ID),
    *("Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Location", "Content-Range", "Accept-Ranges"),
]
PREFLIGHT_S = 7200
"""Seconds a browser may keep what it was told about other origins; more is not kept by all of them."""


def create_app(settings: Settings | None = None, engine: EngineLike | None = None) -> FastAPI:
    """A whole server as an ASGI application.

    Args:
        settings: without it, those of the environment.
        engine: without it, one with the shipped weights, as the settings say. The app's lifespan starts it where
            it was not started, and stops it in any case.

    Raises:
        UsageError: a setting is bad. UnknownModelError, WeightsError: the weights are not there.
    """
    settings = settings or load_settings()
    if engine is None:
        from .loading import make_engine  # torch is only needed from here on

        engine = make_engine(settings)
    service = Service(settings, engine)
    tracer = tracing.make_provider(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not engine.started:
            engine.start(getattr(app.state, "on_failure", None))
        if service.store is not None:
            service.store.begin()
        admin.reload_on_hangup(engine)
        try:
            yield
        finally:
            # Under uvicorn every request is over by now, and its way of stopping has had the time for that.
            left = getattr(app.state, "stop_by", math.inf) - time.monotonic()
            await asyncio.to_thread(engine.stop, max(0.0, min(settings.http.drain_s, left)))
            service.close()
            if tracer is not None:
                await asyncio.to_thread(tracing.finish, tracer)

    app = _App(
        title="bbmr",
        version=release(),
        description="Turns containers of blocks of different rates back into photos.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a bare 307 would be no problem document, and would send a large body twice
        lifespan=lifespan,
    )
    app.state.service = service
    kept = (containers.router, images.router)
    routers = (reconstruct.router, *kept, *page.routers(settings), admin.router, status.router)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    route_of = RouteNames([*app.openapi()["paths"], "/openapi.json"])
    # The one added last is the outermost.
    app.add_middleware(Net)
    if settings.access.rate_limit:
        app.add_middleware(RateLimit, rate=settings.access.rate_limit, metrics=service.metrics)
    app.add_middleware(Crowd)
    if settings.http.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.http.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "X-API-Key",
                "Content-Type",
                "If-None-Match",
                "If-Range",
                "Range",
                REQUEST_ID,
            ],
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_S,
        )
    app.add_middleware(Linger)
    if tracer is not None:
        app.add_middleware(tracing.Trace, provider=tracer, route_of=route_of)
    keys = (service.keys, service.admin_keys)
    app.add_middleware(Watch, metrics=service.metrics, keys=keys, route_of=route_of)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # nobody is there to read it; log and metrics are
