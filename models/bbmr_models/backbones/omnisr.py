"""Omni-SR's body as a backbone (Wang et al., "Omni Aggregation Networks for Lightweight Image Super-Resolution", CVPR
2023): groups of a local block, attention in windows and over a grid, each between samples and between channels.

It computes the same as the published network without its first convolution, outer skip and upsampler. The code is new:
it uses one layout, `[N, h, w, C]`, throughout.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear
from .omnisr_reference import from_reference
from .parts import (
    Conv3,
    Depthwise,
    GatedFeedForward,
    by_strips,
    channel_attention,
    channel_mix,
    channel_products,
    from_phases,
    from_windows,
    pad_to,
    split_rows,
    to_phases,
    to_windows,
)

__all__ = ["OmniSR", "from_reference", "hyperparameters"]

WINDOW = 8
HEADS = 4
LEAST = 16
"""Smallest side in samples that the pooling of the enhanced spatial attention accepts."""
CONV_EPS, TOKEN_EPS = 1e-6, 1e-5
"""The two layer norms of the published network have different values."""


class OmniSR(nn.Module):
    """`[N, channels, H/4, W/4]` → the same shape; `channels` a multiple of 16, `blocks` groups.

    One output sample depends on the whole tile: on means, and on samples spread across it.
    """

    radius: int | None = None

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.groups = nn.ModuleList(_Group(channels) for _ in range(blocks))
        self.out = Conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        _, _, h, w = x.shape
        x = pad_to(x.permute(0, 2, 3, 1).contiguous(), WINDOW, LEAST)
        for group in self.groups:
            x = group(x)
        out: Tensor = self.out(x)[:, :h, :w].permute(0, 3, 1, 2)
        return out


class _Group(nn.Module):
    """A local block, attention in windows, attention over the grid, skip, enhanced spatial attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = _Local(channels)
        self.window = _SpatialAttention(channels, grid=False)
        self.window_forward = _FeedForward(channels)
        self.window_channel = _ChannelAttention(channels, grid=False)
        self.window_channel_forward = _FeedForward(channels)
        self.grid = _SpatialAttention(channels, grid=True)
        self.grid_forward = _FeedForward(channels)
        self.grid_channel = _ChannelAttention(channels, grid=True)
        self.grid_channel_forward = _FeedForward(channels)
        self.project = Linear(channels, channels)
        self.enhance = _EnhancedSpatialAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.local(x)
        out = self.window_channel_forward(self.window_channel(self.window_forward(self.window(out))))
        out = self.grid_channel_forward(self.grid_channel(self.grid_forward(self.grid(out))))
        out = by_strips(lambda out, x, _: x + self.project(out), out, x)
        enhanced: Tensor = self.enhance(out)
        return enhanced


