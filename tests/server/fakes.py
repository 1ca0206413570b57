"""A network and a worker that tests can hold, break and count; no process, no torch.

`FakeNetwork` answers the composite. `FakeRunner` is one life of a worker that runs it in the device's own thread.
"""

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
from bbmr_server.engine.model_store import Served
from bbmr_server.engine.worker.protocol import BatchError, Done, WorkerDiedError
from bbmr_server.settings import Settings
from bbmr_shared.errors import WeightsError

TILES = JointSRConfig(tile=1024, halo=16, lossy=True)


class FakeNetwork:
    """The composite instead of a network. While `gate` is clear, work and warm-up hang until it is set."""

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
        """While it is held."""
        while not self.gate.wait(0.01):
            if self.killed.is_set():
                raise WorkerDiedError("killed by signal 9")

    def hold(self) -> None:
        """From now on work hangs; `entered` tells when some has begun."""
        self.entered.clear()
        self.gate.clear()


class FakeRunner:
    """A worker in the thread of its device. An error of the network that is a `WorkerDiedError` ends it."""

    depth = 2

    def __init__(self, network: FakeNetwork, device: str = "cpu") -> None:
        self.network = network
        self._under_way: deque[tuple[str, list[TileInput]]] = deque()
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
        assert len(self._under_way) < self.depth
        self._under_way.append((key, list(tiles)))

    def finish(self) -> Done:
        key, tiles = self._under_way.popleft()
        self.network.batches.append((key, len(tiles)))
        try:
            began = time.perf_counter()
            return Done(self.network.run(tiles), time.perf_counter() - began, 1000)
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
        self._under_way.clear()


def fake_weights(
    name: str, version: str = "1", data: bytes = b"good", config: JointSRConfig = TILES
) -> Served:
    """Weights that a `FakeRunner` can load; `version` makes another key."""
    return Served(name, f"{name}@{version}", config, {"sha256": version * 64}, data)


def fake_engine(network: FakeNetwork, settings: Settings | None = None, **arguments: Any) -> Engine:
    """An engine over a fake network, as settings say; not started."""
    checked = settings or Settings()
    return Engine(
        lambda device: FakeRunner(network, device),
        **{
            "weights": [fake_weights(name) for name in checked.engine.model],
            "queue_length": checked.engine.queue_length,
            "memory_pixels": checked.http.max_pixels,
            **arguments,
        },
    )


def same(a: Image.Image, b: Image.Image) -> bool:
    """Whether two pictures are equal, sample by sample."""
    return a.size == b.size and ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox() is None
