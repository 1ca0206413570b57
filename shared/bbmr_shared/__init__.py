"""What client, models and server share: container, grid, codecs, compositing, metrics, limits, errors."""

from __future__ import annotations

from .container import AlphaPlane, Container, Plane
from .grid import BLOCK, RATES, BlockGrid
from .limits import DEFAULT_LIMITS, Limits

__all__ = ["BLOCK", "DEFAULT_LIMITS", "RATES", "AlphaPlane", "BlockGrid", "Container", "Limits", "Plane"]
