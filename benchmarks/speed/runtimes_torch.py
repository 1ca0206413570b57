"""The torch runtimes of `benchmarks.speed.runtimes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bbmr_models import load
from bbmr_models.inference.network import Network
from bbmr_models.inference.tile_input import TileInput
from bbmr_models.inference.torch_network import TorchNetwork
from bbmr_models.jointsr import Canvas, JointSR
from bbmr_shared.container import FULL_STRENGTH


def make_torch(kind: str, threads: int) -> Network:
    """Return the network of a torch kind."""
    torch.set_num_threads(threads)
    model = load("light")
    if kind == "plain":
        return PlainRuntime(model)
    if kind == "torch-frozen":
        return TorchScriptRuntime(model)
    if kind == "torch-autocast":
        return PlainRuntime(model, bfloat16=True)
    return TorchNetwork(model, bfloat16=kind == "torch", compile=kind == "torch-compiled")


class PlainRuntime:
    """`JointSR` as it is, in channels-last memory."""

    def __init__(self, model: JointSR, bfloat16: bool = False) -> None:
        self.config = model.config
        self._correct: Callable[..., Tensor] = model.correction
        self._bfloat16 = bfloat16

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        canvas = canvas_of(batch[0])
        with torch.inference_mode():
            with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
                correction = self._correct(canvas).float()
            picture = (canvas.base + correction).mul_(255).add_(0.5).clamp_(0, 255).byte()
            pixels: NDArray[np.uint8] = picture.permute(0, 2, 3, 1).contiguous().numpy()
        return pixels


class TorchScriptRuntime(PlainRuntime):
    """The same, traced: TorchScript packs the weights and fuses activations into the convolutions."""

    def __init__(self, model: JointSR) -> None:
        super().__init__(model)
        parts = torch.zeros(1, 3, 64, 64), *(torch.zeros(1, 4, 4) for _ in range(3))
        with torch.no_grad():
            traced = torch.jit.trace(_Correction(model), parts)
            frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))
        self._correct = lambda canvas: frozen(*_parts(canvas))


class _Correction(nn.Module):
    def __init__(self, model: JointSR) -> None:
        super().__init__()
        self.model = model

    def forward(self, *parts: Tensor) -> Tensor:
        return self.model.correction(Canvas(*parts))


def canvas_of(tile: TileInput) -> Canvas:
    """Return the input of `light` for a tile."""

    def cells(values: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(values)[None].float()

    planar = np.ascontiguousarray(tile.base.transpose(2, 0, 1)).astype(np.float32)
    base = torch.from_numpy(planar)[None].div_(255)
    strength = cells(tile.strength) / FULL_STRENGTH
    return Canvas(base, cells(tile.rate), cells(tile.error), strength)


def _parts(canvas: Canvas) -> tuple[Tensor, ...]:
    return tuple(part for part in canvas if part is not None)
