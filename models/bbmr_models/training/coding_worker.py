"""One picture through a real codec, as a container holds it: what the worker processes of `coded` do.

In: a picture and the errors of its cells. Out: its decoded planes, its rate map and its coding error bytes.
"""

from __future__ import annotations

import os
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.container.planes import keep_blocks
from bbmr_shared.grid import ALIGN, RATES, BlockGrid
from bbmr_shared.images.codecs import CODECS, coding_error_byte, decode, encode_plane
from bbmr_shared.resample import bicubic

QUALITY = (20, 95)
LOSSY = tuple(name for name, codec in CODECS.items() if codec.write and not codec.lossless)


@dataclass(frozen=True)
class Job:
    """What is to be coded: `picture`, `uint8 [H, W, 3]`, whose cells make the `errors` `float32 [H/16, W/16, rates]`
    at all `RATES`; blocks of side `block` get rates of the `palette`, λ is the `multiplier`."""

    picture: NDArray[np.uint8]
    errors: NDArray[np.float32]
    palette: tuple[int, ...]
    block: int
    multiplier: float
    seed: int


@dataclass(frozen=True)
class Coded:
    """What a decoder has: decoded `planes` (rate → `uint8 [H/rate, W/rate, 3]`) of the rates in use, and of every
    16×16 cell its rate and its plane's coding error byte, `uint8 [H/16, W/16]` each."""

    planes: dict[int, NDArray[np.uint8]]
    rates: NDArray[np.uint8]
    errors: NDArray[np.uint8]


def code(job: Job) -> Coded:
    """Choose rates on the picture's own grid, make the planes in place, code and decode them at a random quality."""
    rng = np.random.default_rng(job.seed)
    height, width = job.picture.shape[:2]
    grid = BlockGrid(width, height, job.block)
    rate_map = _rate_map(job, grid)
    quality = int(rng.integers(*QUALITY, endpoint=True))
    planes: dict[int, NDArray[np.uint8]] = {}
    bytes_of_rate = np.zeros(RATES[-1] + 1, np.uint8)
    for rate in (int(rate) for rate in np.unique(rate_map)):
        own = grid.expand(rate_map == rate, rate)
        plane = job.picture if rate == 1 else bicubic(job.picture, width // rate, height // rate)
        given = keep_blocks(plane, rate, rate_map, grid)
        codec, data = encode_plane(given, str(rng.choice(LOSSY)), quality=quality)
        planes[rate] = decode(data, codec, grid.plane_size(rate))
        difference = planes[rate][own].astype(np.float64) - given[own]
        bytes_of_rate[rate] = coding_error_byte(float(np.square(difference).mean()))
    cells = grid.expand(rate_map, ALIGN)
    return Coded(planes, cells, bytes_of_rate[cells])


def serve(connection: Connection) -> None:
    """Answer each `Job` with its `Coded`, or with the traceback as text, until the other end closes or dies."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the trainer, which then closes the connection
    os.nice(10)
    try:
        while True:
            job: Job = connection.recv()
            try:
                connection.send(code(job))
            except Exception:
                connection.send(traceback.format_exc())
    except (EOFError, OSError):
        return


def _rate_map(job: Job, grid: BlockGrid) -> NDArray[np.uint8]:
    """The Lagrangian choice of every block, `uint8 [rows, cols]`."""
    tops, lefts = (np.arange(count) * (job.block // ALIGN) for count in grid.shape)
    chosen = job.errors[:, :, [RATES.index(rate) for rate in job.palette]]
    sums = np.add.reduceat(np.add.reduceat(chosen, tops, axis=0), lefts, axis=1)
    samples = np.array([1 / rate**2 for rate in job.palette])
    choice = (sums / grid.areas()[:, :, None] + job.multiplier * samples).argmin(axis=2)
    return np.array(job.palette, np.uint8)[choice]
