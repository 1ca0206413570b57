"""The worker process: runs the network on one device. `process.WorkerProcess` starts it.

In: commands over a socket, and batches of tiles in shared memory. Out: a reply to each command, and pixels in shared
memory. It ends when the server closes the socket. It knows nothing of pictures or requests.
"""

from __future__ import annotations

import argparse
import mmap
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bbmr_models.inference.network import Network, load_network
from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.errors import BbmrError, WeightsError, one_line
from bbmr_shared.grid import ALIGN

from .shared_memory import SharedTiles

WARM_SIDE = 128
"""Side in pixels of the tile that weights are tried with on a CPU; on a GPU it is the largest they will meet."""

ORPHAN_S = 2.0
"""Seconds that a worker whose server is gone has to end by itself; then it ends in the middle of a batch."""

STATM = "/proc/self/statm"
"""Its second number is the resident memory of this process, in pages."""


def main() -> int:
    """Run until the socket is closed."""
    # A signal to the whole process group is for the server: it finishes what it accepted and then closes the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    options = _parser().parse_args()
    threading.Thread(target=_end_with, args=(options.socket,), name="bbmr-orphan", daemon=True).start()
    memory = SharedTiles(options.slots, options.slot_bytes, options.memory)
    load = partial(load_network, runtime=options.runtime, threads=options.threads, compile=options.compile)
    worker = Worker(options.device, memory, load)
    with Connection(options.socket) as connection:
        try:
            while True:
                command = connection.recv()
                connection.send(worker.execute(*command))
        except (EOFError, OSError):
            return 0


class Worker:
    """The networks that are loaded on one device.

    Args:
        load: `load(name, data, device)`, such as `load_network`.
    """

    def __init__(self, device: str, memory: SharedTiles, load: Callable[[str, bytes, str], Network]) -> None:
        self.device = device
        self.memory = memory
        self._load_network = load
        self._networks: dict[str, Network] = {}

    def execute(self, command: str, *arguments: Any) -> tuple[Any, ...]:
        """Execute "load", "drop" or "run". Returns the reply: its first item is the outcome."""
        return getattr(self, f"_{command}")(*arguments)

    def _load(self, key: str, name: str, data: bytes) -> tuple[Any, ...]:
        try:
            network = self._load_network(name, data, self.device)
            try_out(network, name, self.device)
        except BbmrError as error:
            return "refused", error
        except Exception as error:
            return "refused", WeightsError(f"the weights '{name}' do not run here: {one_line(error)}")
        self._networks[key] = network
        return ("loaded",)

    def _drop(self, key: str) -> tuple[Any, ...]:
        self._networks.pop(key, None)
        return ("dropped",)

    def _run(self, key: str, slot: int, count: int, shape: tuple[int, int]) -> tuple[Any, ...]:
        began = time.perf_counter()
        try:
            network = self._networks[key]
            tiles, result = self.memory.views(slot, count, shape, network.config.levels)
            result[...] = network.run(tiles)
        except Exception as error:
            if is_out_of_memory(error):
                _free_memory(self.device)
                return ("out of memory",)
            if is_device_lost(error):
                raise  # nothing works on this device until the process is restarted
            return "failed", f"{type(error).__name__}: {one_line(error)}"
        return "done", time.perf_counter() - began, memory_used(self.device)


def try_out(network: Network, name: str, device: str) -> None:
    """Run a grey tile once, so that the first request meets a warm network. Raises `WeightsError`."""
    config = network.config
    side = config.tile + 2 * config.halo if device.startswith("cuda") else WARM_SIDE
    pixels = network.run([grey_tile(side, config.levels)])
    if pixels.shape != (1, side, side, 3) or pixels.dtype != np.uint8:
        raise WeightsError(
            f"the weights '{name}' make {pixels.dtype} {pixels.shape} of a tile of {side}×{side}"
        )


def grey_tile(side: int, levels: bool) -> TileInput:
    """A mid-grey tile of rate 4, with or without the coarser levels of the composite."""
    half, quarter = (
        np.full((side // at, side // at, 3), 128 * 32, np.int16) if levels else None for at in (2, 4)
    )
    rate, error, strength = (
        np.full((side // ALIGN, side // ALIGN), value, np.uint8) for value in (4, 0, FULL_STRENGTH)
    )
    return TileInput(np.full((side, side, 3), 128, np.uint8), rate, error, strength, half, quarter)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a network failed because there was too little memory, on a GPU or on the CPU."""
    name = type(error).__name__
    return (
        isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in str(error)
    )


def is_device_lost(error: BaseException) -> bool:
    """Whether the GPU refuses all further work of this process: an error of CUDA, or of HIP (ROCm)."""
    return any(words in str(error) for words in ("CUDA error", "HIP error"))


def memory_used(device: str) -> int:
    """Bytes that this process uses: reserved on a GPU, resident on the CPU (0 if that is unknown)."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.memory_reserved(device))
    try:
        with open(STATM, "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def _free_memory(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _end_with(fd: int) -> None:
    """End the process soon after the other side of the socket is gone, even if it hangs in the network."""
    hang_up = select.poll()
    hang_up.register(fd, 0)  # no events but a hang-up, which is always reported
    hang_up.poll()
    time.sleep(ORPHAN_S)
    os._exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bbmr-worker")
    parser.add_argument("--device", required=True)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--compile", action="store_true")
    for name in ("socket", "memory", "slots", "slot-bytes", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
