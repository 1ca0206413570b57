"""Runtimes: what runs a network on a device. In: `TileInput`s of one shape. Out: pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bbmr_shared.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH

from .config import JointSRConfig
from .tile_input import TileInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .jointsr import Canvas, JointSR


class Network(Protocol):
    """Weights that are ready to run on a device. Used from one thread at a time."""

    @property
    def config(self) -> JointSRConfig:
        """What the weights are."""

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`, of `N` tiles of one shape."""


class TorchNetwork:
    """A `Network` in PyTorch: float32 on the CPU, bfloat16 on CUDA.

    Args:
        model: from `load`; it is moved to `device`.
        device: "cpu", "cuda", "cuda:1" …
    """

    def __init__(self, model: JointSR, device: str = "cpu") -> None:
        import torch

        from .jointsr import channels_last

        self.device = torch.device(device)
        self.model = channels_last(model.to(self.device)).eval()

    @property
    def config(self) -> JointSRConfig:
        return self.model.config

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        import torch

        canvas = canvas_of(batch, self.device)
        with (
            torch.inference_mode(),
            torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"),
        ):
            picture = (canvas.base + self.model.correction(canvas).float()) * 255
            pixels = picture.add_(0.5).clamp_(0, 255).byte().permute(0, 2, 3, 1)
            out: NDArray[np.uint8] = pixels.cpu().numpy()
        return out


def load_network(name: str, data: bytes, device: str = "cpu") -> Network:
    """A network of a weights file's bytes; `name` is for messages.

    Raises:
        WeightsError: the file is none, or of another architecture. UsageError: the device is not there.
    """
    from .weights import build

    return TorchNetwork(build(name, data, device), device)


def canvas_of(batch: Sequence[TileInput], device: torch.device) -> Canvas:
    """Tiles of one shape as one canvas on `device`."""
    import torch

    from .jointsr import Canvas

    def levels(name: str, scale: float) -> Tensor:
        return torch.cat([_planar(getattr(tile, name), scale) for tile in batch]).to(device)

    def grid(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(tile, name) for tile in batch])).to(device)[:, None]

    return Canvas(
        base=levels("base", 255),
        half=levels("half", MAX_LEVEL),
        quarter=levels("quarter", MAX_LEVEL),
        rate=grid("rate").long(),
        error=grid("error").float(),
        strength=grid("strength").float() / FULL_STRENGTH,
    )


def _planar(samples: NDArray[np.generic], scale: float) -> Tensor:
    """`[h, w, 3]` → float32 `[1, 3, h, w]` in 0 … 1."""
    import torch

    planar = np.ascontiguousarray(samples.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planar)[None].div_(scale)
