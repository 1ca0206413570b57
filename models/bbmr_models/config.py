"""The configuration of a JointSR, and the containers that it can read. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bbmr_shared.container import Container
from bbmr_shared.errors import IncompatibleModelError
from bbmr_shared.grid import ALIGN, BLOCK, RATES, BlockGrid

LIGHT_GRID = 2
"""The finest level of `light` works at 1/2 of the picture's resolution."""
BACKBONE_GRID = 4
"""The other backbones work at 1/4 of it."""
LOG_ERRORS = np.array([0, *(np.log2(1 + np.exp2((np.arange(1, 256) - 81) / 10)) / 8)], np.float32)
"""Coding error byte → log₂(1 + mean squared error) / 8, as `light` reads it. 0 is lossless."""
RESTORATION = "restoration."
"""The names of the tensors of a second set of weights begin with this."""
BACKBONE_NAMES = ("craft", "light", "omnisr")
DOWNSCALERS = frozenset({"bicubic"})
"""Downscaling Modules whose planes the shipped weights were trained on."""


@dataclass(frozen=True)
class JointSRConfig:
    """Configuration of a network, kept in the metadata of its weights. Every ablation is a configuration.

    Attributes:
        backbone: one of `BACKBONE_NAMES`.
        channels: width of the backbone; of `light` three widths, at HR/2, HR/4 and HR/8.
        blocks: depth of the backbone; of `light` the residual blocks at HR/8.
        deblock: channels of the deblock branch; 0 omits it. `light` has none: its finest level does that work.
        tile: side in pixels of the fixed tiles of reconstruction, counted from the picture's origin.
        halo: pixels of context around a tile; a multiple of 16.
        lossy: whether it was also trained on planes with coding errors; if not, it reads only lossless planes.
        rates: the palette it was trained for; it reads no other rates.
        block: side in pixels of the blocks it was trained on; it reads blocks of any size.
        restoration: whether blocks at rate 1 with coding errors have weights of their own; only `light`.
    """

    backbone: str = "light"
    channels: int | tuple[int, ...] = (32, 48, 64)
    blocks: int = 2
    deblock: int = 0
    tile: int = 1024
    halo: int = 80
    lossy: bool = False
    rates: tuple[int, ...] = RATES
    block: int = BLOCK
    restoration: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError if a value is invalid."""
        if self.backbone not in BACKBONE_NAMES:
            raise ValueError(
                f"the backbone must be one of {', '.join(BACKBONE_NAMES)}, not {self.backbone!r}"
            )
        if min(*self.widths, self.blocks, self.deblock + 1) < 1:
            raise ValueError("channels and blocks must be at least 1, deblock at least 0")
        light = self.backbone == "light"
        if len(self.widths) != (3 if light else 1):
            raise ValueError(f"the backbone {self.backbone} has {'three widths' if light else 'one width'}")
        if self.restoration and not light:
            raise ValueError(f"the backbone {self.backbone} has no weights for restoration")
        if light and self.deblock:
            raise ValueError("the backbone light has no deblock branch: deblock must be 0")
        if self.tile < ALIGN or self.tile % ALIGN or self.halo < 0 or self.halo % ALIGN:
            raise ValueError(f"tile and halo must be multiples of {ALIGN}, not {self.tile} and {self.halo}")
        if not self.rates or not set(self.rates) <= set(RATES):
            raise ValueError(f"the rates must be some of {RATES}, not {self.rates}")
        BlockGrid(ALIGN, ALIGN, self.block)

    @property
    def widths(self) -> tuple[int, ...]:
        """`channels` as a tuple."""
        return (self.channels,) if isinstance(self.channels, int) else self.channels

    @property
    def radius(self) -> int | None:
        """Pixels of context that one output pixel depends on; None if it depends on the whole tile.

        For `light`: stem, head and two blocks at HR/2, two at HR/4, `blocks` at HR/8, each of two convolutions, and the
        squares of 8 pixels that its strided convolutions read.
        """
        return 2 * (2 + 4) + 4 * 4 + 8 * 2 * self.blocks + 8 if self.backbone == "light" else None

    @property
    def levels(self) -> bool:
        """Whether the network reads the composite's levels at HR/2 and HR/4, too. `light` reads the base alone."""
        return self.backbone != "light"

    @property
    def local(self) -> bool:
        """Whether the halo holds everything that a pixel depends on, so that any tiles give the same picture."""
        return self.radius is not None and self.radius <= self.halo

    def to_dict(self) -> dict[str, Any]:
        lists = {name: list(value) for name, value in asdict(self).items() if isinstance(value, tuple)}
        return asdict(self) | lists

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> JointSRConfig:
        """Return the configuration of `to_dict`. Missing keys have defaults. Raises TypeError or ValueError."""
        tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list | tuple)}
        return JointSRConfig(**{**values, **tuples})


def check_reads(config: JointSRConfig, container: Container) -> None:
    """Raise IncompatibleModelError if the model was not trained on planes like the container's."""
    if not container.uses_network:
        return  # the network does not read the planes
    if container.downscaler not in DOWNSCALERS:
        raise IncompatibleModelError(
            f"this model does not read planes of the downscaler '{container.downscaler}'"
        )
    unknown = sorted({plane.rate for plane in container.planes} - set(config.rates))
    if unknown:
        raise IncompatibleModelError(f"this model was not trained for blocks of rate {unknown[0]}")
    if not config.lossy and any(plane.error for plane in container.planes):
        raise IncompatibleModelError(
            "this model was trained on lossless planes only; 'preview' shows this container without a network"
        )
