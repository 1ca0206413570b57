"""The parts that client, models and server share: container, grid, codecs, compositing, metrics, limits, errors.

Names are loaded when they are first used, so that `--help` does not wait for numpy and Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from bbmr_shared.container import AlphaPlane, Container, Plane

    from .compositing.composite import preview
    from .compositing.thumbnail import thumbnail
    from .grid import BLOCK, RATES, BlockGrid
    from .limits import DEFAULT_LIMITS, Limits

__all__ = [
    "BLOCK",
    "DEFAULT_LIMITS",
    "RATES",
    "AlphaPlane",
    "BlockGrid",
    "Container",
    "Limits",
    "Plane",
    "preview",
    "thumbnail",
]

_MODULE_OF = {
    "AlphaPlane": ".container",
    "Container": ".container",
    "Plane": ".container",
    "BLOCK": ".grid",
    "RATES": ".grid",
    "BlockGrid": ".grid",
    "DEFAULT_LIMITS": ".limits",
    "Limits": ".limits",
    "preview": ".compositing.composite",
    "thumbnail": ".compositing.thumbnail",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
