"""Counts what an engine's workers do, as Prometheus metrics."""

from __future__ import annotations

import threading
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bbmr_server.engine.interface import Observer, WorkerState

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
TILES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class EngineMetrics(Observer):
    """An observer that counts. `rate(bbmr_device_busy_seconds_total)` is the share of time in which a device works."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tiles = Counter(
            "bbmr_tiles", "Tiles that went through the network", ["device", "model"], registry=registry
        )
        self._pixels = Counter(
            "bbmr_tile_pixels", "Pixels of those tiles, with their margins", ["device"], registry=registry
        )
        self._busy = Counter(
            "bbmr_device_busy_seconds", "Seconds of work of the device", ["device"], registry=registry
        )
        self._batch = Histogram(
            "bbmr_batch_tiles",
            "Tiles that went through the network together",
            ["device"],
            buckets=TILES,
            registry=registry,
        )
        self._state = Gauge(
            "bbmr_worker_state",
            "1 for the state of a device's worker",
            ["device", "state"],
            registry=registry,
        )
        self._restarts = Counter(
            "bbmr_worker_restarts",
            "Workers that were started again after they died",
            ["device"],
            registry=registry,
        )
        self._memory = Gauge(
            "bbmr_device_memory_bytes",
            "Memory of the GPU that the worker uses; on the CPU, resident memory of the worker",
            ["device"],
            registry=registry,
        )
        self._halvings = Counter(
            "bbmr_batch_halvings",
            "Batches that did not fit the device's memory",
            ["device"],
            registry=registry,
        )
        self._lock = threading.Lock()
        self._dead: set[str] = set()

    def worker(self, device: str, state: WorkerState) -> None:
        """As `Observer`."""
        with self._lock:
            for known in get_args(WorkerState):
                self._state.labels(device, known).set(known == state)
            if state == "loading" and device in self._dead:
                self._restarts.labels(device).inc()
            self._dead.discard(device)
            if state == "dead":
                self._dead.add(device)
        # Counters start at 0 instead of being absent, so that alerts can use their rate.
        self._restarts.labels(device)
        self._busy.labels(device)
        self._halvings.labels(device)

    def batch(self, device: str, model: str, tiles: int, pixels: int, seconds: float) -> None:
        """As `Observer`."""
        self._tiles.labels(device, model).inc(tiles)
        self._pixels.labels(device).inc(pixels)
        self._busy.labels(device).inc(seconds)
        self._batch.labels(device).observe(tiles)

    def memory(self, device: str, used: int) -> None:
        """As `Observer`."""
        self._memory.labels(device).set(used)

    def halved(self, device: str, tiles: int) -> None:
        """As `Observer`."""
        self._halvings.labels(device).inc()
