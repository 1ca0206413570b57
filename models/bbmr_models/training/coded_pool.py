"""Pictures with real coding errors: made by worker processes, kept on the device, renewed while they are used.

In: the pool. Out: crops of coded pictures. Each slot holds a window of a picture of the pool, coded as a picture of its
own; crops of it take its rate map and its coding error as they are. What arrives when depends on the workers,
so with coded pictures two runs of one seed are not alike.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait

import numpy as np
import torch
from torch import Tensor

from bbmr_models.jointsr import Canvas
from bbmr_shared.grid import ALIGN

from .coding_worker import Coded, Job, serve
from .crops import gather, gather_cells, make_canvas, place, scaled
from .pool import Pool
from .sampling import LAMBDA, Sampling

SLOTS = 128
WINDOW = 512
"""Side of a window in pixels, at most; the memory is 7 bytes a pixel and slot."""
FIRST = 4
"""Windows that training waits for at the start."""
USES = 24
"""Crops drawn from a window, on average, before another takes its place."""
PATIENCE_S = 120.0
LEAVE_S = 2.0


class CodingError(RuntimeError):
    """A coding worker failed or died."""


class CodedPictures:
    """Slots of coded windows, and the workers that fill them. Open it with `coded_pictures`."""

    def __init__(self, pool: Pool, sampling: Sampling, seed: int) -> None:
        self._source, self._sampling = pool, sampling
        self._rng = np.random.default_rng(seed)
        self._side = max(WINDOW, sampling.crop) // ALIGN
        cells, device = SLOTS * self._side**2, pool.device

        def empty(rate: int) -> Tensor:
            return torch.zeros(cells * (ALIGN // rate) ** 2, 3, dtype=torch.uint8, device=device)

        slots = torch.arange(SLOTS, device=device)
        planes, none = {rate: empty(rate) for rate in sampling.rates}, torch.zeros(0, device=device)
        self._pool = Pool(("",) * SLOTS, slots * self._side**2, slots * 0, slots * 0, planes, none)
        self._target = empty(1)
        self._rates, self._errors = torch.zeros(2, cells, dtype=torch.uint8, device=device)
        self._arrived = self._drawn = 0
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, Tensor] = {}

    def draw(self, drawn: Tensor, cells: int) -> tuple[Canvas, Tensor]:
        """Crops by random numbers `[N, ≥ 5]`: `Canvas` of `[N, …]` and the target, float32 `[N, 3, side, side]`."""
        pool, filled = self._pool, min(self._arrived, SLOTS)
        crops = place(pool, scaled(drawn[:, 1], filled), drawn[:, 2:5], cells)
        planes = {rate: gather(pool, plane, crops, cells, rate) for rate, plane in pool.planes.items()}
        rates = gather_cells(pool, self._rates, crops, cells).long()
        canvas = make_canvas(planes, rates, gather_cells(pool, self._errors, crops, cells))
        self._drawn += len(drawn)
        return canvas, gather(pool, self._target, crops, cells, 1) / 255

    def refresh(self, patience: float = 0.0) -> bool:
        """Take in what has arrived, waiting at most `patience` seconds for something; hand out work where it is due.

        Returns:
            Whether something has arrived.

        Raises:
            CodingError: a worker failed or died.
        """
        answered = wait(self._open(), patience)
        ready = [worker for worker in self._busy if worker.connection in answered]
        for worker in ready:
            self._take(worker.answer(), self._busy.pop(worker))
            self._idle.append(worker)
        while self._idle and self._drawn >= USES * (self._arrived + len(self._busy) + 1 - SLOTS):
            picture, job = self._next()
            self._idle[-1].give(job)
            self._busy[self._idle.pop()] = picture
        return bool(ready)

    def close(self) -> None:
        """End the workers; none is left when this returns."""
        for worker in (*self._idle, *self._busy):
            worker.close()
        self._idle, self._busy = [], {}

    def _start(self, workers: int) -> None:
        """Start the workers and wait for the first windows."""
        for _ in range(workers):
            self._idle.append(_Worker())
        self.refresh()
        while self._arrived < FIRST:
            if not self.refresh(PATIENCE_S):
                raise CodingError(f"no coding worker has answered in {PATIENCE_S:.0f} seconds")

    def _open(self) -> list[Connection]:
        return [worker.connection for worker in self._busy]

    def _next(self) -> tuple[Tensor, Job]:
        """A random window of a random picture, on the device and as a job."""
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
        errors = errors[top:bottom, left:right].cpu()
        seed = int(rng.integers(2**32))
        job = Job(
            window.cpu().numpy(),
            errors.numpy(),
            self._sampling.rates,
            self._sampling.block,
            multiplier,
            seed,
        )
        return window, job

    def _take(self, coded: Coded, window: Tensor) -> None:
        """Put a coded window into the next slot."""
        pool, slot = self._pool, self._arrived % SLOTS
        rows, columns = coded.rates.shape
        first, count = slot * self._side**2, rows * columns
        for rate, plane in coded.planes.items():
            scale = (ALIGN // rate) ** 2
            samples = torch.from_numpy(plane).view(-1, 3)
            pool.planes[rate][first * scale : (first + count) * scale] = samples.to(pool.device)
        self._target[first * ALIGN**2 : (first + count) * ALIGN**2] = window.reshape(-1, 3)
        for kept, values in ((self._rates, coded.rates), (self._errors, coded.errors)):
            kept[first : first + count] = torch.from_numpy(values).flatten().to(pool.device)
        pool.rows[slot], pool.columns[slot] = rows, columns
        self._arrived += 1


@contextmanager
def coded_pictures(
    pool: Pool, sampling: Sampling, seed: int, workers: int = 0
) -> Iterator[CodedPictures | None]:
    """Coded pictures of `pool`, with so many workers (0: as suits the machine); None where no share is asked for.

    Raises:
        CodingError: a worker failed or died.
    """
    if not sampling.coded_share:
        yield None
        return
    coded = CodedPictures(pool, sampling, seed)
    try:
        coded._start(workers or default_workers(pool.device))
        yield coded
    finally:
        coded.close()


def default_workers(device: torch.device) -> int:
    """One beside training on CPUs, which it would slow down; half of the processors beside a GPU."""
    return 1 if device.type == "cpu" else min(16, max(1, (os.cpu_count() or 2) // 2))


class _Worker:
    """A process at the end of a connection. It ends when the connection does, so also when the trainer is killed."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def give(self, job: Job) -> None:
        try:
            self.connection.send(job)
        except OSError:
            raise self._dead() from None

    def answer(self) -> Coded:
        try:
            answer: Coded | str = self.connection.recv()
        except (EOFError, OSError):
            raise self._dead() from None
        if isinstance(answer, str):
            raise CodingError(f"a coding worker failed:\n{answer}")
        return answer

    def close(self) -> None:
        self.connection.close()
        self._process.join(LEAVE_S)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _dead(self) -> CodingError:
        self._process.join(LEAVE_S)
        return CodingError(f"a coding worker has died (exit status {self._process.exitcode})")
