"""The pool of training pictures: a folder of photographs, made ready once and kept in memory as uint8.

In: a folder. Out: `Entry` per picture: its planes at every rate and, per 16×16 cell, the error each rate makes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.grid import ALIGN, RATES, BlockGrid
from bbmr_shared.resample import bicubic, round_trip_error

log = logging.getLogger(__name__)

SHRINK = (0.5, 0.8)
"""Pictures are made smaller by a random factor from this range: it removes what a codec did to them."""

SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class Entry:
    """One picture.

    Attributes:
        source: name of the file; all sizes of one picture share it.
        planes: rate → `uint8 [H/rate, W/rate, 3]`, antialiased bicubic; rate 1 is the picture.
        errors: `float32 [rates, H/16, W/16]`, weighted squared error of each cell at each rate, summed.
    """

    source: str
    planes: dict[int, NDArray[np.uint8]]
    errors: NDArray[np.float32]


def load_pool(folder: Path, minimum: int, variants: int, seed: int, keep: int | None = None) -> list[Entry]:
    """Read every photograph under `folder`; a missing, corrupt or too small one is named and skipped.

    Args:
        folder: searched recursively.
        minimum: least side in pixels after shrinking.
        variants: how many sizes of each picture to keep.
        seed: of the shrinking factors.
        keep: at most this many pictures (the first by name).

    Raises:
        ValueError: no usable picture.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:keep]
    rng = np.random.default_rng(seed)
    entries = [entry for path in paths for entry in _entries(path, minimum, variants, rng)]
    if not entries:
        raise ValueError(f"no usable photograph of at least {minimum} pixels a side under {folder}")
    return entries


def hold_out(pool: list[Entry], pictures: int) -> tuple[list[Entry], list[Entry]]:
    """(training, validation): the last `pictures` pictures by name, at most a quarter of them, are held out.

    Raises:
        ValueError: there is only one picture.
    """
    sources = sorted({entry.source for entry in pool})
    if len(sources) < 2:
        raise ValueError("training needs at least two photographs: one of them is held out")
    held = set(sources[-max(1, min(pictures, len(sources) // 4)) :])
    return [e for e in pool if e.source not in held], [e for e in pool if e.source in held]


def _entries(path: Path, minimum: int, variants: int, rng: np.random.Generator) -> Iterator[Entry]:
    factors = rng.uniform(
        *SHRINK, size=variants
    )  # drawn first: a bad file must not shift the others' factors
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        log.warning("skipped %s: %s", path, error)
        return
    for factor in factors:
        factor = max(factor, (minimum + 0.5) / min(image.size))
        if factor > 1:
            log.warning("skipped %s: %d×%d is too small", path, *image.size)
            return
        size = round(image.width * factor), round(image.height * factor)
        yield _entry(path.name, np.asarray(image.resize(size, Image.Resampling.LANCZOS)))


def _entry(source: str, picture: NDArray[np.uint8]) -> Entry:
    height, width = (side // ALIGN * ALIGN for side in picture.shape[:2])
    picture = np.ascontiguousarray(picture[:height, :width])
    cells = BlockGrid(width, height, ALIGN)
    planes = {
        rate: picture if rate == 1 else bicubic(picture, width // rate, height // rate) for rate in RATES
    }
    errors = np.zeros((len(RATES), *cells.shape), np.float32)
    for index, rate in enumerate(RATES[1:], 1):
        errors[index] = cells.block_sums(round_trip_error(picture, planes[rate]))
    return Entry(source, planes, errors)
