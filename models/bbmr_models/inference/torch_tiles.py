"""What `TorchNetwork` computes: the fields of `TileInput` → pixels, with channels last.

Pictures and features are `[N, h, w, C]` from end to end. So folding a picture onto the HR/4 grid moves runs of twelve
values. The channels of the weights are put in that order when they are loaded.

If `light` computes in bfloat16, only its inner convolutions do; the stem, the sums over the blocks and the head stay in
float32. On 44 tiles of photographs, lossless and with coding errors, the correction then differed from float32 by at
most 0.33/255, which is at most one step of the picture; with everything in bfloat16 it was 0.73/255.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bbmr_models.backbone_network import FOLDED, HALF_FOLDED, BackboneNetwork
from bbmr_models.config import BACKBONE_GRID as GRID
from bbmr_models.jointsr import JointSR
from bbmr_models.unet import JointUNet
from bbmr_shared.compositing.composite import MAX_LEVEL
from bbmr_shared.container import FULL_STRENGTH
from bbmr_shared.grid import ALIGN, RATES


def tile_module(model: JointSR, bfloat16: bool) -> nn.Module:
    """Return the module for a network; with `bfloat16` it computes in bfloat16, of `light` only inner convolutions."""
    if isinstance(model, JointUNet):
        return _UNetTiles(model, bfloat16)
    assert isinstance(model, BackboneNetwork)
    return _BackboneTiles(model, bfloat16)


class _UNetTiles(nn.Module):
    """`light`: base, rate, error, strength, `[N, …]` each → `uint8 [N, H, W, 3]`."""

    def __init__(self, model: JointUNet, bfloat16: bool) -> None:
        super().__init__()
        self.low, self.model = bfloat16, model
        order = natural_order(model.grid)
        inputs = torch.arange(model.stem.in_channels)
        inputs[: len(order)] = order
        self.stem = reordered(model.stem, inputs)
        self.head = reordered(model.head, outputs=order)
        self.palette: Tensor
        self.register_buffer("palette", model.palette.flatten().to(torch.uint8))

    def forward(self, base: Tensor, rate: Tensor, error: Tensor, strength: Tensor) -> Tensor:
        grid = self.model.grid
        folded = fold(base, grid).float()
        x = folded.new_empty((*folded.shape[:3], self.stem.in_channels))
        colours = folded.shape[3]
        x[..., :colours] = folded / 255 - 0.5
        x[..., colours:-1] = expand(torch.eq(rate[..., None], self.palette), grid)
        x[..., -1:] = expand(self.model.log_errors[error.int()][..., None], grid)
        stem = self.stem(x.permute(0, 3, 1, 2))
        with torch.autocast(base.device.type, torch.bfloat16, enabled=self.low):
            features = self.model.features(stem)
        out = self.head(features.float()).permute(0, 2, 3, 1)
        return picture(folded, out, expand(gain(rate, error, strength), grid), grid)


class _BackboneTiles(nn.Module):
    """`omnisr`, `craft`: the same, and half and quarter."""

    def __init__(self, model: BackboneNetwork, bfloat16: bool) -> None:
        super().__init__()
        self.low = bfloat16
        fine, middle = natural_order(GRID), natural_order(GRID // 2)
        rest = torch.arange(3 + HALF_FOLDED + FOLDED, model.stem.in_channels)
        order = torch.cat((torch.arange(3), 3 + middle, 3 + HALF_FOLDED + fine, rest))
        self.stem = reordered(model.stem, order)
        self.backbone = model.backbone
        self.deblock: nn.Sequential | None = None
        if model.deblock is not None:
            first, *others = model.deblock.layers
            order = torch.cat((fine, torch.arange(FOLDED, FOLDED + len(RATES))))
            assert isinstance(first, nn.Conv2d)
            self.deblock = nn.Sequential(reordered(first, order), *others)
        self.head = reordered(model.head, outputs=fine)
        self.palette: Tensor
        self.register_buffer("palette", model.palette.flatten().to(torch.uint8))

    def forward(
        self, base: Tensor, rate: Tensor, error: Tensor, strength: Tensor, half: Tensor, quarter: Tensor
    ) -> Tensor:
        folded = fold(base, GRID).float()
        one_hot = expand(torch.eq(rate[..., None], self.palette), GRID)
        known = expand(rate[..., None], GRID), expand(error[..., None], GRID)
        with torch.autocast(folded.device.type, torch.bfloat16, enabled=self.low):
            stem = self.stem(_stem_input(folded, half, quarter, *known, one_hot))
            features = stem + self.backbone(stem)
            if self.deblock is not None:
                features = features + self.deblock(self._deblock_input(folded, one_hot))
            out: Tensor = self.head(features)
        correction = out.float().permute(0, 2, 3, 1)
        return picture(folded, correction, expand(gain(rate, error, strength), GRID), GRID)

    def _deblock_input(self, folded: Tensor, one_hot: Tensor) -> Tensor:
        dtype = torch.bfloat16 if self.low else torch.float32
        x = folded.new_empty((*folded.shape[:3], FOLDED + len(RATES)), dtype=dtype)
        x[..., :FOLDED] = folded / 255 - 0.5
        x[..., FOLDED:] = one_hot
        return x.permute(0, 3, 1, 2)


def gain(rate: Tensor, error: Tensor, strength: Tensor) -> Tensor:
    """What the correction is multiplied with for 8-bit steps, `[N, H/16, W/16]` → `[N, H/16, W/16, 1]`."""
    changed = (rate > 1) | (error > 0)
    return (changed * (strength.float() * (255 / FULL_STRENGTH)))[..., None]


def picture(folded: Tensor, correction: Tensor, gain: Tensor, grid: int) -> Tensor:
    """The folded base plus the correction times `gain`, rounded: `[N, h, w, grid² · 3]` → `uint8 [N, H, W, 3]`."""
    n, h, w, _ = folded.shape
    pixels = torch.addcmul(folded.add_(0.5), correction, gain).clamp_(0, 255).byte()
    return pixels.view(n, h, w, grid, grid, 3).transpose(2, 3).reshape(n, h * grid, w * grid, 3)


def expand(cells: Tensor, grid: int) -> Tensor:
    """`[N, H/16, W/16, C]` → `[N, H/grid, W/grid, C]`."""
    times = ALIGN // grid
    return cells.repeat_interleave(times, 1).repeat_interleave(times, 2)


def fold(picture: Tensor, times: int) -> Tensor:
    """`[N, H, W, 3]` → `[N, H / times, W / times, times² · 3]`: row, column, colour of each square."""
    n, height, width, _ = picture.shape
    squares = picture.reshape(n, height // times, times, width // times, times * 3)
    return squares.transpose(2, 3).reshape(n, height // times, width // times, times * times * 3)


def natural_order(times: int) -> Tensor:
    """For each channel of `fold`, the index of the same samples in `pixel_unshuffle`: colour, row, column."""
    return torch.arange(3 * times * times).view(3, times * times).t().flatten()


def reordered(
    layer: nn.Conv2d, inputs: Tensor | slice = slice(None), outputs: Tensor | slice = slice(None)
) -> nn.Conv2d:
    """A copy of a convolution with its channels in another order."""
    weight = layer.weight.detach()[outputs][:, inputs]
    new = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, device=weight.device)
    new.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    assert layer.bias is not None
    new.bias = nn.Parameter(layer.bias.detach()[outputs].clone(), requires_grad=False)
    return new


def _stem_input(
    folded: Tensor, half: Tensor, quarter: Tensor, rate: Tensor, error: Tensor, one_hot: Tensor
) -> Tensor:
    """The stem's input as in `BackboneNetwork`, `[N, 69, h, w]` in channels-last memory."""
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
