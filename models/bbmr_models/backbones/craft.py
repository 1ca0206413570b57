"""CRAFT, the cross-refinement adaptive feature modulation transformer (Li et al., ICCV 2023), as a backbone.

In and out: features `[N, C, h, w]` on the HR/4 grid. In every block low frequencies (attention in shifted rectangular
windows) and high frequencies (a convolution and a maximum) refine each other. Inside, features are `[N, h, w, C]`.

The published network adds a learned position bias to the attention in windows. Its table is the output of layer norms
over C // 32 numbers. Over one number (C < 64; the paper has 48) such a norm is constant, and a constant does not
change a softmax. So this code has no such bias, and gives the same results.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .craft_reference import from_reference
from .linear import Linear, linear
from .parts import (
    Conv3,
    Depthwise,
    GatedFeedForward,
    by_strips,
    channel_mix,
    channel_products,
    pad_to,
    split_rows,
)
from .rectangles import rectangle_attention

__all__ = ["Craft", "from_reference", "hyperparameters"]

DEPTH = 2
"""Blocks per group."""
HEADS = 6
"""Heads of the channel attention. In the windows each half of the channels has half of them."""
RECTANGLE = (4, 16)
"""Height and width in samples of the windows of one half of the channels; for the other half they are swapped."""
EXPANSION = 2.66
"""Hidden channels per channel in the gated feed-forward."""


class Craft(nn.Module):
    """`[N, channels, h, w]` → the same shape, any h and w: the body without its outer skip.

    `blocks` is the number of residual groups (4 in the paper). `radius` is None: the channel attention uses
    the whole input.

    Raises:
        ValueError: if `channels` is not a multiple of 6, or not below 64.
    """

    radius: int | None = None

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        if channels % HEADS or not 0 < channels < 64:
            raise ValueError(f"CRAFT needs a multiple of {HEADS} channels below 64, not {channels}")
        self.groups = nn.ModuleList(_Group(channels) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels)
        self.conv = Conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        side = max(RECTANGLE)
        x = pad_to(x.permute(0, 2, 3, 1).contiguous(), side)
        for group in self.groups:
            x = group(x)
        return self.conv(self.norm(x)).permute(0, 3, 1, 2)[..., :h, :w]


class _Group(nn.Module):
    """Residual cross-refinement fusion group (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(DEPTH))
        self.conv = Conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for block in self.blocks:
            out = block(out)
        return x + self.conv(out)


