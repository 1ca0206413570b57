"""Counts requests and pictures, as Prometheus metrics. Each app has its own registry; nothing is global.

Every label comes from a fixed set (routes, methods, statuses, problems, loaded weights, types), so clients cannot make
the page grow. docs/monitoring.md lists all metrics.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bbmr_server.engine import STAGES, Answer
from bbmr_server.engine.interface import EngineLike
from bbmr_shared.release import release

from .engine_metrics import SECONDS, EngineMetrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
CLIENT_GONE = 499
"""Status in logs and metrics if the client left before the answer; never sent."""


class Metrics:
    """The metrics of one app.

    Args:
        problems: the names of all problems that `count_problem` will count.

    Attributes:
        observer: counts the events of the app's engine.
    """

    def __init__(self, problems: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.observer = EngineMetrics(self.registry)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "bbmr_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._problems = Counter(
            "bbmr_problems", "Requests answered with a problem", ["problem"], registry=self.registry
        )
        self._limited = Counter(
            "bbmr_rate_limited",
            "Requests over the rate of their key or address",
            ["by"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "bbmr_request_seconds",
            "Seconds from the request line to the last byte of the answer",
            ["route", "outcome"],
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
        build = Gauge("bbmr_build_info", "1, for this version", ["version", "python"], registry=self.registry)
        build.labels(release(), platform.python_version()).set(1)
        # Counters start at 0 instead of being absent, so that alerts can use their rate.
        for stage in STAGES:
            self._stages.labels(stage)
        for slug in problems:
            self._problems.labels(slug)
        for by in ("key", "address"):
            self._limited.labels(by)

    def observe_engine(self, engine: EngineLike) -> None:
        """Report the queue, the readiness and the weights of `engine` from now on."""
        self.gauge("bbmr_queue_length", "Requests accepted and not finished", lambda: engine.inside)
        self.gauge(
            "bbmr_backlog_seconds",
            "Estimated seconds until all accepted requests are finished",
            lambda: engine.backlog_s,
        )
        self.gauge("bbmr_queue_waiting", "Requests accepted and not started", lambda: engine.waiting)
        self.gauge("bbmr_queue_places", "Requests that may be inside at once", lambda: engine.length)
        self.gauge("bbmr_ready", "1 while the engine takes work", lambda: engine.ready)
        self.registry.register(_Models(engine))

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Report `value()` at each reading; it may be called from any thread."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def count_request(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        """Count a request that is over."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route, _outcome(status)).observe(seconds)
        self._received.inc(received)
        self._sent.inc(sent)

    def count_problem(self, problem: str) -> None:
        """Count a request that was answered with this problem."""
        self._problems.labels(problem).inc()

    def count_limited(self, by_key: bool) -> None:
        """Count a request over the rate limit of its key or its address."""
        self._limited.labels("key" if by_key else "address").inc()

    def count_picture(self, answer: Answer) -> None:
        """Count a picture."""
        self._pictures.labels(answer.model, answer.mime).inc()
        self._pixels.inc(answer.width * answer.height)
        for stage, seconds in answer.seconds.items():
            self._stages.labels(stage).observe(seconds)

    def render(self) -> bytes:
        """Returns the page for Prometheus."""
        return generate_latest(self.registry)


def _outcome(status: int) -> str:
    if status == CLIENT_GONE:
        return "left"
    return "ok" if status < 400 else "refused" if status < 500 else "failed"


class _Models(Collector):
    """The weights at the time of each reading, since a swap changes them."""

    def __init__(self, engine: EngineLike) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "bbmr_model_info", "1, for the weights that are served", labels=["model", "sha256"]
        )
        for name in self._engine.models:
            card = self._engine.catalogue.get(name, {})
            family.add_metric([name, str(card.get("sha256", ""))], 1)
        yield family
