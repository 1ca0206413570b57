"""Parts of the transformer backbones.

All features are `[N, h, w, C]`: 1×1 convolutions are linear layers, norms work on the last axis, and channels-last
convolutions read the same memory through a permuted view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear

STRIP = 8192
"""Samples of a strip: 2 MB per tensor of 64 channels. Omni-SR's body for a 1088×1920 picture took 3.3–3.8 s on one core
of an EPYC (1 MB of L2, 32 MB of L3) in strips of 4,096 to 32,768 samples, and 5.8 s as a whole."""


class Depthwise(nn.Conv2d):
    """A 3×3 convolution of each channel alone, zero padded, `[N, h, w, C]` → the same."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Conv3(nn.Conv2d):
    """A full 3×3 convolution, zero padded, `[N, h, w, C]` → `[N, h, w, D]`."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class GatedFeedForward(nn.Module):
    """1×1, depthwise 3×3, one half gates the other through GELU, 1×1 (Restormer, CVPR 2022). `[N, h, w, C]` → the same.

    `hidden` is the width of each half. No biases.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.project_in = Linear(channels, 2 * hidden, bias=False)
        self.depthwise = Depthwise(2 * hidden, bias=False)
        self.project_out = Linear(hidden, channels, bias=False)

    def forward(self, x: Tensor, keep: slice = slice(None)) -> Tensor:
        """Return the rows `keep`."""
        gate, value = self.depthwise(self.project_in(x))[:, keep].chunk(2, -1)
        out: Tensor = self.project_out(F.gelu(gate) * value)
        return out


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, projection: Tensor) -> Tensor:
    """Attention between channels (Restormer, CVPR 2022), with the output's 1×1 convolution folded in.

    Args:
        q, k, v: `[B, L, C]`; strided views are allowed if the channels are contiguous.
        temperature: one factor per head.
        projection: `[D, C]`, the weight of the linear layer after attention (no bias).

    Returns:
        `[B, L, D]`.
    """
    return torch.bmm(v, channel_mix(*channel_products(q, k), temperature, projection).to(v.dtype))


def channel_products(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the products of all channels of q and k, `[B, C, C]`, and the squares of each, `[B, C]`, from `[B, L, C]`.

    They are sums over samples, so those of parts of a picture add up. One product of all channels is faster than a
    small one per head, although most of it is not used.
    """
    return torch.bmm(q.transpose(1, 2), k), _square(q), _square(k)


def channel_mix(products: Tensor, q2: Tensor, k2: Tensor, temperature: Tensor, projection: Tensor) -> Tensor:
    """Return the weight of each channel of v in each output channel, `[B, C, D]`.

    The logit of the softmax is the cosine of two channels of a head times the head's temperature. The norms of q and k
    scale the small matrix of products, not the samples. The projection is folded into the mixing matrix, so the samples
    are read only once more.
    """
    b, c, _ = products.shape
    heads = temperature.numel()
    d = c // heads
    own = (
        products.view(b, heads, d, heads, d).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    )  # [B, heads, d, d]
    norms = q2.sqrt().view(b, heads, d, 1) * k2.sqrt().view(b, heads, 1, d)
    mix = torch.softmax(own / norms * temperature.view(1, heads, 1, 1), -1)
    weight = torch.matmul(mix.transpose(-1, -2), projection.t().reshape(heads, d, -1).to(mix.dtype))
    return weight.reshape(b, c, -1)


def _square(x: Tensor) -> Tensor:
    """Return sums of squares, `[B, L, C]` → `[B, C]`: float32 under autocast, never 0 (the root needs a gradient)."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return x.square().sum(1).clamp_min(1e-24)


def by_strips(step: Callable[..., Tensor], *inputs: Tensor, halo: int = 0, multiple: int = 8) -> Tensor:
    """Apply `step` to `[N, h, w, C]` → the first input's shape; on a CPU without gradients in strips of rows.

    A strip stays in the cache from one operation to the next, and its temporaries reuse memory. Temporaries of a whole
    tile are mapped, cleared and unmapped for every operation.

    Args:
        step: receives the same rows of every input and a slice of the rows to return. The other rows are up to `halo`
            rows around those, within the picture.
        multiple: the number of returned rows is a multiple of this, if h is.
    """
    strips = list(split_rows(inputs[0], halo, multiple))
    if len(strips) == 1:
        return step(*inputs, slice(None))
    out = torch.empty_like(inputs[0])
    for read, keep, wanted in strips:
        out[:, wanted] = step(*(x[:, read] for x in inputs), keep)
    return out


def split_rows(x: Tensor, halo: int = 0, multiple: int = 8) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the strips of `by_strips`: rows to read, the rows to keep, and their place. One strip with gradients."""
    h = x.shape[1]
    rows = h
    if x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        rows = max(STRIP * h // x[..., 0].numel() // multiple, 1) * multiple
    for start in range(0, h, rows):
        stop = min(start + rows, h)
        low, high = max(start - halo, 0), min(stop + halo, h)
        yield slice(low, high), slice(start - low, stop - low), slice(start, stop)


def to_windows(x: Tensor, size: int) -> Tensor:
    """Copy `[N, h, w, C]` → `[N·(h/size)·(w/size), size², C]`: size×size windows, row by row."""
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c)
    return x.transpose(2, 3).reshape(-1, size * size, c)


def from_windows(x: Tensor, size: int, shape: tuple[int, int, int]) -> Tensor:
    """Invert `to_windows`: copy `[B, size², C]` → `[N, h, w, C]` with `shape` (N, h, w)."""
    n, h, w = shape
    x = x.view(n, h // size, w // size, size, size, -1)
    return x.transpose(2, 3).reshape(n, h, w, -1)


def to_phases(x: Tensor, steps: tuple[int, int]) -> Tensor:
    """`[N, h, w, C]` → `[N·steps[0]·steps[1], (h/steps[0])·(w/steps[1]), C]`, samples `steps` apart together. A copy.

    Item (y, x) of a picture has the samples at rows y, y + steps[0], … and columns x, x + steps[1], ….
    """
    n, h, w, c = x.shape
    x = x.view(n, h // steps[0], steps[0], w // steps[1], steps[1], c)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(n * steps[0] * steps[1], -1, c)


def from_phases(x: Tensor, steps: tuple[int, int], shape: tuple[int, int, int]) -> Tensor:
    """Invert `to_phases`: copy `[B, L, C]` → `[N, h, w, C]` with `shape` (N, h, w)."""
    n, h, w = shape
    x = x.view(n, steps[0], steps[1], h // steps[0], w // steps[1], -1)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(n, h, w, -1)


def pad_to(x: Tensor, multiple: int, least: int = 0) -> Tensor:
    """Repeat last row and column of `[N, h, w, C]` until h and w are multiples of `multiple` and at least `least`."""
    _, h, w, _ = x.shape
    height, width = (-(-max(size, least) // multiple) * multiple for size in (h, w))
    if (height, width) == (h, w):
        return x
    rows = torch.arange(height, device=x.device).clamp_max(h - 1)
    columns = torch.arange(width, device=x.device).clamp_max(w - 1)
    return x.index_select(1, rows).index_select(2, columns)
