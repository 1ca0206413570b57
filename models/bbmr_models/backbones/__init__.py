"""The backbones of JointSR: features on the HR/4 grid in, features out, `[N, C, H/4, W/4]`. All on one screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from . import craft, light, omnisr


class Backbone(NamedTuple):
    """How to make a backbone, and how to see from its weights what was made.

    A module may say by an attribute `radius` how many samples around one its output depends on; without it,
    or where it is None, the output depends on the whole tile.

    Attributes:
        build: (channels, blocks) → module.
        hyperparameters: its own state dict → (channels, blocks); `KeyError` for the state of another backbone.
    """

    build: Callable[[int, int], nn.Module]
    hyperparameters: Callable[[Mapping[str, Tensor]], tuple[int, int]]


BACKBONES: dict[str, Backbone] = {
    "light": Backbone(light.Light, light.hyperparameters),
    "omnisr": Backbone(omnisr.OmniSR, omnisr.hyperparameters),
    "craft": Backbone(craft.Craft, craft.hyperparameters),
}
