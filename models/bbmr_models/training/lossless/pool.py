"""The pool of training pictures: a folder of photographs, read once and kept on the device as uint8.

The samples of all pictures lie in one flat tensor per rate, so the crops of a batch are one gather.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bbmr_shared.cpus import available_cpus
from bbmr_shared.errors import UsageError, one_line
from bbmr_shared.grid import ALIGN, RATES

from .bicubic_planes import make_planes

log = logging.getLogger(__name__)

SHRINK = (0.5, 0.8)
"""Each picture is reduced by random factors from this range, which removes the errors of its own codec."""

SUFFIXES = {".avif", ".jpeg", ".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class PicturePool:
    """Pictures in flat tensors. The cells of a picture lie row by row from its first cell on.

    Its samples of rate r lie row by row from sample first · (16/r)² on, so one table of offsets serves every rate.

    Attributes:
        sources: the file of each picture; all sizes of one photograph share it.
        first, rows, columns: `int64 [pictures]`: the first cell of each picture, and its sides in cells.
        planes: rate → `uint8 [cells·(16/rate)², 3]`, antialiased bicubic; rate 1 is the picture itself.
        errors: `float32 [cells, rates]`, weighted squared error of each cell at each rate, summed.
    """

    sources: tuple[str, ...]
    first: Tensor
    rows: Tensor
    columns: Tensor
    planes: dict[int, Tensor]
    errors: Tensor

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def device(self) -> torch.device:
        return self.errors.device

    def subset(self, chosen: Sequence[int]) -> PicturePool:
        """Return a pool of some of the pictures. It shares the samples."""
        index = torch.tensor(chosen, dtype=torch.int64, device=self.device)
        tables = {name: getattr(self, name)[index] for name in ("first", "rows", "columns")}
        return replace(self, sources=tuple(self.sources[i] for i in chosen), **tables)

    def plane(self, picture: int, rate: int) -> Tensor:
        """Return a view of one plane of one picture, `uint8 [H/rate, W/rate, 3]`."""
        first, rows, columns = (int(table[picture]) for table in (self.first, self.rows, self.columns))
        scale = ALIGN // rate
        samples = self.planes[rate][first * scale**2 : (first + rows * columns) * scale**2]
        return samples.view(rows * scale, columns * scale, 3)

    def cell_errors(self, picture: int) -> Tensor:
        """Return a view of the errors of one picture, `float32 [H/16, W/16, rates]`."""
        first, rows, columns = (int(table[picture]) for table in (self.first, self.rows, self.columns))
        return self.errors[first : first + rows * columns].view(rows, columns, len(RATES))


def load_pool(
    folder: Path,
    minimum: int,
    variants: int,
    seed: int,
    keep: int | None = None,
    device: torch.device | str = "cpu",
) -> PicturePool:
    """Read every photograph under `folder`. Missing, corrupt or too small ones are skipped with a warning.

    Args:
        folder: searched recursively.
        minimum: smallest side in pixels after shrinking.
        variants: number of sizes of each picture.
        seed: seed of the shrinking factors.
        keep: largest number of pictures (the first by name).
        device: holds the pool and makes its planes.

    Raises:
        UsageError: if no picture is usable.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:keep]
    # Drawn before reading, so that a bad file does not shift the factors of the others.
    factors = np.random.default_rng(seed).uniform(*SHRINK, size=(len(paths), variants))
    pack = _Packer(device)
    with ThreadPoolExecutor(available_cpus()) as readers:
        for path, pictures in zip(paths, _ahead(readers, paths, factors, minimum), strict=True):
            for picture in pictures:
                pack.add(path.name, picture)
    if not pack.sources:
        raise UsageError(f"no usable photograph of at least {minimum} pixels a side under {folder}")
    return pack.pool()


def hold_out(pool: PicturePool, pictures: int) -> tuple[PicturePool, PicturePool]:
    """Return (training, validation): the last `pictures` photographs by name, at most a quarter, are held out.

    Raises:
        UsageError: if there is only one photograph.
    """
    held_out = held_out_sources(pool.sources, pictures)
    kept = [index for index, source in enumerate(pool.sources) if source not in held_out]
    return pool.subset(kept), pool.subset(sorted(set(range(len(pool))) - set(kept)))


def held_out_sources(sources: Iterable[str], pictures: int) -> set[str]:
    """Return the last `pictures` sources by name, at most a quarter of all and at least one.

    Raises:
        UsageError: if there is only one.
    """
    names = sorted(set(sources))
    if len(names) < 2:
        raise UsageError("training needs at least two usable photographs, one of them for validation")
    return set(names[-max(1, min(pictures, len(names) // 4)) :])


def _ahead(
    readers: ThreadPoolExecutor, paths: list[Path], factors: NDArray[np.float64], minimum: int
) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield the sizes of each photograph in order. Reads a few ahead, so that memory holds few of them."""
    ahead = 2 * available_cpus()
    jobs = [
        readers.submit(read_reduced, *job, minimum)
        for job in zip(paths[:ahead], factors[:ahead], strict=True)
    ]
    for index in range(len(paths)):
        if index + ahead < len(paths):
            jobs.append(readers.submit(read_reduced, paths[index + ahead], factors[index + ahead], minimum))
        yield jobs.pop(0).result()


def read_reduced(path: Path, factors: NDArray[np.float64], minimum: int) -> list[NDArray[np.uint8]]:
    """Return a photograph at several sizes, each cut to multiples of 16: `uint8 [H, W, 3]`.

    An empty list, and a warning, for a file that cannot be read or has fewer than `minimum` pixels a side.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("skipped %s: %s", path, one_line(error))
        return []
    least = (minimum + 0.5) / min(image.size)
    if least > 1:
        log.warning("skipped %s: %d×%d is too small", path, *image.size)
        return []
    pictures = []
    for factor in np.maximum(factors, least):
        size = round(image.width * factor), round(image.height * factor)
        picture = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
        height, width = (side // ALIGN * ALIGN for side in picture.shape[:2])
        pictures.append(np.array(picture[:height, :width]))  # torch wants a writable copy
    return pictures


class _Packer:
    """Collects pictures and packs them into flat tensors."""

    def __init__(self, device: torch.device | str) -> None:
        self.device, self.sources = device, list[str]()
        self._shapes: list[tuple[int, int]] = []
        self._planes: dict[int, list[Tensor]] = {rate: [] for rate in RATES}
        self._errors: list[Tensor] = []

    def add(self, source: str, picture: NDArray[np.uint8]) -> None:
        planes, errors = make_planes(torch.from_numpy(picture).to(self.device))
        self.sources.append(source)
        self._shapes.append((errors.shape[0], errors.shape[1]))
        self._errors.append(errors.flatten(0, 1))
        for rate, plane in planes.items():
            self._planes[rate].append(plane.flatten(0, 1))

    def pool(self) -> PicturePool:
        rows, columns = torch.tensor(self._shapes, device=self.device).T
        cells = rows * columns
        # One rate after the other, so that memory holds at most one of them twice.
        planes = {rate: torch.cat(self._planes.pop(rate)) for rate in RATES}
        return PicturePool(
            tuple(self.sources), cells.cumsum(0) - cells, rows, columns, planes, torch.cat(self._errors)
        )