class _Local(nn.Module):
    """1×1, depthwise 3×3, squeeze and excitation over the whole tile, 1×1, skip (MBConv without expansion)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = Linear(channels, channels)
        self.depthwise = Depthwise(channels, bias=True)
        self.squeeze = nn.Linear(channels, channels // 4, bias=False)
        self.excite = nn.Linear(channels // 4, channels, bias=False)
        self.project = Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = by_strips(self._before, x, halo=1)
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(inner.mean((1, 2))))))[:, None, None]
        return by_strips(lambda inner, x, _: x + self.project(inner * gate), inner, x)

    def _before(self, x: Tensor, keep: slice) -> Tensor:
        return F.gelu(self.depthwise(F.gelu(self.expand(x)))[:, keep])


class _FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, CONV_EPS)
        self.inner = GatedFeedForward(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return by_strips(self._strip, x, halo=1)

    def _strip(self, x: Tensor, keep: slice) -> Tensor:
        return x[:, keep] + self.inner(self.norm(x), keep)


class _SpatialAttention(nn.Module):
    """Attention among the 64 samples of a window, or of a grid of 8×8 samples spread evenly over the tile."""

    def __init__(self, channels: int, grid: bool) -> None:
        super().__init__()
        self.over_grid = grid
        self.norm = nn.LayerNorm(channels, TOKEN_EPS)
        self.qkv = Linear(channels, 3 * channels, bias=False)
        self.project = Linear(channels, channels, bias=False)
        self.bias = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, HEADS))
        self.index: Tensor
        self.register_buffer("index", _relative_positions(WINDOW), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        bias = self.bias[self.index].permute(2, 0, 1)
        if not self.over_grid:
            return by_strips(lambda rows, _: self._windows(rows, bias), x)
        # The rows of a grid lie h/8 apart. As [N, h/8, 8, w, C] they are neighbours and fit into one strip.
        folded = x.view(n, WINDOW, h // WINDOW, w, c).transpose(1, 2)
        out = by_strips(lambda rows, _: self._grids(rows, bias), folded, multiple=1)
        return out.transpose(1, 2).reshape(n, h, w, c)

    def _windows(self, x: Tensor, bias: Tensor) -> Tensor:
        n, h, w, _ = x.shape
        return from_windows(self._attend(to_windows(x, WINDOW), bias), WINDOW, (n, h, w))

    def _grids(self, x: Tensor, bias: Tensor) -> Tensor:
        """`[N, m, 8, w, C]`, m grids' rows each, to the same."""
        n, m, _, w, c = x.shape
        tokens = x.reshape(n, m, WINDOW, WINDOW, w // WINDOW, c).permute(0, 1, 4, 2, 3, 5)
        out = self._attend(tokens.reshape(-1, WINDOW * WINDOW, c), bias)
        return out.view(n, m, w // WINDOW, WINDOW, WINDOW, c).permute(0, 1, 3, 4, 2, 5).reshape(x.shape)

    def _attend(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """`[B, 64, C]` → the same, with the skip added."""
        b, length, c = tokens.shape
        qkv = self.qkv(self.norm(tokens)).view(b, length, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        if tokens.device.type == "cpu" and torch.is_grad_enabled():
            # The fused kernel for CPUs has no gradient for the bias. torch's fallback also checks for fully masked
            # rows, which do not occur here.
            q, k, v = qkv.contiguous().flatten(1, 2)
            scores = torch.bmm(q * (c // HEADS) ** -0.5, k.transpose(1, 2)).view(b, HEADS, length, length)
            scores = torch.softmax(scores.add_(bias), -1)
            out = torch.bmm(scores.flatten(0, 1), v).view(b, HEADS, length, -1)
        else:
            # 510 windows on one core of an EPYC take 16 ms; by copies, products and softmax 21 ms. With a bias of three
            # dimensions instead of four torch does not use the fused kernel: 68 ms.
            q, k, v = qkv
            out = F.scaled_dot_product_attention(q, k, v, bias[None].to(q.dtype))
        return tokens + self.project(out.transpose(1, 2).flatten(2))


class _ChannelAttention(nn.Module):
    """Attention between channels within each window, or within each of 64 sets of samples 8 apart."""

    def __init__(self, channels: int, grid: bool) -> None:
        super().__init__()
        self.over_grid = grid
        self.norm = nn.LayerNorm(channels, CONV_EPS)
        self.qkv = Linear(channels, 3 * channels, bias=False)
        self.depthwise = Depthwise(3 * channels, bias=False)
        self.temperature = nn.Parameter(torch.ones(HEADS))
        self.project = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.over_grid:
            return by_strips(self._windows, x, halo=1)
        return self._phases(x)

    def _windows(self, x: Tensor, keep: slice) -> Tensor:
        qkv = self.depthwise(self.qkv(self.norm(x)))[:, keep]
        q, k, v = to_windows(qkv, WINDOW).chunk(3, -1)
        out = channel_attention(q, k, v, self.temperature, self.project.weight)
        n, h, w, _ = qkv.shape
        return x[:, keep] + from_windows(out, WINDOW, (n, h, w))

    def _phases(self, x: Tensor) -> Tensor:
        """Sum the products strip by strip, then mix the values with the complete products."""
        n, _, w, _ = x.shape
        steps = (WINDOW, WINDOW)
        sums: list[tuple[Tensor, ...]] = []
        values = []
        for read, keep, wanted in split_rows(x, halo=1):
            qkv = to_phases(self.depthwise(self.qkv(self.norm(x[:, read])))[:, keep], steps)
            q, k, v = qkv.chunk(3, -1)
            sums.append(channel_products(q, k))
            values.append((v.contiguous(), wanted))
        products, q2, k2 = (sum(parts[1:], parts[0]) for parts in zip(*sums, strict=True))
        weight = channel_mix(products, q2, k2, self.temperature, self.project.weight).to(v.dtype)
        if len(values) == 1:
            return x + from_phases(torch.bmm(v, weight), steps, (n, x.shape[1], w))
        out = torch.empty_like(x)
        for v, rows in values:
            mixed = from_phases(torch.bmm(v, weight), steps, (n, rows.stop - rows.start, w))
            torch.add(x[:, rows], mixed, out=out[:, rows])
        return out


class _EnhancedSpatialAttention(nn.Module):
    """A mask from coarse features of the whole tile (ESA, Residual Feature Aggregation Network, CVPR 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = max(channels // 4, 16)
        self.reduce = Linear(channels, width)
        self.fine = Linear(width, width)
        self.shrink = nn.Conv2d(width, width, 3, stride=2)
        self.coarse = nn.Conv2d(width, width, 3, padding=1)
        self.restore = Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        coarse = F.max_pool2d(self.shrink(reduced.permute(0, 3, 1, 2)), 7, 3)
        coarse = F.interpolate(self.coarse(coarse), x.shape[1:3], mode="bilinear", align_corners=False)
        guide = coarse.permute(0, 2, 3, 1) + self.fine(reduced)
        return by_strips(lambda x, guide, _: x * torch.sigmoid(self.restore(guide)), x, guide)


def _relative_positions(size: int) -> Tensor:
    """Return for every pair of samples of a window the row of the bias table, `[size², size²]`."""
    place = torch.arange(size)
    rows, columns = (axis.reshape(-1) for axis in torch.meshgrid(place, place, indexing="ij"))
    down, right = rows[:, None] - rows + size - 1, columns[:, None] - columns + size - 1
    return down * (2 * size - 1) + right


def hyperparameters(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return (channels, blocks) of a state dict of `OmniSR`."""
    groups = {key.split(".")[1] for key in state if key.startswith("groups.")}
    return state["out.weight"].shape[0], len(groups)
