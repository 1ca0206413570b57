"""The network of a configuration, and the configuration that weights belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from .backbone_network import BackboneNetwork
from .backbones import BACKBONES
from .config import RESTORATION
from .jointsr import JointSR, JointSRConfig
from .unet import JointUNet

Structure = tuple[str, tuple[int, ...], int, int, bool]
"""(backbone, widths, blocks, deblock, restoration)."""
Network = TypeVar("Network", bound=JointSR)


def make_network(config: JointSRConfig) -> JointSR:
    """Return the untrained network of a configuration."""
    return JointUNet(config) if config.backbone == "light" else BackboneNetwork(config)


def structure(state: Mapping[str, Tensor]) -> Structure:
    """Return what the configuration of a network's state dict must say, from names and shapes alone.

    Raises:
        ValueError: if it is not the state of a known network.
    """
    if (up := state.get("up1.weight")) is not None and "body.0.first.weight" in state:
        widths = state["stem.weight"].shape[0], up.shape[1], state["body.0.first.weight"].shape[0]
        blocks = {name.split(".")[1] for name in state if name.startswith("body.")}
        return "light", widths, len(blocks), 0, any(name.startswith(RESTORATION) for name in state)
    prefix = "backbone."
    inner = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    branch = state.get("deblock.layers.0.weight")
    for name, backbone in BACKBONES.items():
        try:
            channels, blocks_read = backbone.hyperparameters(inner)
        except KeyError:
            continue
        return name, (channels,), blocks_read, 0 if branch is None else branch.shape[0], False
    raise ValueError("its tensors fit no known backbone")


def channels_last(model: Network) -> Network:
    """Lay out the weights for channels-last convolutions (a third faster on CPUs)."""
    # torch's signature of `Module.to` lacks this documented argument
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
