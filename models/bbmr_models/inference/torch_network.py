"""The network in PyTorch, on a CPU or a GPU: `JointSR.correction` with channels last.

Pictures and features are `[N, h, w, C]` from end to end. So folding a picture onto the HR/4 grid moves runs of twelve
values. The channels of the weights are put in that order when they are loaded.

If `light` computes in bfloat16, only its inner convolutions do; the stem, the sums over the blocks and the head stay in
float32. On thirty containers of photographs the correction then differed from float32 by at most 0.47/255, which is at
most one step of the picture; with everything in bfloat16 it was 1.55/255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bbmr_models.config import GRID, JointSRConfig
from bbmr_models.jointsr import FOLDED, HALF_FOLDED, JointSR, channels_last
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.grid import RATES

from .tile_input import TileInput


class TorchNetwork:
    """A `Network` in PyTorch. Used from one thread at a time.

    Args:
        model: from `load`; it is moved to `device`.
        device: "cpu", "cuda", "cuda:1" …
        bfloat16: whether to compute in bfloat16 (of `light` only the inner convolutions); None does so on a GPU.
        compile: whether torch compiles the network, once for every shape of a batch.
    """

    def __init__(
        self, model: JointSR, device: str = "cpu", bfloat16: bool | None = None, compile: bool = False
    ) -> None:
        self.device = torch.device(device)
        self.model = channels_last(model.to(self.device)).eval()
        self.bfloat16 = self.device.type == "cuda" if bfloat16 is None else bfloat16
        network = _TileModule(self.model, self.bfloat16).eval()
        self._network: Callable[..., Tensor] = torch.compile(network, dynamic=False) if compile else network

    @property
    def config(self) -> JointSRConfig:
        return self.model.config

    def run(self, batch: Sequence[TileInput]) -> NDArray[np.uint8]:
        """The corrected tiles, `uint8 [N, H, W, 3]`."""
        parts = (self._tensor(batch, name) for name in TileInput.__dataclass_fields__)
        with torch.inference_mode():
            pixels: NDArray[np.uint8] = self._network(*parts).cpu().numpy()
        return pixels

    def _tensor(self, batch: Sequence[TileInput], name: str) -> Tensor:
        together = torch.from_numpy(np.stack([getattr(tile, name) for tile in batch]))
        if self.device.type != "cuda":
            return together
        return together.pin_memory().to(self.device, non_blocking=True)


class _TileModule(nn.Module):
    """The fields of `TileInput`, `[N, …]` each → `uint8 [N, H, W, 3]`."""

    def __init__(self, model: JointSR, bfloat16: bool) -> None:
        super().__init__()
        self.low = bfloat16
        self.light = model.config.backbone == "light"
        fine, middle = natural_order(GRID), natural_order(GRID // 2)
        rest = torch.arange(3 + HALF_FOLDED + FOLDED, model.stem.in_channels)
        self.stem = _reordered(
            model.stem, torch.cat((torch.arange(3), 3 + middle, 3 + HALF_FOLDED + fine, rest))
        )
        self.backbone = model.backbone
        self.deblock: nn.Sequential | None = None
        if model.deblock is not None:
            first, *others = model.deblock.layers
            order = torch.cat((fine, torch.arange(FOLDED, FOLDED + len(RATES))))
            assert isinstance(first, nn.Conv2d)
            self.deblock = nn.Sequential(_reordered(first, order), *others)
        self.head = _reordered(model.head, outputs=fine)
        self.palette: Tensor
        self.register_buffer("palette", model.palette.flatten().to(torch.uint8))

    def forward(
        self, base: Tensor, half: Tensor, quarter: Tensor, rate: Tensor, error: Tensor, strength: Tensor
    ) -> Tensor:
        n, h, w = rate.shape
        folded = fold(base, GRID).float()
        rate, error = rate[..., None], error[..., None]
        one_hot = torch.eq(rate, self.palette)
        out = self._correction(folded, half, quarter, rate, error, one_hot)
        gain = ((rate > 1) | (error > 0)) * (strength[..., None].float() * (255 / FULL_STRENGTH))
        picture = torch.addcmul(folded.add_(0.5), out, gain).clamp_(0, 255).byte()
        return picture.view(n, h, w, GRID, GRID, 3).transpose(2, 3).reshape(base.shape)

    def _correction(
        self, folded: Tensor, half: Tensor, quarter: Tensor, rate: Tensor, error: Tensor, one_hot: Tensor
    ) -> Tensor:
        """The correction, `[N, h, w, 48]`."""
        where = folded.device.type
        with torch.autocast(where, torch.bfloat16, enabled=self.low and not self.light):
            stem = self.stem(_stem_input(folded, half, quarter, rate, error, one_hot))
        with torch.autocast(where, torch.bfloat16, enabled=self.low):
            features = stem + self.backbone(stem)
            if self.deblock is not None:
                features = features + self.deblock(self._deblock_input(folded, one_hot))
        with torch.autocast(where, torch.bfloat16, enabled=self.low and not self.light):
            out: Tensor = self.head(features)
        return out.float().permute(0, 2, 3, 1)

    def _deblock_input(self, folded: Tensor, one_hot: Tensor) -> Tensor:
        dtype = torch.bfloat16 if self.low else torch.float32
        x = folded.new_empty((*folded.shape[:3], FOLDED + len(RATES)), dtype=dtype)
        x[..., :FOLDED] = folded / 255 - 0.5
        x[..., FOLDED:] = one_hot
        return x.permute(0, 3, 1, 2)


def fold(picture: Tensor, times: int) -> Tensor:
    """`[N, H, W, 3]` → `[N, H / times, W / times, times² · 3]`: row, column, colour of each square."""
    n, height, width, _ = picture.shape
    squares = picture.reshape(n, height // times, times, width // times, times * 3)
    return squares.transpose(2, 3).reshape(n, height // times, width // times, times * times * 3)


def natural_order(times: int) -> Tensor:
    """For each channel of `fold`, the index of the same samples in `pixel_unshuffle`: colour, row, column."""
    return torch.arange(3 * times * times).view(3, times * times).t().flatten()


def _stem_input(
    folded: Tensor, half: Tensor, quarter: Tensor, rate: Tensor, error: Tensor, one_hot: Tensor
) -> Tensor:
    """The stem's input as in `JointSR`, `[N, 69, h, w]` in channels-last memory."""
    detail, known = 3 + HALF_FOLDED, 3 + HALF_FOLDED + FOLDED
    x = folded.new_empty((*folded.shape[:3], known + len(RATES) + 1))
    coarse = quarter.float() / MAX_LEVEL
    x[..., :3] = coarse - 0.5
    middle = fold(half, GRID // 2).float() / MAX_LEVEL - coarse.repeat(1, 1, 1, (GRID // 2) ** 2)
    x[..., 3:detail] = middle * (rate <= 2)
    x[..., detail:known] = (folded / 255 - coarse.repeat(1, 1, 1, GRID**2)) * (rate == 1)
    x[..., known:-1] = one_hot
    x[..., -1:] = error.float() / 128
    return x.permute(0, 3, 1, 2)


def _reordered(
    layer: nn.Conv2d, inputs: Tensor | slice = slice(None), outputs: Tensor | slice = slice(None)
) -> nn.Conv2d:
    """A copy of a convolution with its channels in another order."""
    weight = layer.weight.detach()[outputs][:, inputs]
    new = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, device=weight.device)
    new.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    assert layer.bias is not None
    new.bias = nn.Parameter(layer.bias.detach()[outputs].clone(), requires_grad=False)
    return new
