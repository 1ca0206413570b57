"""Metrics: what happens to requests in, Prometheus' text format out. One registry an app, nothing global."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from .engine import STAGES, Answer, Engine

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one app, over its engine."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "bbmr_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "bbmr_request_seconds",
            "Seconds from the request line to the last byte of the answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "bbmr_stage_seconds",
            "Seconds a picture spent in each stage",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._pictures = Counter("bbmr_pictures", "Pictures made", ["model", "mime"], registry=self.registry)
        self._pixels = Counter("bbmr_pixels", "Pixels of the pictures made", registry=self.registry)
        self._received = Counter("bbmr_received_bytes", "Bytes of bodies received", registry=self.registry)
        self._sent = Counter("bbmr_sent_bytes", "Bytes of bodies sent", registry=self.registry)
        inside = Gauge("bbmr_queue_length", "Requests accepted and not finished", registry=self.registry)
        inside.set_function(lambda: len(engine.places))
        waiting = Gauge("bbmr_queue_waiting", "Requests accepted and not started", registry=self.registry)
        waiting.set_function(lambda: engine.places.waiting)
        places = Gauge("bbmr_queue_places", "Requests that may be inside at once", registry=self.registry)
        places.set(engine.places.length)
        ready = Gauge("bbmr_ready", "1 while the engine takes work", registry=self.registry)
        ready.set_function(lambda: float(engine.ready))
        models = Gauge("bbmr_model_loaded", "Weights that are served", ["model"], registry=self.registry)
        for name in engine.models:
            models.labels(name).set(1)
        for stage in STAGES:
            self._stages.labels(stage)

    def count_request(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        """One request is over."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._received.inc(received)
        self._sent.inc(sent)

    def count_picture(self, answer: Answer) -> None:
        """One picture was made."""
        self._pictures.labels(answer.model, answer.mime).inc()
        self._pixels.inc(answer.width * answer.height)
        for stage, seconds in answer.seconds.items():
            self._stages.labels(stage).observe(seconds)

    def render(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)
