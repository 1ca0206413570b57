"""The worker process of `pool`: it codes one picture with a real codec, as a container holds it."""

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
class CodingTask:
    """A picture to code.

    Attributes:
        picture: `uint8 [H, W, 3]`.
        errors: `float32 [H/16, W/16, rates]`, the error of each cell at all `RATES`.
        palette: the rates that blocks may have.
        block: side of a block in pixels.
        multiplier: λ of the Lagrangian choice of rates.
        seed: seed of quality and codecs.
    """

    picture: NDArray[np.uint8]
    errors: NDArray[np.float32]
    palette: tuple[int, ...]
    block: int
    multiplier: float
    seed: int


@dataclass(frozen=True)
class CodedWindow:
    """What a decoder knows of the picture.

    Attributes:
        planes: rate in use → decoded plane, `uint8 [H/rate, W/rate, 3]`.
        rates: `uint8 [H/16, W/16]`, the rate of each cell.
        errors: `uint8 [H/16, W/16]`, the coding error byte of each cell's plane.
    """

    planes: dict[int, NDArray[np.uint8]]
    rates: NDArray[np.uint8]
    errors: NDArray[np.uint8]


def code_window(task: CodingTask) -> CodedWindow:
    """Choose rates on the picture's own grid, make the planes, then code and decode them at a random quality."""
    rng = np.random.default_rng(task.seed)
    height, width = task.picture.shape[:2]
    grid = BlockGrid(width, height, task.block)
    rate_map = _rate_map(task, grid)
    quality = int(rng.integers(*QUALITY, endpoint=True))
    planes: dict[int, NDArray[np.uint8]] = {}
    byte_of_rate = np.zeros(RATES[-1] + 1, np.uint8)
    for rate in (int(rate) for rate in np.unique(rate_map)):
        own = grid.expand(rate_map == rate, rate)
        plane = task.picture if rate == 1 else bicubic(task.picture, width // rate, height // rate)
        source = keep_blocks(plane, rate, rate_map, grid)
        codec, data = encode_plane(source, str(rng.choice(LOSSY)), quality=quality)
        planes[rate] = decode(data, codec, grid.plane_size(rate))
        difference = planes[rate][own].astype(np.float64) - source[own]
        byte_of_rate[rate] = coding_error_byte(float(np.square(difference).mean()))
    cells = grid.expand(rate_map, ALIGN)
    return CodedWindow(planes, cells, byte_of_rate[cells])


def run_worker(connection: Connection) -> None:
    """Answer each `CodingTask` with its `CodedWindow`, or with a traceback as text, until the connection closes."""
    # Ctrl-C is for the trainer, which then closes the connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    try:
        while True:
            task: CodingTask = connection.recv()
            try:
                connection.send(code_window(task))
            except Exception:
                connection.send(traceback.format_exc())
    except (EOFError, OSError):
        return


def _rate_map(task: CodingTask, grid: BlockGrid) -> NDArray[np.uint8]:
    """Return the Lagrangian choice of every block, `uint8 [rows, cols]`."""
    tops, lefts = (np.arange(count) * (task.block // ALIGN) for count in grid.shape)
    errors = task.errors[:, :, [RATES.index(rate) for rate in task.palette]]
    sums = np.add.reduceat(np.add.reduceat(errors, tops, axis=0), lefts, axis=1)
    return lagrangian_rates(sums / grid.areas()[:, :, None], task.multiplier, task.palette)


def lagrangian_rates(
    errors: NDArray[np.floating], multiplier: float, palette: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return the rate of each block with the least error + `multiplier` · samples, per pixel.

    Args:
        errors: `[rows, cols, rates]`, the mean squared error of each block at each rate of the `palette`.
        multiplier: λ.
    """
    samples = np.array([1 / rate**2 for rate in palette])
    return np.array(palette, np.uint8)[(errors + multiplier * samples).argmin(axis=2)]
