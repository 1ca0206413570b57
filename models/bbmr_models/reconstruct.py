"""The Upscaling Module: a container and a model become the picture, tile by tile.

In: `Container`, `JointSR`. Out: `PIL.Image`. The composite is made once for the whole picture (8 bits and two
coarse levels); beyond that, memory depends on tile and batch only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bbmr_shared.composite import MAX_LEVEL, Planes, base, coarse_levels, preview, to_picture
from bbmr_shared.container import FULL_STRENGTH, Container
from bbmr_shared.errors import IncompatibleModelError
from bbmr_shared.grid import BlockGrid
from bbmr_shared.region import Region, check_region

from .jointsr import GRID, Canvas, JointSR, channels_last
from .tiles import Tile, tiles
from .weights import load

DEFAULT_MODEL = "light"
DOWNSCALERS = frozenset({"bicubic"})
"""Downscaling Modules whose planes the shipped weights were trained on."""


class CancelledError(Exception):
    """Raised between two tiles once `cancelled()` is true."""


class Reconstructor:
    """A model on a device. Used from one thread at a time.

    Args:
        model: from `load`; it is moved to `device`.
        device: "cpu", "cuda", "cuda:1" …
        batch: tiles of equal size that go through the network together.
    """

    def __init__(self, model: JointSR, device: str = "cpu", batch: int | None = None) -> None:
        self.device = torch.device(device)
        self.model = channels_last(model.to(self.device)).eval()
        self.batch = batch or 1

    def reconstruct(
        self,
        container: Container,
        region: Region | None = None,
        cancelled: Callable[[], bool] | None = None,
        planes: Planes | None = None,
    ) -> Image.Image:
        """The picture, or the `region` (x, y, width, height) of it in pixels.

        Args:
            cancelled: asked before every batch of tiles.
            planes: `container.decode_planes()`, where the caller has it already.

        Raises:
            IncompatibleModelError: the container's planes are of a kind that the model was not trained on.
            PlaneError: a plane does not decode.
            CancelledError: `cancelled()` was true.
            ValueError: the region is not inside the picture.
        """
        self._check(container)
        area = region or (0, 0, container.width, container.height)
        check_region(area, container.width, container.height)
        source = _Source(container, container.decode_planes() if planes is None else planes)
        x, y, width, height = area
        out = source.base[y : y + height, x : x + width].copy()
        pending: dict[tuple[int, int], list[Tile]] = {}
        grid, config = container.grid, self.model.config
        for tile in tiles(grid.padded_width, grid.padded_height, config.tile, config.halo, area):
            if not source.is_final(tile):
                same_size = pending.setdefault(tile.seen[2:], [])
                same_size.append(tile)
                if len(same_size) == self.batch:
                    self._run(source, pending.pop(tile.seen[2:]), out, area, cancelled)
        for rest in pending.values():
            self._run(source, rest, out, area, cancelled)
        return to_picture(out, container, area)

    def _check(self, container: Container) -> None:
        if not container.uses_network:
            return  # whatever the planes are, they are not read by the network
        if container.downscaler not in DOWNSCALERS:
            raise IncompatibleModelError(
                f"this model does not read planes of the downscaler '{container.downscaler}'"
            )
        others = sorted({plane.rate for plane in container.planes} - set(self.model.config.rates))
        if others:
            raise IncompatibleModelError(f"this model was not trained for blocks of rate {others[0]}")
        if not self.model.config.lossy and any(plane.error for plane in container.planes):
            raise IncompatibleModelError(
                "this model was trained on lossless planes only; 'preview' shows this container without a network"
            )

    def _run(
        self,
        source: _Source,
        batch: list[Tile],
        out: NDArray[np.uint8],
        area: Region,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        if cancelled is not None and cancelled():
            raise CancelledError
        canvas = stack([source.canvas(tile.seen) for tile in batch], self.device)
        with (
            torch.inference_mode(),
            torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"),
        ):
            correction = self.model.correction(canvas).float()
        for index, tile in enumerate(batch):
            left, top, wide, tall = _intersection(tile.core, area)
            rows = slice(top - tile.seen[1], top - tile.seen[1] + tall)
            columns = slice(left - tile.seen[0], left - tile.seen[0] + wide)
            picture = (canvas.base[index, :, rows, columns] + correction[index, :, rows, columns]) * 255
            pixels = picture.add_(0.5).clamp_(0, 255).byte().permute(1, 2, 0)
            out[top - area[1] : top - area[1] + tall, left - area[0] : left - area[0] + wide] = (
                pixels.cpu().numpy()
            )


def reconstruct_local(
    container: Container,
    *,
    model: str | None = None,
    region: Region | None = None,
    threads: int | None = None,
) -> Image.Image:
    """Reconstruct in this process, on the CPU or the GPU that is there (entry point of `bbmr-client --local`).

    A container that asks for no correction (an original, say) needs no weights, and none are loaded for it.

    Args:
        model: name of shipped weights; without it those that the container names.
        threads: CPU threads for torch.

    Raises:
        UnknownModelError, WeightsError: as `load`. Others as `Reconstructor.reconstruct`.
    """
    if model is None and not container.uses_network:
        return preview(container, region)
    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return _reconstructor(model or container.model or DEFAULT_MODEL, device).reconstruct(container, region)


@lru_cache(maxsize=2)
def _reconstructor(name: str, device: str) -> Reconstructor:
    return Reconstructor(load(name, device), device)


def stack(canvases: list[Canvas], device: torch.device) -> Canvas:
    """Canvases of one size as one batch on `device`."""
    return Canvas(*(torch.cat(parts).to(device) for parts in zip(*canvases, strict=True)))


class _Source:
    """The composited picture, from which tiles are cut."""

    def __init__(self, container: Container, planes: Mapping[int, NDArray[np.uint8]]) -> None:
        grid, rate_map = container.grid, container.rate_map
        levels = coarse_levels(planes, rate_map, grid)
        self.base = base(levels, planes, rate_map, grid)
        self._half, self._quarter = levels[2], levels[GRID]
        self._rate = grid.expand(rate_map, GRID)
        self._error = _expand_errors(container, grid)
        self._strength = grid.expand(container.strengths, GRID)

    def is_final(self, tile: Tile) -> bool:
        """Whether the network leaves the whole tile as it is."""
        cut = _cut(tile.core, GRID)
        exact = (self._rate[cut] == 1) & (self._error[cut] == 0)
        return bool((exact | (self._strength[cut] == 0)).all())

    def canvas(self, area: Region) -> Canvas:
        """What the network sees of `area` (multiples of 16), a batch of one on the CPU."""
        cut = _cut(area, GRID)
        return Canvas(
            base=_tensor(self.base[_cut(area, 1)], 255),
            half=_tensor(self._half[_cut(area, 2)], MAX_LEVEL),
            quarter=_tensor(self._quarter[cut], MAX_LEVEL),
            rate=torch.from_numpy(self._rate[cut].astype(np.int64))[None, None],
            error=torch.from_numpy(self._error[cut].astype(np.float32))[None, None],
            strength=torch.from_numpy(self._strength[cut].astype(np.float32) / FULL_STRENGTH)[None, None],
        )


def _expand_errors(container: Container, grid: BlockGrid) -> NDArray[np.uint8]:
    lookup = np.zeros(256, np.uint8)
    for plane in container.planes:
        lookup[plane.rate] = plane.error
    return grid.expand(lookup[container.rate_map], GRID)


def _tensor(samples: NDArray[np.generic], scale: float) -> torch.Tensor:
    """`[h, w, 3]` → float32 `[1, 3, h, w]` in 0 … 1."""
    planar = np.ascontiguousarray(samples.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planar)[None].div_(scale)


def _cut(area: Region, at: int) -> tuple[slice, slice]:
    x, y, width, height = area
    return slice(y // at, (y + height) // at), slice(x // at, (x + width) // at)


def _intersection(a: Region, b: Region) -> Region:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    return left, top, min(a[0] + a[2], b[0] + b[2]) - left, min(a[1] + a[3], b[1] + b[3]) - top
