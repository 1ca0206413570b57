"""Reconstruction in this process, with torch: a container and a model in, the picture out, tile by tile.

Memory holds two coarse levels of the composite, a band of the finest and the output; the rest depends on tile and batch
only.
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
    """Reconstructs with a model on a device. Used from one thread at a time.

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
        """Returns the picture, or its `region` (x, y, width, height) in pixels.

        Args:
            cancelled: called before every batch of tiles.
            planes: `container.decode_planes()`, if the caller has it already.

        Raises:
            IncompatibleModelError: the model was not trained on planes of this kind.
            PlaneError: a plane is damaged.
            CancelledError: `cancelled()` returned true.
            ValueError: the region is not inside the picture.
        """
        check_reads(self.model.config, container)
        area = area_of(container, region)
        source, output = TileSource(container, area, planes, self.model.config), OutputPixels(area)
        pending: dict[tuple[int, int], list[Tile]] = {}

        def run(batch: list[Tile]) -> None:
            if cancelled is not None and cancelled():
                raise CancelledError
            for tile, pixels in zip(batch, self.network.run([source.cut(one) for one in batch]), strict=True):
                output.put(tile, pixels)

        for tile in source.tiles:
            if source.is_final(tile):
                output.put(tile, source.base(tile.seen))
                continue
            same_size = pending.setdefault(tile.seen[2:], [])
            same_size.append(tile)
            if len(same_size) == self.batch:
                run(pending.pop(tile.seen[2:]))
        for rest in pending.values():
            run(rest)
        return output.picture(container)


def reconstruct_local(
    container: Container,
    *,
    model: str | None = None,
    region: Region | None = None,
    threads: int | None = None,
) -> Image.Image:
    """Reconstruct in this process, on a GPU if there is one (entry point of `bbmr-client --local`).

    No weights are loaded for a container that asks for no correction, such as an original.

    Args:
        model: name of shipped weights; None takes those that the container names.
        threads: CPU threads of torch; None leaves the number to torch.

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
