"""Builds the FastAPI application from settings and an engine."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bbmr_server.engine.interface import EngineLike
from bbmr_server.http import openapi, problems
from bbmr_server.http.middleware import REQUEST_ID, AccessLog, CatchAll, ConnectionLimit, LingeringClose
from bbmr_server.http.ratelimit import RateLimit
from bbmr_server.observability import tracing
from bbmr_server.observability.labels import RouteNames
from bbmr_server.observability.metrics import CLIENT_GONE
from bbmr_server.routes import admin, reconstruct, status
from bbmr_server.store import StoreServices, images, open_store
from bbmr_server.store import routes as containers
from bbmr_shared.release import release

from . import page
from .app_state import AppState
from .settings import Settings, load_settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

CORS_METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
CORS_REQUEST_HEADERS = [
    *("Authorization", "X-API-Key", "Content-Type", "If-None-Match", "If-Range", "Range", REQUEST_ID),
]
CORS_ANSWER_HEADERS = [
    *("BBMR-Model", "BBMR-Width", "BBMR-Height", "Server-Timing", REQUEST_ID),
    *("Retry-After", "RateLimit", "RateLimit-Policy", "ETag", "Location", "Content-Range", "Accept-Ranges"),
]
PREFLIGHT_S = 7200
"""Seconds for which a browser may cache a preflight answer. Chromium caps it there."""


def create_app(settings: Settings | None = None, engine: EngineLike | None = None) -> FastAPI:
    """Returns a whole server as an ASGI application.

    Args:
        settings: without it, those of the environment.
        engine: without it, one with the weights that the settings name. The app's lifespan starts it if nobody did,
            and always stops it.

    Raises:
        UsageError: a setting is bad. UnknownModelError, WeightsError: the weights do not exist or are damaged.
    """
    settings = settings or load_settings()
    if engine is None:
        from .loading import make_engine  # an app with an engine elsewhere needs no weights

        engine = make_engine(settings)
    state = AppState(settings, engine)
    store = open_store(settings, state.metrics.registry, len(state.keys))
    tracer = tracing.make_provider(settings)
    app = _App(
        title="bbmr",
        version=release(),
        description="Turns containers of blocks of different rates back into photos.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a bare 307 is no problem document, and a large body would be sent twice
        lifespan=_lifespan(state, store, tracer),
    )
    app.state.bbmr, app.state.store = state, store
    _add_routes(app, settings)
    _add_middleware(app, state, tracer)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def _lifespan(
    state: AppState, store: StoreServices | None, tracer: TracerProvider | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = state.engine
        if not engine.started:
            engine.start(getattr(app.state, "on_failure", None))
        if store is not None:
            store.begin()
        admin.reload_on_hangup(engine)
        try:
            yield
        finally:
            # Under uvicorn every request is over by now, and its shutdown has used up a part of the time.
            left = getattr(app.state, "stop_by", math.inf) - time.monotonic()
            await asyncio.to_thread(engine.stop, max(0.0, min(state.settings.http.drain_s, left)))
            state.close()
            if store is not None:
                store.close()
            if tracer is not None:
                await asyncio.to_thread(tracing.finish, tracer)

    return lifespan


def _add_routes(app: FastAPI, settings: Settings) -> None:
    stored = (containers.router, images.router)
    routers = (reconstruct.router, *stored, *page.routers(settings), admin.router, status.router)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def _add_middleware(app: FastAPI, state: AppState, tracer: TracerProvider | None) -> None:
    """The middleware that is added last is the outermost."""
    settings = state.settings
    route_of = RouteNames([*app.openapi()["paths"], "/openapi.json"])
    app.add_middleware(CatchAll)
    if settings.access.rate_limit:
        app.add_middleware(RateLimit, rate=settings.access.rate_limit, metrics=state.metrics)
    app.add_middleware(ConnectionLimit)
    if settings.http.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.http.cors_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
            max_age=PREFLIGHT_S,
        )
    app.add_middleware(LingeringClose)
    if tracer is not None:
        app.add_middleware(tracing.Trace, provider=tracer, route_of=route_of)
    keys = (state.keys, state.admin_keys)
    app.add_middleware(AccessLog, metrics=state.metrics, keys=keys, route_of=route_of)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # nobody reads it; log and metrics do
