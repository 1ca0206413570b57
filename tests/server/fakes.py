"""A network and a worker that tests can hold, break and count; no process, no torch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from bbmr_models.config import JointSRConfig
from bbmr_models.inference.tile_input import TileInput
from bbmr_server.engine import Engine
from bbmr_server.engine.model_store import ServedModel
from bbmr_server.engine.worker.protocol import BatchError, BatchResult, WorkerDiedError
from bbmr_server.settings import Settings
from bbmr_shared.errors import WeightsError

TILES = JointSRConfig(tile=1024, halo=16, lossy=True)


class FakeNetwork:
    """Returns the composite instead of correcting it. While `gate` is clear, work and warm-up hang."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls = 0
        self.error: BaseException | None = None
        self.once: list[BaseException] = []
        self.killed = threading.Event()
        self.batches: list[tuple[str, int]] = []
        self.loaded: set[str] = set()
        self.launches: list[str] = []
        self.delay_s = 0.0

    def run(self, tiles: Sequence[TileInput]) -> NDArray[np.uint8]:
        self.calls += 1
        self.entered.set()
        self.wait()
        time.sleep(self.delay_s)
        if self.once:
            raise self.once.pop()
        if self.error is not None:
            raise self.error
        return np.stack([tile.base for tile in tiles])

    def wait(self) -> None:
        """Block while `gate` is clear. Raises `WorkerDiedError` if the worker is killed meanwhile."""
        while not self.gate.wait(0.01):
            if self.killed.is_set():
                raise WorkerDiedError("killed by signal 9")

    def hold(self) -> None:
        """From now on work hangs; `entered` is set when some has begun."""
        self.entered.clear()
        self.gate.clear()


class FakeWorker:
    """A worker that runs in its device's thread. A `WorkerDiedError` of the network ends it."""

    depth = 2

    def __init__(self, network: FakeNetwork, device: str = "cpu") -> None:
        self.network = network
        self._batches: deque[tuple[str, list[TileInput]]] = deque()
        network.launches.append(device)
        self._loaded: set[str] = set()

    def load(self, key: str, name: str, data: bytes) -> None:
        self.network.entered.set()
        self.network.wait()
        if data == b"broken":
            raise WeightsError(f"the weights '{name}' are damaged")
        if data == b"deadly":
            raise WorkerDiedError("killed by signal 9")
        self._loaded.add(key)
        self.network.loaded.add(key)

    def drop(self, key: str) -> None:
        self._loaded.discard(key)
        self.network.loaded.discard(key)

    def begin(self, key: str, tiles: Sequence[TileInput]) -> None:
        assert key in self._loaded
        assert len({tile.shape for tile in tiles}) == 1
        assert len(self._batches) < self.depth
        self._batches.append((key, list(tiles)))

    def finish(self) -> BatchResult:
        key, tiles = self._batches.popleft()
        self.network.batches.append((key, len(tiles)))
        try:
            began = time.perf_counter()
            return BatchResult(self.network.run(tiles), time.perf_counter() - began, 1000)
        except (WorkerDiedError, SystemExit):
            raise
        except Exception as error:
            if type(error).__module__.startswith("bbmr_server"):
                raise
            raise BatchError(str(error)) from error

    def check(self) -> None:
        pass

    def kill(self) -> None:
        self.network.killed.set()

    def close(self) -> None:
        self._batches.clear()


def fake_model(
    name: str, version: str = "1", data: bytes = b"good", config: JointSRConfig = TILES
) -> ServedModel:
    """Weights that a `FakeWorker` can load; another `version` has another key."""
    return ServedModel(name, f"{name}@{version}", config, {"sha256": version * 64}, data)


def fake_engine(network: FakeNetwork, settings: Settings | None = None, **arguments: Any) -> Engine:
    """An engine over a fake network, as settings say; not started."""
    checked = settings or Settings()
    return Engine(
        lambda device: FakeWorker(network, device),
        **{
            "models": [fake_model(name) for name in checked.engine.model],
            "queue_length": checked.engine.queue_length,
            "memory_pixels": checked.http.max_pixels,
            **arguments,
        },
    )


def same(a: Image.Image, b: Image.Image) -> bool:
    """Whether two pictures are equal, sample by sample."""
    return a.size == b.size and ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox() is None
