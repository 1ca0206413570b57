"""Published backbones for JointSR: they map features on the HR/4 grid to features, `[N, C, H/4, W/4]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from . import craft, omnisr


class Backbone(NamedTuple):
    """How to build a backbone, and how to read its size from its weights.

    Its output depends on the whole tile.

    Attributes:
        build: (channels, blocks) → module.
        hyperparameters: state dict → (channels, blocks); raises KeyError for the state of another backbone.
    """

    build: Callable[[int, int], nn.Module]
    hyperparameters: Callable[[Mapping[str, Tensor]], tuple[int, int]]


BACKBONES: dict[str, Backbone] = {
    "omnisr": Backbone(omnisr.OmniSR, omnisr.hyperparameters),
    "craft": Backbone(craft.Craft, craft.hyperparameters),
}
