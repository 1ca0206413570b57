"""The backbones of JointSR: features on the HR/4 grid in, features out, `[N, C, H/4, W/4]`. All on one screen."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .light import Light

BACKBONES: dict[str, Callable[[int, int], nn.Module]] = {
    "light": Light,
}
"""name → constructor taking (channels, blocks)."""
