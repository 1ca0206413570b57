"""Builds the Serve application from two deployments: `Ingress` speaks HTTP, `Engine` runs the network.

`Ingress` is the app of the single server with a `RemoteEngine`, and needs no torch. Each replica of `Engine` holds one
engine like the single server's. A Serve config file can override every option below under these two names.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bbmr_server.app import create_app
from bbmr_server.engine.interface import EngineLike
from bbmr_server.engine.request import Answer, PictureRequest
from bbmr_server.http.middleware import REQUEST_ID
from bbmr_server.observability import logs
from bbmr_server.settings import Settings
from bbmr_shared.errors import BbmrError, UsageError

from .refusals import Refusal
from .remote_engine import RemoteEngine

INGRESS, ENGINE = "Ingress", "Engine"

TARGET_REQUESTS = 4
"""Requests that a replica should have: one each in decoder, device and encoder, and one waiting."""

_POLL_S = 0.05

MakeEngine = Callable[[Settings], EngineLike]


def make_engine(settings: Settings) -> EngineLike:
    """Returns the engine of one replica, with the shipped weights."""
    from bbmr_server import loading  # needs torch, which only replicas of Engine have

    return loading.make_engine(settings)


def build(settings: Settings, make: MakeEngine = make_engine) -> Application:
    """Returns the application. A replica of `Engine` calls `make` to get its engine.

    Raises:
        UsageError if the setting `device` names a GPU by its number: Ray chooses the GPU of a replica.
    """
    if settings.engine.device not in (("auto",), ("cpu",), ("cuda",)):
        raise UsageError(
            "BBMR_DEVICE: in a cluster a replica gets its GPUs from Ray; use cpu or cuda, and num_gpus in the config"
        )
    engine = _engine_deployment(settings).bind(settings, make)
    return _ingress_deployment(settings).bind(settings, engine)


def _engine_deployment(settings: Settings) -> serve.Deployment:
    return serve.deployment(
        EngineReplica,
        name=ENGINE,
        ray_actor_options={
            "num_cpus": settings.engine.threads or 1,
            "num_gpus": 1 if settings.engine.device == ("cuda",) else 0,
        },
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": 4,
            "target_ongoing_requests": min(TARGET_REQUESTS, settings.engine.queue_length),
        },
        max_ongoing_requests=settings.engine.queue_length,
        max_queued_requests=settings.engine.queue_length,
        max_constructor_retry_count=3,
        **_health_and_shutdown(settings),
    )


def _ingress_deployment(settings: Settings) -> serve.Deployment:
    return serve.deployment(
        serve.ingress()(IngressReplica),
        name=INGRESS,
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.5},
        max_ongoing_requests=settings.http.max_connections,
        **_health_and_shutdown(settings),
    )


def _health_and_shutdown(settings: Settings) -> dict[str, Any]:
    return {
        "health_check_period_s": 5,
        "health_check_timeout_s": 15,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": math.ceil(settings.http.drain_s) + 2,
    }


class EngineReplica:
    """One engine. The replica is started once the engine is ready, and healthy while the engine takes work."""

    async def __init__(self, settings: Settings, make: MakeEngine) -> None:  # type: ignore[misc]  # Serve awaits it
        logs.configure(settings.observability.log_format)
        self._drain_s = settings.http.drain_s
        cores = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
        # Serve admits at most `queue_length` requests. A cancelled one may stay inside until its next tile, so the
        # engine's own queue is longer: it must not refuse what Serve has admitted.
        inner = settings.with_changes(
            queue_length=2 * settings.engine.queue_length,
            threads=settings.engine.threads or max(1, int(cores)),
        )
        self._engine = make(inner)
        self._engine.start()
        while not self._engine.ready:
            if self._engine.failure is not None:
                raise RuntimeError(
                    f"the engine cannot start: {self._engine.failure}"
                ) from self._engine.failure
            await asyncio.sleep(_POLL_S)

    async def reconstruct(self, work: PictureRequest, deadline_s: float) -> Answer | Refusal:
        """As `EngineLike.reconstruct`, but returns declared errors as `Refusal`."""
        try:
            return await self._engine.reconstruct(work, deadline_s)
        except BbmrError as error:
            return Refusal.of(error)

    async def describe(self) -> dict[str, Any]:
        """Returns the devices of the engine and the cards of its models, for the ingress."""
        return {"devices": tuple(self._engine.devices), "catalogue": dict(self._engine.catalogue)}

    def check_health(self) -> None:
        """Serve calls this every few seconds, and replaces a replica after three exceptions."""
        self._engine.check_ready(room=False)

    def __del__(self) -> None:
        # Called by Serve once all requests are done or timed out, and again by Python; the second call does nothing.
        engine: EngineLike | None = getattr(self, "_engine", None)
        if engine is not None:
            engine.stop(self._drain_s)


class IngressReplica:
    """The HTTP side: the app of the single server, with remote engines."""

    def __init__(self, settings: Settings, handle: DeploymentHandle[Any]) -> None:
        logs.configure(settings.observability.log_format)
        self._settings = settings
        self._handle = handle

    def __serve_build_asgi_app__(self) -> FastAPI:
        application = serve.get_replica_context().app_name

        def replicas() -> int:
            found = serve.status().applications.get(application)
            engine = found.deployments.get(ENGINE) if found else None
            return engine.replica_states.get("RUNNING", 0) if engine else 0

        app = create_app(self._settings, RemoteEngine(self._settings, self._handle, replicas))
        app.add_middleware(OneRequestId)
        return app


class OneRequestId:
    """Removes the request's id from the response, because Serve adds the same header itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID]
            await send(message)

        await self.app(scope, receive, send_without)
