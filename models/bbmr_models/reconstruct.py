"""Reconstruction in this process: a container and a network in, the picture out, tile by tile.

Memory holds the coarse levels of the composite, a band of the finest and the output; the rest depends on tile and batch
only. Importing this module does not import torch; `reconstruct_local` needs it only for weights that ncnn does not run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from bbmr_models.inference.network import Network, load_network
from bbmr_models.inference.tile_input import OutputPixels, TileSource, area_of
from bbmr_models.inference.tiles import Tile
from bbmr_shared.compositing.composite import DecodedPlanes, preview
from bbmr_shared.compositing.region import Region
from bbmr_shared.container import Container
from bbmr_shared.errors import UsageError

from .cards import read
from .config import check_reads

if TYPE_CHECKING:
    from .jointsr import JointSR

DEFAULT_MODEL = "light"
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Under Linux one of these exists where a driver of NVIDIA, AMD or WSL is loaded."""


class CancelledError(Exception):
    """Raised between two tiles once `cancelled()` is true."""


def reconstruct_with(
    network: Network,
    container: Container,
    region: Region | None = None,
    cancelled: Callable[[], bool] | None = None,
    planes: DecodedPlanes | None = None,
    batch: int = 1,
) -> Image.Image:
    """Returns the picture, or its `region` (x, y, width, height) in pixels.

    Args:
        network: from `load_network`.
        cancelled: called before every batch of tiles.
        planes: `container.decode_planes()`, if the caller has it already.
        batch: tiles of equal size that go through the network together.

    Raises:
        IncompatibleModelError: the model was not trained on planes of this kind.
        PlaneError: a plane is damaged.
        CancelledError: `cancelled()` returned true.
        ValueError: the region is not inside the picture.
    """
    check_reads(network.config, container)
    area = area_of(container, region)
    source, output = TileSource(container, area, planes, network.config), OutputPixels(area)
    pending: dict[tuple[int, int], list[Tile]] = {}

    def run(some: list[Tile]) -> None:
        if cancelled is not None and cancelled():
            raise CancelledError
        for tile, pixels in zip(some, network.run([source.cut(one) for one in some]), strict=True):
            output.put(tile, pixels)

    for tile in source.tiles:
        if source.is_final(tile):
            output.put(tile, source.base(tile.seen))
            continue
        same_size = pending.setdefault(tile.seen[2:], [])
        same_size.append(tile)
        if len(same_size) == batch:
            run(pending.pop(tile.seen[2:]))
    for rest in pending.values():
        run(rest)
    return output.picture(container)


class Reconstructor:
    """Reconstructs with a model in torch, on a device. Used from one thread at a time.

    Args:
        model: from `load`; it is moved to `device`.
        device: "cpu", "cuda", "cuda:1" …
        batch: tiles of equal size that go through the network together.
    """

    def __init__(self, model: JointSR, device: str = "cpu", batch: int | None = None) -> None:
        from .inference.torch_network import TorchNetwork

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
        """As `reconstruct_with`."""
        return reconstruct_with(self.network, container, region, cancelled, planes, self.batch)


def reconstruct_local(
    container: Container,
    *,
    model: str | None = None,
    region: Region | None = None,
    threads: int | None = None,
) -> Image.Image:
    """Reconstruct in this process (entry point of `bbmr-client --local`).

    It runs on a GPU if torch finds one, and otherwise in ncnn where that is installed and runs the weights. No weights
    are loaded for a container that asks for no correction, such as an original.

    Args:
        model: name of shipped weights; None takes those that the container names.
        threads: CPU threads; None leaves the number to the runtime.

    Raises:
        UnknownModelError, WeightsError: as `cards.read`. UsageError: no runtime is installed that runs the weights.
        Others as `reconstruct_with`.
    """
    if model is None and not container.uses_network:
        return preview(container, region)
    return reconstruct_with(
        _network(model or container.model or DEFAULT_MODEL, threads or 0), container, region
    )


@lru_cache(maxsize=2)
def _network(name: str, threads: int) -> Network:
    data, card = read(name)
    light, ncnn, has_torch = (
        card.config.backbone == "light",
        find_spec("ncnn") is not None,
        find_spec("torch") is not None,
    )
    if has_torch and may_have_gpu():
        import torch

        if torch.cuda.is_available():
            return load_network(name, data, "cuda", threads=threads)
    if light and ncnn:
        # Where the processor computes in bfloat16, torch is as fast, but takes seconds to import.
        return load_network(name, data, runtime="ncnn", threads=threads)
    if has_torch:
        return load_network(name, data, runtime="torch", threads=threads)
    missing = "ncnn" if light else "torch"
    raise UsageError(
        f"to reconstruct with the weights '{name}' on this machine, install {missing}: "
        f"pip install '.[{'local' if light else 'server'}]' in a checkout; or use --server URL"
    )


def may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes seconds, to look for a GPU."""
    return sys.platform != "linux" or any(Path(device).exists() for device in GPU_DEVICES)
