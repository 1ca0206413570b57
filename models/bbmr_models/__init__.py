"""The Upscaling Module: JointSR, its weights, and reconstruction of containers.

model = bbmr_models.load("light")
picture = bbmr_models.Reconstructor(model).reconstruct(container)

The names below are imported when they are first used, so that cards, tiles and configurations need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bbmr_shared.lazy import lazy_names

if TYPE_CHECKING:
    from .cards import Card, available
    from .config import JointSRConfig
    from .jointsr import JointSR
    from .reconstruct import Reconstructor
    from .weights import load

__all__ = ["Card", "JointSR", "JointSRConfig", "Reconstructor", "available", "load"]

_MODULE_OF = {
    "Card": ".cards",
    "JointSR": ".jointsr",
    "JointSRConfig": ".config",
    "Reconstructor": ".reconstruct",
    "available": ".cards",
    "load": ".weights",
    "reconstruct": ".reconstruct",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
