"""Metrics of the store: operations by outcome, bytes, and the picture cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge

from .errors import DamagedContainerError, InsufficientStorageError, NotFoundError, StoreUnavailableError

OPERATIONS = ("put", "get", "range", "size", "delete")
_OUTCOMES: dict[type[BaseException], str] = {
    NotFoundError: "missing",
    InsufficientStorageError: "full",
    StoreUnavailableError: "unavailable",
    DamagedContainerError: "damaged",
}


class StoreMetrics:
    """The metrics of one store, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._operations = Counter(
            "bbmr_store_requests",
            "Operations on the store of containers",
            ["operation", "outcome"],
            registry=registry,
        )
        self._received = Counter("bbmr_store_received_bytes", "Bytes of containers kept", registry=registry)
        self._sent = Counter("bbmr_store_sent_bytes", "Bytes of containers read", registry=registry)
        self.bytes = Gauge("bbmr_store_bytes", "Bytes that the kept containers count for", registry=registry)
        self.limit = Gauge("bbmr_store_max_bytes", "Bytes that they may count for", registry=registry)
        self._cache = Counter(
            "bbmr_cache_requests", "Pictures looked up in the cache", ["outcome"], registry=registry
        )
        self.cache_bytes = Gauge("bbmr_cache_bytes", "Bytes of the pictures in the cache", registry=registry)
        for operation in OPERATIONS:
            self._operations.labels(operation, "ok")
        for outcome in ("hit", "miss", "error"):
            self._cache.labels(outcome)

    @contextmanager
    def operation(self, name: str) -> Iterator[None]:
        """Counts the block as the operation `name` (one of `OPERATIONS`), with its outcome."""
        try:
            yield
        except BaseException as error:
            if type(error) in _OUTCOMES:
                self._operations.labels(name, _OUTCOMES[type(error)]).inc()
            raise
        self._operations.labels(name, "ok").inc()

    def received(self, size: int) -> None:
        """Counts a new container of `size` bytes."""
        self._received.inc(size)

    def sent(self, size: int) -> None:
        """Counts `size` bytes of a container that were read."""
        self._sent.inc(size)

    def cache(self, outcome: str) -> None:
        """Counts a request to the picture cache: hit, miss or error."""
        self._cache.labels(outcome).inc()
