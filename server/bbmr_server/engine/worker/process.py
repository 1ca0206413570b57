"""The worker as a process of its own: whatever kills it, the server lives, and what it worked on is done again.

In: how workers are to run. Out: a `Runner` a life. Orders go over a socket pair, tiles lie in a shared arena. The
process that serves HTTP never imports torch.
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
from bbmr_models.inference.tile_input import TileInput
from bbmr_shared.errors import WeightsError

from .protocol import BatchError, Done, OutOfMemoryError, Runner, WorkerDiedError
from .shared_memory import Arena, bytes_of

LARGEST_SIDE = 2048
"""Pixels a side, halo included, of the largest tile that there is room for."""
LOADING_S = 300.0
"""Seconds that a worker may take to start and to load one set of weights; the first use of a GPU is slow."""
ENDING_S = 5.0
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "1000",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
}
"""The network's threads soon sleep while they wait for each other: spinning for long, as they do by themselves, they
keep decoding and encoding off the cores. With both cores of a small machine busy a tile took 1.2 s so, and 6 s
otherwise. To sleep at once costs more than it saves: a tile of 256² took 28 ms so, and 15 ms with some turns of waiting
before, one of 1200² 461 and 383 ms (two idle cores). oneDNN keeps 1024 compiled operations by itself, for every shape
of tile and batch anew; regions have any shape, so memory would grow for long."""


@dataclass(frozen=True)
class ProcessLaunch:
    """How the worker processes run; `launch(device)` starts one.

    Attributes:
        batch: most tiles that go through the network together.
        threads: CPU threads of the network; 0: one a core.
        runtime: as `bbmr_models.inference.network.load_network` takes it.
        compile: whether torch compiles the network.
        batch_s: seconds after which a batch that is not done means that the worker hangs.
    """

    batch: int = 1
    threads: int = 0
    runtime: Runtime = "auto"
    compile: bool = False
    batch_s: float = 120.0

    def __call__(self, device: str) -> Runner:
        return ProcessRunner(device, self)


class ProcessRunner:
    """One worker process. See `Runner`."""

    depth = 2

    def __init__(self, device: str, how: ProcessLaunch) -> None:
        self.device = device
        self._how = how
        self._under_way: deque[tuple[int, int, tuple[int, int]]] = deque()
        self._next = 0
        with contextlib.ExitStack() as undo:
            try:
                self._arena = Arena(self.depth, bytes_of(how.batch, (LARGEST_SIDE, LARGEST_SIDE)))
                undo.callback(self._arena.close)
                ours, theirs = socket.socketpair()
                undo.callback(ours.close)
                # Weights are larger than the socket's buffer: without a limit, who writes waits for who hangs.
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(LOADING_S), 0))
                with theirs:
                    self._process = self._start(theirs.fileno())
            except OSError as error:  # such as for want of file descriptors, which may pass
                raise WorkerDiedError(f"it could not be started: {error}") from error
            undo.pop_all()
        self._line = Connection(ours.detach())

    def _start(self, line: int) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-P", "-m", "bbmr_server.engine.worker.main", "--device", self.device),
            *("--socket", str(line), "--arena", str(self._arena.fd)),
            *("--slots", str(self.depth), "--slot-bytes", str(self._arena.slot_bytes)),
            *("--threads", str(self._how.threads), "--runtime", self._how.runtime),
            *(["--compile"] if self._how.compile else []),
        ]
        return subprocess.Popen(
            command,
            pass_fds=(line, self._arena.fd),
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
        answer = self._ask(("load", key, name, data))
        if answer[0] == "refused":
            raise answer[1]

    def drop(self, key: str) -> None:
        self._ask(("drop", key))

    def begin(self, key: str, tiles: Sequence[TileInput]) -> None:
        slot, self._next = self._next, (self._next + 1) % self.depth
        shape = tiles[0].shape
        places, _ = self._arena.views(slot, len(tiles), shape)
        for tile, place in zip(tiles, places, strict=True):
            for name in ("base", "half", "quarter", "rate", "error", "strength"):
                np.copyto(getattr(place, name), getattr(tile, name))
        self._under_way.append((slot, len(tiles), shape))
        self._send(("run", key, slot, len(tiles), shape))

    def finish(self) -> Done:
        slot, count, shape = self._under_way.popleft()
        word, *rest = self._receive(self._how.batch_s)
        if word == "out of memory":
            raise OutOfMemoryError
        if word == "failed":
            raise BatchError(rest[0])
        return Done(self._arena.views(slot, count, shape)[1], *rest)

    def check(self) -> None:
        if self._process.poll() is not None:
            raise WorkerDiedError(self._how_it_ended())

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._line.close()  # it ends by itself now, unless it hangs
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._arena.close()

    def _ask(self, order: tuple[Any, ...]) -> tuple[Any, ...]:
        self._send(order)
        return self._receive(LOADING_S)

    def _send(self, order: tuple[Any, ...]) -> None:
        try:
            self._line.send(order)
        except BlockingIOError:
            self._process.kill()
            raise WorkerDiedError(f"it took no order for {LOADING_S:g} s and was killed") from None
        except OSError:
            raise WorkerDiedError(self._how_it_ended()) from None

    def _receive(self, seconds: float) -> tuple[Any, ...]:
        try:
            if self._line.poll(seconds):
                answer: tuple[Any, ...] = self._line.recv()
                return answer
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
