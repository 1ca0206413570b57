"""The very light backbone: residual blocks of two 3×3 convolutions, no normalisation (after EDSR, CVPRW 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn


class Light(nn.Module):
    """`[N, channels, H/4, W/4]` → the same shape. `radius` is in samples."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.radius = 2 * blocks

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between them, added to their input. `[N, channels, h, w]` → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(F.relu(self.first(x), inplace=True))
        return out


def hyperparameters(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return (channels, blocks) of a state dict of `Light`. Raises KeyError if it is of another backbone."""
    channels = state["blocks.0.first.weight"].shape[0]
    return channels, 1 + max(int(name.split(".")[1]) for name in state)