class _Block(nn.Module):
    """Low frequencies by two attentions in windows, the second of them shifted; high ones; then their fusion."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.low = nn.Sequential(_WindowAttention(channels, False), _WindowAttention(channels, True))
        self.high = _HighFrequencies(channels)
        self.fusion = _Fusion(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fusion(self.low(x), self.high(x))
        return out


class _WindowAttention(nn.Module):
    """Shifted rectangular window attention with a local complement, then a feed-forward (section 3.4).

    Windows wrap around the edges without a mask, as published.
    """

    def __init__(self, channels: int, shifted: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = Linear(channels, 3 * channels)
        self.local = Depthwise(channels, bias=True)
        self.proj = Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(Linear(channels, 2 * channels), nn.GELU(), Linear(2 * channels, channels))
        self.shifted = shifted

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        return by_strips(self._strip, x, normed, *self._attend(normed), halo=1)

    def _strip(self, x: Tensor, normed: Tensor, left: Tensor, right: Tensor, keep: slice) -> Tensor:
        channels = x.shape[-1]
        local = self.local(linear(normed, self.qkv.weight[2 * channels :], self.qkv.bias[2 * channels :]))
        attended = torch.cat((left[:, keep], right[:, keep]), -1) + local[:, keep]
        x = x[:, keep] + self.proj(attended)
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: Tensor) -> list[Tensor]:
        """Return the attended left and right half of the channels, each `[N, h, w, C/2]`."""
        d = x.shape[-1] // HEADS
        scale = torch.ones(3, 1, device=x.device)
        scale[0] = d**-0.5
        weight = self.qkv.weight.view(3, 2, -1, x.shape[-1]) * scale[..., None, None]
        bias = self.qkv.bias.view(3, 2, -1) * scale[..., None]
        out = []
        for half, (high, wide) in enumerate((RECTANGLE, RECTANGLE[::-1])):
            shift = (high // 2, wide // 2) if self.shifted else (0, 0)
            out.append(
                rectangle_attention(
                    x, weight[:, half].flatten(0, 1), bias[:, half].flatten(), HEADS // 2, (high, wide), shift
                )
            )
        return out


class _HighFrequencies(nn.Module):
    """High-frequency enhancement residual block: a convolution beside a sharpening maximum (section 3.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv3(channels // 2, channels // 2)
        self.point = Linear(channels // 2, channels // 2)
        self.last = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return by_strips(self._strip, x, halo=1)

    def _strip(self, x: Tensor, keep: slice) -> Tensor:
        left, right = x.chunk(2, -1)
        greatest = F.max_pool2d(right.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
        out = torch.cat((self.conv(left)[:, keep], self.point(greatest[:, keep])), -1)
        return x[:, keep] + self.last(F.gelu(out))


class _Fusion(nn.Module):
    """Hybrid fusion block (section 3.5): attention between channels; the high frequencies are the queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.q = Linear(channels, channels, bias=False)
        self.q_local = Depthwise(channels, bias=False)
        self.kv = Linear(channels, 2 * channels, bias=False)
        self.kv_local = Depthwise(2 * channels, bias=False)
        self.proj = Linear(channels, channels, bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = _FeedForward(channels, int(channels * EXPANSION))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        sums, values = [], []
        for read, keep, _ in split_rows(low, halo=1):
            q = self.q_local(self.q(high[:, read]))[:, keep].flatten(1, 2)
            k, v = self.kv_local(self.kv(self.norm1(low[:, read])))[:, keep].chunk(2, -1)
            sums.append(channel_products(q, k.flatten(1, 2)))
            values.append(v)
        products, q2, k2 = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
        mix = channel_mix(products, q2, k2, self.temperature, self.proj.weight)
        v = values[0] if len(values) == 1 else torch.cat(values, 1)

        def rest(low: Tensor, v: Tensor, keep: slice) -> Tensor:
            low = low + torch.bmm(v.flatten(1, 2), mix.to(v.dtype)).view_as(low)
            return low[:, keep] + self.ffn(self.norm2(low), keep)

        return by_strips(rest, low, v, halo=1)


class _FeedForward(GatedFeedForward):
    """The gated feed-forward, padded with zero channels to a multiple of 16 in each half.

    The depthwise convolution takes twice as long with 2 · 127 channels as with 2 · 128.
    """

    def forward(self, x: Tensor, keep: slice = slice(None)) -> Tensor:
        hidden = self.project_out.in_features
        more = -hidden % 16
        expand = F.pad(self.project_in.weight.unflatten(0, (2, hidden)), (0, 0, 0, more)).flatten(0, 1)
        kernels = F.pad(self.depthwise.weight.view(2, hidden, 1, 9), (0, 0, 0, 0, 0, more)).view(-1, 1, 3, 3)
        wide = linear(x, expand).permute(0, 3, 1, 2)
        kernels = kernels.contiguous(memory_format=torch.channels_last)
        wide = F.conv2d(wide, kernels, padding=1, groups=len(kernels)).permute(0, 2, 3, 1)
        gate, value = wide[:, keep].chunk(2, -1)
        return linear(F.gelu(gate) * value, F.pad(self.project_out.weight, (0, more)))


def hyperparameters(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return (channels, blocks) of a state dict of `Craft`."""
    groups = {key.split(".")[1] for key in state if key.startswith("groups.")}
    return state["norm.weight"].shape[0], len(groups)
