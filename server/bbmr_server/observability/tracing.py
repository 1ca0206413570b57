"""Traces (OpenTelemetry, OTLP over HTTP): a span for each request, and below it one for each stage of its picture.

They are off unless BBMR_OTEL_ENDPOINT or one of OpenTelemetry's own variables names a collector. They need the extra
`otel`, which nothing else imports. A client's trace (`traceparent`) is continued. Spans hold nothing of a body, a query
or a key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bbmr_server.settings import Settings
from bbmr_shared.errors import UsageError
from bbmr_shared.release import release

from .labels import PROBES, RouteNames, method_of
from .metrics import CLIENT_GONE
from .request_notes import RequestNotes, notes_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
STAGES_IN_ORDER = ("queue", "decode", "network", "encode")
STOP_S = 3.0
"""Seconds for sending the remaining spans when the server stops."""
_EXPORT_TIMEOUT_S = 5.0


def make_provider(settings: Settings, environ: Mapping[str, str] = os.environ) -> TracerProvider | None:
    """Returns what makes and sends spans, or None if no setting asks for traces.

    Raises:
        UsageError: the packages are not installed, or the protocol is not supported.
    """
    if not _is_on(settings, environ):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise UsageError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol[:40]!r} is not known here; use http/protobuf"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise UsageError(
            f"traces need {error.name}, which is not installed: pip install '.[otel]' in a checkout"
        ) from None
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    about = {"service.version": release()} | ({} if named else {"service.name": "bbmr-server"})
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    timeout = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in environ else _EXPORT_TIMEOUT_S
    exporter = OTLPSpanExporter(_endpoint(settings.observability.otel_endpoint), timeout=timeout)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def finish(provider: TracerProvider) -> None:
    """Send the remaining spans, for at most `STOP_S` seconds. Blocks."""
    thread = threading.Thread(target=provider.shutdown, name="bbmr-traces", daemon=True)
    thread.start()
    thread.join(STOP_S)


class Trace:
    """ASGI middleware that makes the spans. Probes have none."""

    def __init__(self, app: ASGIApp, provider: TracerProvider, route_of: RouteNames) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.app = app
        self.route_of = route_of
        self._tracer = provider.get_tracer("bbmr_server", release())
        self._context = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind, use_span

        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        notes = notes_of(scope)
        parent = self._context.extract(dict(Headers(scope=scope)))
        span = self._tracer.start_span(method_of(scope), parent, SpanKind.SERVER)
        if span.get_span_context().is_valid:
            notes.fields["trace_id"] = f"{span.get_span_context().trace_id:032x}"
        status = CLIENT_GONE

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                await self.app(scope, receive, noting_send)
        finally:
            if span.is_recording():
                self._describe(span, scope, notes, status)
            span.end()

    def _describe(self, span: Span, scope: Scope, notes: RequestNotes, status: int) -> None:
        from opentelemetry.trace import Status, StatusCode

        method, route = method_of(scope), self.route_of(scope)
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "url.scheme": scope.get("scheme", "http"),
                "bbmr.request_id": scope["state"].get("request_id", ""),
            }
        )
        for name in ("model", "mime", "width", "height"):
            if name in notes.fields:
                span.set_attribute(f"bbmr.{name}", notes.fields[name])  # type: ignore[arg-type]
        if notes.problem is not None:
            span.set_attribute("error.type", notes.problem)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR, notes.problem))
        self._add_stages(span, notes)

    def _add_stages(self, parent: Span, notes: RequestNotes) -> None:
        """Add a span for each stage, one after the other, the last ending when the picture was made.

        Their lengths are measured. All waiting comes first, also that between two stages.
        """
        from opentelemetry.trace import set_span_in_context

        began = notes.made_ns - int(sum(notes.stages.values()) * 1e9)
        for stage in STAGES_IN_ORDER:
            if stage in notes.stages:
                span = self._tracer.start_span(stage, set_span_in_context(parent), start_time=began)
                began += int(notes.stages[stage] * 1e9)
                span.end(began)


def _is_on(settings: Settings, environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return bool(settings.observability.otel_endpoint or any(environ.get(name) for name in ENDPOINTS))


def _endpoint(base: str) -> str | None:
    """Returns the address for traces; None leaves it to OpenTelemetry's own variables."""
    if not base:
        return None
    return base if urlsplit(base).path.strip("/") else base.rstrip("/") + "/v1/traces"
