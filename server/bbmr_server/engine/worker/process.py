"""Starts a worker process and sends it work.

The server survives the death of a worker, whatever its cause, and never imports torch.
Commands go over a socket pair; tiles lie in shared memory. `worker.main` is the other side.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bbmr_models.cards import card_of
from bbmr_models.inference.network import Runtime
from bbmr_models.inference.processor import OPENMP
from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.errors import WeightsError

from .protocol import BatchError, BatchResult, OutOfMemoryError, WorkerDiedError, WorkerHandle
from .shared_memory import SharedTiles, bytes_of

LARGEST_SIDE = 2048
"""Pixels a side, halo included, of the largest tile that fits the shared memory."""
LOADING_S = 300.0
"""Seconds that a worker may take to start and to load one set of weights; the first use of a GPU is slow."""
ENDING_S = 5.0
"""Seconds that a worker has to end by itself."""
ENVIRONMENT = OPENMP | {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256"}
"""oneDNN keeps 1024 compiled operations by default, one for every shape of tile and batch; regions have any shape, so
memory would grow for long."""


@dataclass(frozen=True)
class ProcessLauncher:
    """Starts worker processes: `launcher(device)` starts one.

    Attributes:
        batch: most tiles that go through the network together.
        threads: CPU threads of the network; 0 leaves the number to the runtime.
        runtime: as `bbmr_models.inference.network.load_network` takes it.
        compile: whether torch compiles the network.
        batch_s: seconds after which a batch that is not done means that the worker hangs.
    """

    batch: int = 1
    threads: int = 0
    runtime: Runtime = "auto"
    compile: bool = False
    batch_s: float = 120.0

    def __call__(self, device: str) -> WorkerHandle:
        return WorkerProcess(device, self)


class WorkerProcess:
    """A `WorkerHandle` to a process of its own."""

    depth = 2

    def __init__(self, device: str, options: ProcessLauncher) -> None:
        self.device = device
        self._options = options
        self._in_worker: deque[tuple[int, int, tuple[int, int], bool]] = deque()
        self._next = 0
        with contextlib.ExitStack() as undo:
            try:
                self._memory = SharedTiles(self.depth, bytes_of(options.batch, (LARGEST_SIDE, LARGEST_SIDE)))
                undo.callback(self._memory.close)
                ours, theirs = socket.socketpair()
                undo.callback(ours.close)
                # Weights are larger than the socket's buffer: without a limit, sending them to a worker that hangs
                # would block for ever.
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(LOADING_S), 0))
                with theirs:
                    self._process = self._start(theirs.fileno())
            except OSError as error:  # such as too few file descriptors, which may pass
                raise WorkerDiedError(f"it could not be started: {error}") from error
            undo.pop_all()
        self._connection = Connection(ours.detach())

    def _start(self, fd: int) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-P", "-m", "bbmr_server.engine.worker.main", "--device", self.device),
            *("--socket", str(fd), "--memory", str(self._memory.fd)),
            *("--slots", str(self.depth), "--slot-bytes", str(self._memory.slot_bytes)),
            *("--threads", str(self._options.threads), "--runtime", self._options.runtime),
            *(["--compile"] if self._options.compile else []),
        ]
        return subprocess.Popen(
            command,
            pass_fds=(fd, self._memory.fd),
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT | os.environ,
        )

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._process.pid

    def load(self, key: str, name: str, data: bytes) -> None:
        config = card_of(name, data).config
        side = config.tile + 2 * config.halo
        if side > LARGEST_SIDE:
            raise WeightsError(
                f"the weights '{name}' want tiles of {side} pixels a side with their halo; "
                f"at most {LARGEST_SIDE} are possible"
            )
        reply = self._ask(("load", key, name, data))
        if reply[0] == "refused":
            raise reply[1]

    def drop(self, key: str) -> None:
        self._ask(("drop", key))

    def begin(self, key: str, tiles: Sequence[TileInput]) -> None:
        slot, self._next = self._next, (self._next + 1) % self.depth
        shape = tiles[0].shape
        levels = tiles[0].half is not None
        inputs, _ = self._memory.views(slot, len(tiles), shape, levels)
        for tile, shared in zip(tiles, inputs, strict=True):
            for name, samples in vars(tile).items():
                if samples is not None:
                    np.copyto(getattr(shared, name), samples)
        self._in_worker.append((slot, len(tiles), shape, levels))
        self._send(("run", key, slot, len(tiles), shape))

    def finish(self) -> BatchResult:
        slot, count, shape, levels = self._in_worker.popleft()
        outcome, *rest = self._receive(self._options.batch_s)
        if outcome == "out of memory":
            raise OutOfMemoryError
        if outcome == "failed":
            raise BatchError(rest[0])
        return BatchResult(self._memory.views(slot, count, shape, levels)[1], *rest)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise WorkerDiedError(self._how_it_ended())

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._connection.close()  # the worker ends by itself now, unless it hangs
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._memory.close()

    def _ask(self, command: tuple[Any, ...]) -> tuple[Any, ...]:
        self._send(command)
        return self._receive(LOADING_S)

    def _send(self, command: tuple[Any, ...]) -> None:
        try:
            self._connection.send(command)
        except BlockingIOError:
            self._process.kill()
            raise WorkerDiedError(f"it took no command for {LOADING_S:g} s and was killed") from None
        except OSError:
            raise WorkerDiedError(self._how_it_ended()) from None

    def _receive(self, seconds: float) -> tuple[Any, ...]:
        try:
            if self._connection.poll(seconds):
                reply: tuple[Any, ...] = self._connection.recv()
                return reply
        except (EOFError, OSError):
            raise WorkerDiedError(self._how_it_ended()) from None
        self._process.kill()
        raise WorkerDiedError(f"it gave no answer for {seconds:g} s and was killed")

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_S)
        status = self._process.returncode
        if status is None:
            return "it has closed its socket and runs on"
        return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
