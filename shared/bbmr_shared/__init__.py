"""The parts that client, models and server share: container, grid, codecs, compositing, metrics, limits, errors.

Names are loaded when they are first used, so that `--help` does not wait for numpy and Pillow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bbmr_shared.container import AlphaPlane, Container, Plane

    from .grid import BLOCK, RATES, BlockGrid
    from .limits import DEFAULT_LIMITS, Limits

__all__ = ["BLOCK", "DEFAULT_LIMITS", "RATES", "AlphaPlane", "BlockGrid", "Container", "Limits", "Plane"]

_HOMES = {
    "AlphaPlane": ".container",
    "Container": ".container",
    "Plane": ".container",
    "BLOCK": ".grid",
    "RATES": ".grid",
    "BlockGrid": ".grid",
    "DEFAULT_LIMITS": ".limits",
    "Limits": ".limits",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bbmr_shared' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
