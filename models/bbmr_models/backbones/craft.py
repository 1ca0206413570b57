"""CRAFT, the cross-refinement adaptive feature modulation transformer (Li et al., ICCV 2023), as a backbone.

In and out: features `[N, C, h, w]` on the HR/4 grid. Every block lets low frequencies (attention in shifted
rectangular windows) and high frequencies (a convolution and a maximum) refine each other. Inside, features are
`[N, h, w, C]` from end to end.

The published network adds a learned position bias to the attention in windows. Its table comes out of layer
norms over C // 32 numbers; over one number (C < 64, and the paper's C is 48) such a norm is a constant, and a
constant does not move a softmax. So there is no such bias here, at the same results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTH = 2
"""Blocks per group."""
HEADS = 6
"""In the channel attention; each half of the channels has half of them in the windows."""
RECTANGLE = (4, 16)
"""Height and width of the windows of one half of the channels, in samples; the other half's are upright."""
EXPANSION = 2.66
"""Hidden channels of the gated feed-forward, per channel."""


class Craft(nn.Module):
    """`[N, channels, h, w]` → the same shape, any h and w: the body without the skip around it.

    `blocks` is the number of residual groups (4 in the paper). `radius` is None: the channel attention looks
    at the whole input.

    Raises:
        ValueError: `channels` is no multiple of 6, or not below 64.
    """

    radius = None

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        if channels % HEADS or not 0 < channels < 64:
            raise ValueError(f"CRAFT takes a multiple of {HEADS} channels below 64, not {channels}")
        self.groups = nn.ModuleList(_Group(channels) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        side = max(RECTANGLE)
        x = F.pad(x, (0, -w % side, 0, -h % side), mode="replicate").permute(0, 2, 3, 1).contiguous()
        for group in self.groups:
            x = group(x)
        return _convolve(self.conv, self.norm(x)).permute(0, 3, 1, 2)[..., :h, :w]


class _Group(nn.Module):
    """Residual cross-refinement fusion group (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(DEPTH))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for block in self.blocks:
            out = block(out)
        return x + _convolve(self.conv, out)


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
        self.qkv = nn.Linear(channels, 3 * channels)
        self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        high, wide = RECTANGLE
        self.windows = ((high, wide), (wide, high))
        self.shifted = shifted

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x))
        channels = x.shape[-1]
        halves = qkv.unflatten(-1, (3, 2, HEADS // 2, -1)).unbind(-3)
        attended = torch.cat(
            [self._attend(half, window) for half, window in zip(halves, self.windows, strict=True)], -1
        )
        local = _convolve(self.local, qkv[..., 2 * channels :])
        x = x + self.proj(attended + local)
        return x + self.mlp(self.norm2(x))

    def _attend(self, qkv: Tensor, window: tuple[int, int]) -> Tensor:
        """`[N, h, w, 3, heads, d]` → `[N, h, w, heads·d]`."""
        n, h, w, _, heads, d = qkv.shape
        y, x = window
        if self.shifted:
            qkv = qkv.roll((-(y // 2), -(x // 2)), (1, 2))
        qkv = qkv.reshape(n, h // y, y, w // x, x, 3, heads, d)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, heads, y * x, d).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        out = out.reshape(n, h // y, w // x, heads, y, x, d).permute(0, 1, 4, 2, 5, 3, 6)
        out = out.reshape(n, h, w, heads * d)
        return out.roll((y // 2, x // 2), (1, 2)) if self.shifted else out


class _HighFrequencies(nn.Module):
    """High-frequency enhancement residual block: a convolution beside a sharpening maximum (section 3.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.point = nn.Linear(channels // 2, channels // 2)
        self.last = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        greatest = F.max_pool2d(right.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
        out = torch.cat((_convolve(self.conv, left), self.point(greatest)), -1)
        return x + self.last(F.gelu(out))


class _Fusion(nn.Module):
    """Hybrid fusion block (section 3.5): attention between channels, asked by the high frequencies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * EXPANSION)
        self.norm1 = nn.LayerNorm(channels)
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.q = nn.Linear(channels, channels, bias=False)
        self.q_local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.kv = nn.Linear(channels, 2 * channels, bias=False)
        self.kv_local = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels, bias=False)
        self.proj = nn.Linear(channels, channels, bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * hidden, bias=False)
        self.expand_local = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.reduce = nn.Linear(hidden, channels, bias=False)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        q = _convolve(self.q_local, self.q(high))
        k, v = _convolve(self.kv_local, self.kv(self.norm1(low))).chunk(2, -1)
        low = low + torch.matmul(v.flatten(1, 2), self._mix(q, k)).view_as(low)
        gate, value = _convolve(self.expand_local, self.expand(self.norm2(low))).chunk(2, -1)
        return low + self.reduce(F.gelu(gate) * value)

    def _mix(self, q: Tensor, k: Tensor) -> Tensor:
        """The attention between channels and the projection after it as one matrix, `[N, C, C]`."""
        n, c = q.shape[0], q.shape[-1]
        q, k = q.flatten(1, 2), k.flatten(1, 2)
        gram = torch.matmul(q.transpose(1, 2), k)
        gram = gram.view(n, HEADS, c // HEADS, HEADS, c // HEADS).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        q_norm = torch.linalg.vector_norm(q, dim=1).clamp_min(1e-12).view(n, HEADS, -1, 1)
        k_norm = torch.linalg.vector_norm(k, dim=1).clamp_min(1e-12).view(n, HEADS, 1, -1)
        weights = (gram / (q_norm * k_norm) * self.temperature).softmax(-1)
        projection = self.proj.weight.view(c, HEADS, c // HEADS)
        return torch.einsum("nhij,ohi->nhjo", weights, projection).reshape(n, c, c)


def _convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution of `[N, h, w, C]`."""
    out: Tensor = conv(x.permute(0, 3, 1, 2))
    return out.permute(0, 2, 3, 1)


_RENAMED = (
    (r"layers\.(\d+)\.residual_group\.srwa_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.low.{2}."),
    (r"layers\.(\d+)\.residual_group\.hfer_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.high."),
    (r"layers\.(\d+)\.residual_group\.hf_blocks\.(\d+)\.", "groups.{0}.blocks.{1}.fusion."),
    (r"layers\.(\d+)\.conv\.", "groups.{0}.conv."),
    (r"norm\.body\.", "norm."),
    (r"conv_after_body\.", "conv."),
)
_RENAMED_INSIDE = {
    "get_v": "local",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
    "fc": "point",
    "last_fc": "last",
    "norm1.body": "norm1",
    "norm2.body": "norm2",
    "attn.temperature": "temperature",
    "attn.q": "q",
    "attn.q_dwconv": "q_local",
    "attn.kv": "kv",
    "attn.kv_dwconv": "kv_local",
    "attn.project_out": "proj",
    "ffn.project_in": "expand",
    "ffn.dwconv": "expand_local",
    "ffn.project_out": "reduce",
}


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published network's state dict as this backbone's; its stem, upsampler and position biases are left out."""
    out = {}
    for key, tensor in state.items():
        name = _own_name(key)
        if name is not None:
            point = tensor.ndim == 4 and tensor.shape[-1] == 1  # 1×1 convolutions are linear layers here
            out[name] = tensor.flatten(1) if point else tensor
    return out


def _own_name(key: str) -> str | None:
    if ".attns." in key:
        return None
    for pattern, prefix in _RENAMED:
        match = re.match(pattern, key)
        if match is None:
            continue
        numbers = [int(number) for number in match.groups()]
        if "{2}" in prefix:
            numbers[1:] = divmod(numbers[1], 2)
        stem, _, leaf = key[match.end() :].rpartition(".")
        inside = f"{stem}.{leaf}" if stem else leaf
        for name in (inside, stem):
            if name in _RENAMED_INSIDE:
                inside = _RENAMED_INSIDE[name] + inside[len(name) :]
                break
        return prefix.format(*numbers) + inside
    return None


def hyperparameters(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """(channels, blocks) of a state dict of `Craft`."""
    groups = {key.split(".")[1] for key in state if key.startswith("groups.")}
    return state["norm.weight"].shape[0], len(groups)
