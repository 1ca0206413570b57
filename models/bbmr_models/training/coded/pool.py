"""A pool of pictures with real coding errors. Worker processes make them while training goes on.

Each slot holds one window of a training picture, coded like a picture of its own. Crops of a window keep its rate map
and its coding error. Which window is ready when depends on the workers, so such runs do not repeat bit for bit.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait

import numpy as np
import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas
from bbmr_models.training.crop_settings import LAMBDA, CropSettings
from bbmr_models.training.crops import gather, gather_cells, make_canvas, place, scaled
from bbmr_models.training.pool import PicturePool
from bbmr_shared.cpus import available_cpus
from bbmr_shared.grid import ALIGN

from .worker import CodedWindow, CodingTask, run_worker

SLOTS = 128
WINDOW = 512
"""Largest side of a window in pixels. A slot takes 7 bytes per pixel."""
FIRST_WINDOWS = 4
"""Windows that training waits for at the start."""
CROPS_PER_WINDOW = 24
"""Crops drawn from a window, on average, before another window replaces it."""
START_TIMEOUT_S = 120.0
EXIT_TIMEOUT_S = 2.0


class CodingError(RuntimeError):
    """A coding worker failed or died."""


class CodedPool:
    """Slots of coded windows, and the workers that fill them. Open it with `open_coded_pool`."""

    def __init__(self, pool: PicturePool, settings: CropSettings, seed: int) -> None:
        self._source, self._settings = pool, settings
        self._rng = np.random.default_rng(seed)
        self._side = max(WINDOW, settings.crop) // ALIGN
        cells, device = SLOTS * self._side**2, pool.device

        def empty(rate: int) -> Tensor:
            return torch.zeros(cells * (ALIGN // rate) ** 2, 3, dtype=torch.uint8, device=device)

        slots = torch.arange(SLOTS, device=device)
        planes, no_errors = {rate: empty(rate) for rate in settings.rates}, torch.zeros(0, device=device)
        first = slots * self._side**2
        self._pool = PicturePool(("",) * SLOTS, first, slots * 0, slots * 0, planes, no_errors)
        self._target = empty(1)
        self._rates, self._errors = torch.zeros(2, cells, dtype=torch.uint8, device=device)
        self._arrived = self._drawn = 0
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, Tensor] = {}

    def draw(self, drawn: Tensor, cells: int) -> tuple[Canvas, Tensor]:
        """Return crops of `cells` cells a side, chosen by random numbers `[N, ≥ 5]`.

        Returns:
            `Canvas` of `[N, …]`, and the target, float32 `[N, 3, side, side]` in 0 … 1.
        """
        pool, filled = self._pool, min(self._arrived, SLOTS)
        crops = place(pool, scaled(drawn[:, 1], filled), drawn[:, 2:5], cells)
        planes = {rate: gather(pool, plane, crops, cells, rate) for rate, plane in pool.planes.items()}
        rates = gather_cells(pool, self._rates, crops, cells).long()
        canvas = make_canvas(planes, rates, gather_cells(pool, self._errors, crops, cells))
        self._drawn += len(drawn)
        return canvas, gather(pool, self._target, crops, cells, 1) / 255

    def refresh(self, timeout_s: float = 0.0) -> bool:
        """Store the windows that are ready, and send new tasks to idle workers where windows are due.

        Waits up to `timeout_s` for a first window. Returns whether a window has arrived.

        Raises:
            CodingError: if a worker failed or died.
        """
        answered = wait(self._connections(), timeout_s)
        ready = [worker for worker in self._busy if worker.connection in answered]
        for worker in ready:
            self._store(worker.receive(), self._busy.pop(worker))
            self._idle.append(worker)
        while self._idle and self._window_is_due():
            window, task = self._next_task()
            self._idle[-1].send(task)
            self._busy[self._idle.pop()] = window
        return bool(ready)

    def close(self) -> None:
        """End the workers, and wait until they have ended."""
        for worker in (*self._idle, *self._busy):
            worker.close()
        self._idle, self._busy = [], {}

    def _start(self, workers: int) -> None:
        """Start the workers and wait for the first windows."""
        for _ in range(workers):
            self._idle.append(_Worker())
        self.refresh()
        while self._arrived < FIRST_WINDOWS:
            if not self.refresh(START_TIMEOUT_S):
                raise CodingError(f"no coding worker answered within {START_TIMEOUT_S:.0f} seconds")

    def _connections(self) -> list[Connection]:
        return [worker.connection for worker in self._busy]

    def _window_is_due(self) -> bool:
        windows = self._arrived + len(self._busy) + 1
        return self._drawn >= CROPS_PER_WINDOW * (windows - SLOTS)

    def _next_task(self) -> tuple[Tensor, CodingTask]:
        """Return a random window of a random picture, on the device and as a task."""
        source, rng = self._source, self._rng
        index = int(rng.integers(len(source)))
        errors, picture = source.cell_errors(index), source.plane(index, 1)
        spans = []
        for count in errors.shape[:2]:
            size = min(count, self._side)
            start = int(rng.integers(count - size + 1))
            spans.append((start, start + size))
        (top, bottom), (left, right) = spans
        window = picture[top * ALIGN : bottom * ALIGN, left * ALIGN : right * ALIGN]
        multiplier = math.exp(rng.uniform(math.log(LAMBDA[0]), math.log(LAMBDA[1])))
        task = CodingTask(
            window.cpu().numpy(),
            errors[top:bottom, left:right].cpu().numpy(),
            self._settings.rates,
            self._settings.block,
            multiplier,
            int(rng.integers(2**32)),
        )
        return window, task

    def _store(self, coded: CodedWindow, window: Tensor) -> None:
        """Put a coded window into the next slot."""
        pool, slot = self._pool, self._arrived % SLOTS
        rows, columns = coded.rates.shape
        first, count = slot * self._side**2, rows * columns
        for rate, plane in coded.planes.items():
            scale = (ALIGN // rate) ** 2
            samples = torch.from_numpy(plane).view(-1, 3)
            pool.planes[rate][first * scale : (first + count) * scale] = samples.to(pool.device)
        self._target[first * ALIGN**2 : (first + count) * ALIGN**2] = window.reshape(-1, 3)
        for stored, values in ((self._rates, coded.rates), (self._errors, coded.errors)):
            stored[first : first + count] = torch.from_numpy(values).flatten().to(pool.device)
        pool.rows[slot], pool.columns[slot] = rows, columns
        self._arrived += 1


@contextmanager
def open_coded_pool(
    pool: PicturePool, settings: CropSettings, seed: int, workers: int = 0
) -> Iterator[CodedPool | None]:
    """Make a coded pool from `pool`, with that many workers (0: `default_workers`); None if `coded_share` is 0.

    Raises:
        CodingError: if a worker failed or died.
    """
    if not settings.coded_share:
        yield None
        return
    coded = CodedPool(pool, settings, seed)
    try:
        coded._start(workers or default_workers(pool.device))
        yield coded
    finally:
        coded.close()


def default_workers(device: torch.device) -> int:
    """Return one worker for training on CPUs, which more would slow down; beside a GPU half of the processors."""
    return 1 if device.type == "cpu" else min(16, max(1, available_cpus() // 2))


class _Worker:
    """A worker process and its connection. It ends when the connection closes, also if the trainer is killed."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=run_worker, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def send(self, task: CodingTask) -> None:
        try:
            self.connection.send(task)
        except OSError:
            raise self._death() from None

    def receive(self) -> CodedWindow:
        try:
            result: CodedWindow | str = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if isinstance(result, str):
            raise CodingError(f"a coding worker failed:\n{result}")
        return result

    def close(self) -> None:
        self.connection.close()
        self._process.join(EXIT_TIMEOUT_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _death(self) -> CodingError:
        self._process.join(EXIT_TIMEOUT_S)
        return CodingError(f"a coding worker has died (exit status {self._process.exitcode})")
