"""The Upscaling Module: a container and a model become the picture, tile by tile.

In: `Container`, `JointSR`. Out: `PIL.Image`. Of the composite there are two coarse levels and a band of the finest at a
time; beyond that and the output, memory depends on tile and batch only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from PIL import Image

from bbmr_models.inference.tile_input import OutputPixels, TileSource, area_of
from bbmr_models.inference.tiles import Tile
from bbmr_models.inference.torch_network import TorchNetwork
from bbmr_shared.compositing.composite import DecodedPlanes, preview
from bbmr_shared.compositing.region import Region
from bbmr_shared.container import Container

from .config import check_reads
from .jointsr import JointSR
from .weights import load

DEFAULT_MODEL = "light"


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
        self.network = TorchNetwork(model, device)
        self.model = self.network.model
        self.device = self.network.device
        self.batch = batch or 1

    def reconstruct(
        self,
        container: Container,
        region: Region | None = None,
        cancelled: Callable[[], bool] | None = None,
        planes: DecodedPlanes | None = None,
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
        check_reads(self.model.config, container)
        area = area_of(container, region)
        source, target = TileSource(container, area, planes, self.model.config), OutputPixels(area)
        pending: dict[tuple[int, int], list[Tile]] = {}

        def run(batch: list[Tile]) -> None:
            if cancelled is not None and cancelled():
                raise CancelledError
            for tile, pixels in zip(batch, self.network.run([source.cut(one) for one in batch]), strict=True):
                target.put(tile, pixels)

        for tile in source.tiles:
            if source.is_final(tile):
                target.put(tile, source.base(tile.seen))
                continue
            same_size = pending.setdefault(tile.seen[2:], [])
            same_size.append(tile)
            if len(same_size) == self.batch:
                run(pending.pop(tile.seen[2:]))
        for rest in pending.values():
            run(rest)
        return target.picture(container)


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
